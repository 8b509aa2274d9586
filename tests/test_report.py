"""The report: what it must never do (mix groups, hide a failure, drop a ±'s meaning, stop at a damaged file), on made-up records."""

import base64
import hashlib
import itertools
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats

from lib import claims, tables
from lib.__main__ import main
from lib.report import collect, contents, deviations, gallery, write_all
from lib.report.page import choices, common_notes, page
from lib.results import filled, grids
from lib.results.noise import Known
from lib.results.records import Record, RecordStore

DAY = "2030-01-02"
DEVIATIONS = deviations.find()


@pytest.fixture(autouse=True)
def read_once(monkeypatch, no_reference):
    """The modules' own deviations, for they are the same in all tests here."""
    monkeypatch.setattr(contents, "find_deviations", lambda: DEVIATIONS)


def keep(folder: Path, row: str, values: dict, *, table: str = "salicon", seed: int = 0, dataset: str = "twin", preset: str = "demo",
         device: str = "cpu", twin: bool | None = None, data: str = "a", commit: str = "c" * 40, unit: str = "images", key: str = "key") -> Path:
    """One finished row, written as a run writes it."""
    record = Record(table=table, row=row, seed=seed, preset=preset, dataset=dataset, is_twin=dataset == "twin" if twin is None else twin,
                    n=len(next(iter(values.values()))), unit=unit, summary={},
                    depends={"data": {"test": data}},
                    provenance={"commit": commit, "device": device, "device_name": "x", "threads": 1, "python": "3", "seconds": 90.0,
                                "versions": {"torch": "2"}})
    store = RecordStore(folder, table=table, dataset=re.sub(r"\W", "_", dataset), preset=preset)
    store.save(record, f"{key}{device}{twin}", values)
    return store.path(row, seed, f"{key}{device}{twin}", "json")


def scores(mean: float, *, seed: int = 0, n: int = 40, names: tuple[str, ...] = ("nss", "cc")) -> dict[str, np.ndarray]:
    """Values whose means are `mean`, with a little scatter; of CC, which cannot exceed 1, a tenth of them."""
    noise = np.random.default_rng(seed).normal(size=n) / 10
    return {name: (mean + noise - noise.mean()) / (10 if name == "cc" else 1) for name in names}


def gaze(mean: float, seed: int = 0) -> dict[str, np.ndarray]:
    """Forty frames of eight subjects, four with tablets."""
    subject = np.repeat(np.arange(8), 5)
    return scores(mean, seed=seed, names=("error_cm",)) | {"subject": subject, "tablet": subject < 4}


@pytest.fixture
def folder(tmp_path):
    """EML-NET's table on its twin: the combined loss is worse than MSE (a claim fails), the decoder better than both encoders."""
    for seed, (row, mean) in enumerate({"centre_bias": 1.0, "mse": 2.0, "encoder_a": 1.5, "encoder_b": 1.6, "decoder": 1.8}.items()):
        keep(tmp_path, row, scores(mean, seed=seed))
    return tmp_path


class Page(HTMLParser):
    """Checks nesting; gathers elements with their attributes, ids, references and text."""

    VOID, SELF_CLOSED = {"meta", "img", "br"}, {"line", "rect", "circle"}
    RAW = ("style", "script")

    def __init__(self, html: str):
        super().__init__()
        self.open, self.ids, self.links, self.sources, self.words, self.tags = [], [], [], [], [], set()
        self.elements, self.raw = [], {}  # (tag, attributes); the text of the last of each kind that holds no words
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        assert len(found) == len(attributes), "an attribute twice"
        self.tags.add(tag)
        self.elements.append((tag, found))
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if "href" in found else []
        self.sources += [value for name, value in found.items() if name in ("src", "srcset", "data", "poster", "style", "action")]
        assert not any(name.startswith("on") for name in found)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        assert tag in self.SELF_CLOSED

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        if self.open and self.open[-1] in self.RAW:
            self.raw[self.open[-1]] = data
        elif self.open:
            self.words.append(data)

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_every_group_is_a_table_of_its_own(folder):
    """Twin, real and GPU, each with another mean: no number of one in the table of another."""
    for mean, options in ((5.0, {"device": "cuda"}), (6.0, {"dataset": "osie"}), (7.0, {"preset": "paper"}),
                          (8.0, {"dataset": "osie", "twin": True})):
        keep(folder, "mse", scores(mean), **options)
    found = collect(folder, today=DAY)
    means = [{round(ours) for ours in one.numbers().query("row == 'mse' and column == 'NSS'")["ours"]} for one in found.tables]
    assert sorted(map(tuple, means)) == [(2,), (5,), (6,), (7,), (8,)]
    assert len({one.group for one in found.tables}) == len({one.stem for one in found.tables}) == 5
    shown = Page(page(found))
    assert all(shown.ids.count(one.stem) == 1 for one in found.tables)
    assert all(set(one.numbers()[["is_twin", "device", "preset"]].itertuples(index=False, name=None)) ==
               {(one.group.is_twin, one.group.device, one.group.preset)} for one in found.tables)


def test_verdicts_of_devices_are_apart(folder):
    """Rows of a GPU must not complete a claim whose other rows are a CPU's."""
    for path in (folder / "runs" / "salicon" / "twin-demo").glob("mse-*"):
        path.unlink()
    keep(folder, "mse", scores(2.0), device="cuda")
    verdicts = [(one.group.device, one.verdict) for one in collect(folder).ledger if one.claim.key == "emlnet_loss"]
    assert sorted(verdicts) == [("cpu", "not run"), ("cuda", "not run")]


def test_tables_that_share_rows_are_both_there(tmp_path):
    for row in ("plain", "depth_6"):
        keep(tmp_path, row, {name: scores(0.5)["nss"] for name in ("top1", "top5")}, table="inaturalist")
    assert [one.stem for one in collect(tmp_path).tables] == ["inaturalist-twin-demo", "saliency_depth-twin-demo"]


def test_files_stay_in_their_folder_and_what_would_leave_it_is_refused(folder):
    keep(folder, "uniform", scores(1.0), dataset="../../out", twin=False)
    found = collect(folder)
    paths = write_all(found, folder / "there" / "out")
    assert {path.parent for path in paths} == {folder / "there" / "out", folder / "there" / "out" / "tables"}
    assert {path.name for path in paths} >= {f"{name}{suffix}" for name in ("ledger", "salicon-twin-demo") for suffix in (".md", ".csv", ".tex")}
    assert sum("../../out" in line for line in found.problems) == 1 and "uniform" not in found.tables[0].rows


def test_smoke_is_shown_only_where_there_is_nothing_else(folder, tmp_path):
    keep(folder, "mse", scores(9.0), preset="smoke")
    found = collect(folder)
    assert {one.group.preset for one in found.tables} == {"demo"} and [group.preset for group in found.stored.hidden] == ["smoke"]
    alone = tmp_path / "alone"
    keep(alone, "mse", scores(9.0), preset="smoke")
    text = page(collect(alone))
    assert "numbers mean nothing" in text.split("<main>")[0]


def test_what_fails_stands_first_everywhere(folder):
    found = collect(folder)
    assert found.counts["fails"] == 1 and found.ledger[0].claim.key == "emlnet_loss"
    html = page(found)
    assert html.index('class="claim fails"') < html.index('class="claim holds"')
    assert "What fails (1)" in re.sub("<[^>]+>", "", html)
    write_all(found, folder / "out")
    assert pd.read_csv(folder / "out" / "tables" / "ledger.csv")["verdict"].iloc[0] == "fails"
    assert (folder / "out" / "tables" / "ledger.md").read_text().splitlines()[4].startswith("| fails |")


def test_rows_bear_the_verdicts_of_claims_about_them(folder):
    (one,) = collect(folder).tables
    marks = {line[0].text: {mark.verdict for mark in line[-1].marks} for line in one.main().lines}
    assert marks["Encoder A, MSE"] == {"fails"} and marks["EML-NET: A and B, decoder"] == {"holds"} and marks["Centre bias"] == set()


def test_every_claim_is_in_the_ledger_and_counts_add_up(folder):
    found = collect(folder)
    assert {one.claim.key for one in found.ledger} == {claim.key for claim in claims.ledger()}
    assert sum(found.counts.values()) == len(found.ledger) == len(pd.DataFrame([one.name for one in found.ledger]).drop_duplicates())


def test_results_of_different_code_are_said_at_the_top(folder):
    keep(folder, "uniform", scores(0.0), commit="d" * 40 + "-dirty")
    top = page(collect(folder)).split("<main>")[0]
    assert "2 states of the code: ccccccc, ddddddd-dirty" in top and "no commit holds" in top


def test_every_interval_says_what_it_is_over_and_of_how_many(folder):
    for seed in range(3):
        for row, mean in (("plain", 3.0), ("sampler", 2.0)):
            keep(folder, row, gaze(mean + seed / 10, seed), table="gazecapture", seed=seed, unit="frames")
    keep(folder, "itracker", gaze(1.0), table="gazecapture", unit="frames")
    notes = {}
    for one in collect(folder).tables:
        for shown in filter(None, (one.main(), one.comparisons())):
            cells = [cell for line in shown.lines for cell in line[1:] if "±" in cell.text]
            form = re.compile(r"\d+ [a-z]+( \(\d+ [a-z]+\))?, (1 seed(, pictures only)?|\d seeds( alike)?)")
            assert cells and all(form.fullmatch(cell.note) for cell in cells)
            notes.setdefault(one.table.name, set()).update(cell.note for cell in cells)
    assert notes == {"salicon": {"40 images, 1 seed, pictures only"},
                     "gazecapture": {"4 subjects (20 frames), 3 seeds", "4 subjects (20 frames), 1 seed, pictures only"}}


@pytest.mark.parametrize("seeds", [1, 3])
def test_numbers_are_the_intervals_of_the_stored_values(tmp_path, seeds, monkeypatch):
    """Independent formulation: four subjects' means of the seeds' average, and the seeds' means, by Welch; nothing else is known of trainings."""
    monkeypatch.setattr(filled, "known", lambda group, rows: Known())
    stored = {}
    for row, mean in (("plain", 3.0), ("sampler", 2.0)):
        for seed in range(seeds):
            values = gaze(mean, seed=seed + len(row))
            values["error_cm"] = values["error_cm"] + seed / 7
            keep(tmp_path, row, values, table="gazecapture", seed=seed, unit="frames")
            stored.setdefault(row, []).append(values["error_cm"][:20])  # on tablets
    (one,) = collect(tmp_path).tables
    line = one.numbers().set_index(["row", "column"]).loc["sampler", "iPad"]
    differences = [ours - plain for ours, plain in zip(stored["sampler"], stored["plain"], strict=True)]
    for name, found in (("ours", np.array(stored["sampler"])), ("versus_reference", np.array(differences))):
        pictures = stats.sem(found.mean(axis=0).reshape(4, 5).mean(axis=1)) ** 2
        trainings = stats.sem(found.mean(axis=1)) ** 2 if seeds > 1 else 0.0
        df = (pictures + trainings) ** 2 / (pictures**2 / 3 + (trainings**2 / (seeds - 1) if seeds > 1 else 0.0))
        low, high = stats.t.interval(0.95, df, loc=found.mean(), scale=np.sqrt(pictures + trainings))
        assert (line[name], line[f"{name}_low"], line[f"{name}_high"]) == pytest.approx((found.mean(), low, high))
    assert line["paper"] == tables.get("gazecapture").row("sampler").published["iPad"] and line["seeds"] == seeds


def test_a_row_that_no_seed_changes_has_its_interval_over_samples(tmp_path):
    """Student's t over three equal means would print ± 0."""
    for seed in range(3):
        keep(tmp_path, "uniform", scores(1.0), seed=seed)
    (one,) = collect(tmp_path).tables
    cell = one.main().lines[0][1]
    assert cell.note == "40 images, 3 seeds alike" and not cell.text.endswith("± 0.00")


def test_differences_are_over_the_seeds_that_both_rows_have(tmp_path):
    for seed in range(3):
        keep(tmp_path, "plain", gaze(3.0 + seed, seed), table="gazecapture", seed=seed, unit="frames")
    keep(tmp_path, "sampler", gaze(4.0, 1), table="gazecapture", seed=1, unit="frames")
    found = collect(tmp_path)
    line = found.tables[0].numbers().query("row == 'sampler'").iloc[0]
    assert line["versus_reference_n"] == 4 and line["versus_reference"] == pytest.approx(0.0, abs=1e-9)
    assert any("sampler (1 of 3)" in str(cell) for cells in found.not_run.lines for cell in cells)


def test_of_two_records_of_a_row_the_newer_counts(tmp_path):
    old, new = keep(tmp_path, "mse", scores(1.0), key="old"), keep(tmp_path, "mse", scores(2.0), key="new")
    os.utime(old, (1, 1)), os.utime(new, (2, 2))
    (one,) = collect(tmp_path).tables
    assert one.numbers()["ours"][0] == pytest.approx(2.0)


def test_rows_of_other_data_are_left_out_and_named(folder):
    os.utime(keep(folder, "uniform", scores(0.0, n=30), data="b"), (1, 1))
    found = collect(folder)
    assert "uniform" not in found.tables[0].rows and "uniform" in found.tables[0].missing
    assert any("uniform" in line and "other data" in line for line in found.problems)


def test_without_records_it_says_so(tmp_path):
    found = collect(tmp_path)
    write_all(found, tmp_path / "out")
    html = (tmp_path / "out" / "report.html").read_text()
    assert "There are no finished records here" in html.split("<main>")[0] and "SYNTHETIC" not in html.split("<main>")[0]
    assert {one.verdict for one in found.ledger} == {"not run"}
    Page(html)


def test_committed_results_are_not_ones_own(tmp_path):
    keep(tmp_path / "reference", "mse", scores(1.0))
    assert collect(tmp_path).tables == []


def test_damaged_and_unknown_records_are_listed_and_the_rest_is_shown(folder):
    runs = folder / "runs" / "salicon" / "twin-demo"
    (runs / "broken.json").write_text("{")
    (runs / "list.json").write_text("[1]")
    keep(folder, "mse", scores(1.0), table="no_such_table")
    keep(folder, "no_such_row", scores(1.0))
    next(runs.glob("decoder-*.npz")).write_bytes(b"damaged")
    next(runs.glob("encoder_b-*.npz")).unlink()
    found = collect(folder)
    assert len(found.problems) == 6
    assert all(any(name in line for line in found.problems) for name in ("broken", "list", "no_such_table", "no_such_row", "decoder", "encoder_b"))
    assert not any(str(folder) in line for line in found.problems)
    assert set(found.tables[0].rows) == {"centre_bias", "mse", "encoder_a"}


def test_records_that_do_not_fit_their_table_are_named(folder):
    keep(folder, "plain", {"error_cm": np.ones(4)}, table="gazecapture", unit="frames")
    found = collect(folder)
    assert [one.table.name for one in found.tables] == ["salicon"] and any("gazecapture" in line for line in found.problems)


def test_what_is_missing_is_named(folder):
    (folder / "runs" / "salicon" / "twin-demo" / "uniform-seed0-key.ckpt").write_bytes(b"")
    text = grids.markdown(collect(folder).not_run)
    assert re.search(r"salicon \| .*rows uniform \| at work, or interrupted", text)
    assert "preset paper" in text and "data sets salicon, osie, mit1003" in text


def picture(path: Path, size=(1600, 400)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)).save(path)


def test_html_is_well_formed_and_needs_nothing_from_outside(folder):
    picture(folder / "figures" / "05_data.png")
    found = Page(page(collect(folder)))
    assert len(found.ids) == len(set(found.ids))
    assert found.links and all(link.startswith("#") for link in found.links) and {link[1:] for link in found.links} <= set(found.ids)
    assert len(found.sources) == 1 and all(source.startswith("data:image/") for source in found.sources)
    assert not found.tags & {"link", "iframe", "object", "embed", "base", "form"}
    assert found.all("script") == [{}] and not re.search(r"https?:|fetch|XMLHttp|import", found.raw["script"])
    css = (Path(gallery.__file__).parent / "page.css").read_text()
    assert "url(" not in css and "@import" not in css and "prefers-color-scheme: dark" in css


def test_whatever_stands_in_a_record_is_escaped(folder):
    bad = '"><script>alert(1)</script>&'
    keep(folder, "uniform", scores(1.0), dataset=bad, twin=False)
    keep(folder, "mse", scores(1.0), commit=bad)
    found = Page(page(collect(folder)))
    assert len(found.all("script")) == 1 and "alert" not in found.raw["script"]
    assert any(bad in words for words in found.words)


def test_a_browser_runs_the_pages_own_script_and_nothing_else(folder):
    """By its policy, in which the script stands with its digest; no request can leave the page."""
    found = Page(page(collect(folder)))
    (policy,) = [one["content"] for one in found.all("meta") if one.get("http-equiv") == "Content-Security-Policy"]
    digest = base64.b64encode(hashlib.sha256(found.raw["script"].encode()).digest()).decode()
    allowed = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert allowed.pop("script-src") == f"'sha256-{digest}'" and allowed.pop("img-src") == "data:" and allowed.pop("style-src") == "'unsafe-inline'"
    assert set(allowed.values()) == {"'none'"} and "default-src" in allowed


def test_a_screen_reader_finds_its_way(folder):
    """Headings descend one level at a time, pictures say what they are, every cell of a table has a header, tables and regions have names."""
    picture(folder / "figures" / "05_data.png")
    found = Page(page(collect(folder)))
    levels = [int(tag[1]) for tag, _ in found.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1 and all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert all(one["alt"].strip() for one in found.all("img")) and found.all("html")[0]["lang"] == "en"
    assert {"col", "row"} <= {one["scope"] for one in found.all("th")} <= {"col", "colgroup", "row"}
    assert len(found.all("caption")) == len(found.all("table")) == len([one for one in found.all("div") if one.get("class") == "scroll"])
    assert all(one["aria-label"] and one["role"] for one in found.all("div") if "tabindex" in one)


def test_filters_offer_what_there_is_and_every_claim_and_table_says_where_it_belongs(folder):
    keep(folder, "uniform", scores(1.0), dataset="osie")
    report = collect(folder)
    found = Page(page(report))
    names = [one["name"] for one in found.all("select")]
    offered = {name: [words for words in found.words if words in values] for name, values in choices(report).items()}
    assert names == ["verdict", "data", "paper"] and all(offered.values())
    claimed = [one for one in (*found.all("li"), *found.all("tr")) if "data-paper" in one]
    assert len(claimed) == len(report.ledger) and {one["data-verdict"] for one in claimed} == set(choices(report)["verdict"])
    tables_ = [one for one in found.all("section") if "data-paper" in one]
    assert [one["data-data"] for one in tables_] == ["osie", "SYNTHETIC TWIN"] and {one["data-paper"] for one in tables_} == {"EML-NET"}
    rows = {one["data-verdict"] for one in found.all("tr") if "data-verdict" in one and "data-paper" not in one}
    assert {"fails", ""} <= rows, "rows without a claim are told apart from those with one"


def test_figures_open_whole(folder):
    """Each in its own size where together they fit, and by a link that works without the script."""
    picture(folder / "figures" / "05_data.png", size=(2400, 300))
    found = Page(page(collect(folder)))
    assert [(one["width"], one["height"]) for one in found.all("img")] == [("2400", "300")]
    (link,) = [one for one in found.all("a") if one.get("class") == "whole"]
    assert link["href"] == "#figure-05_data" and "figure-05_data" in found.ids


def test_a_note_that_most_cells_of_a_column_share_stands_once(folder):
    shown = grids.grid(["", "a", "b"], [["1", grids.Text("x", "n"), "y"]] * 3 + [["2", grids.Text("x", "other"), grids.Text("y", "n")]])
    assert common_notes(shown) == ["", "n", ""]


def test_the_file_stays_below_twelve_million_bytes_whatever_there_is_to_show():
    """Pictures as text take four bytes for three; two million are for tables and words."""
    assert gallery.MOST * 4 / 3 + 2e6 <= 12e6


def test_the_same_files_give_the_same_report(folder):
    picture(folder / "figures" / "05_data.png")
    first, second = (page(collect(folder, today=DAY)) for _ in range(2))
    assert first == second and DAY in first


def test_figures_are_made_small_and_captioned_from_their_notebook(tmp_path):
    picture(tmp_path / "figures" / "05_data.png")
    picture(tmp_path / "figures" / "07_choices_hard.png", size=(300, 200))
    (tmp_path / "figures" / "05_broken.png").write_bytes(b"no picture")
    problems = []
    found = gallery.find(tmp_path, problems)
    first, second = (one for figures in found.values() for one in figures)
    assert first.caption == "The data" and "chooses" in second.caption  # the second one's name is an f-string there
    assert len(problems) == 1 and "05_broken" in problems[0]
    made = gallery.embed([first, second])
    assert [(one.width, one.height) for one in made] == [(1600, 400), (300, 200)]
    assert gallery.embed([first, second], most=10) == [None, None]


def test_deviations_are_quoted_from_docstrings_and_notebooks(tmp_path):
    (tmp_path / "lib" / "models").mkdir(parents=True)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "lib" / "models" / "mrcnn.py").write_text(
        '"""A network.\n\nDeviations from the release\n    - One `thing`\n      goes on.\n    - Another.\n\nNothing else deviates.\n"""\n'
        'x = "Deviation: none"\n')
    (tmp_path / "lib" / "models" / "odd.py").write_text('"""First. Deviation: the order.\n"""\n')
    text = "**Where this deviates from the paper**\n\n- No *warm-up*.\n- Small.\n\nOther text.\n"
    cell = {"cell_type": "markdown", "source": text.splitlines(keepends=True)}
    (tmp_path / "notebooks" / "06_mrcnn.ipynb").write_text(json.dumps({"cells": [cell]}))
    found = [one for some in deviations.find(tmp_path).values() for one in some]
    assert [(one.system, one.heading, one.texts) for one in found] == [
        ("Mr-CNN", "Where this deviates from the paper", ("No *warm-up*.", "Small.")),
        ("Mr-CNN", "Deviations from the release", ("One `thing` goes on.", "Another.")),
        ("Shared", "Deviation", ("The order.",))]


def test_markdown_and_latex_escape_what_would_break_them():
    shown = grids.grid(["", "a_b"], [["x | y", "50 % ± 1 & #2"]])
    assert grids.markdown(shown).splitlines()[-1] == r"| x \| y | 50 % ± 1 & #2 |"
    assert r"50 \% $\pm$ 1 \& \#2 \\" in grids.latex(shown, "caption") and r"a\_b" in grids.latex(shown, "caption")


def test_the_command_writes_beside_the_results_or_elsewhere_and_refuses_in_one_line(folder, tmp_path, capsys):
    assert main(["report", "--results", str(folder), "--out", str(tmp_path / "elsewhere")]) == 0
    assert "1 fails" in capsys.readouterr().out and (tmp_path / "elsewhere" / "report.html").exists() and not (folder / "report.html").exists()
    assert main(["report", "--results", str(folder)]) == 0 and (folder / "tables" / "ledger.tex").exists()
    capsys.readouterr()
    assert main(["report", "--results", str(tmp_path / "nowhere")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
