"""Results folders that are not as they should be: what does not fit is named in one line and left out, and the rest stands."""

import hashlib
import json
import math
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lib.__main__ import main
from lib.results.records import Record, RecordStore, as_json, read_record
from lib.results.schema import DIGEST, OtherVersion, parse
from lib.results.store import read_folder

RNG = np.random.default_rng(0)
N = 40
GOOD = ("plain", "cam", "oracle")  # rows of Table 4 that nothing happens to


def keep(folder: Path, row: str = "sampler", *, values: dict | None = None, seed: int = 0, n: int = N, data: str = "a", preset: str = "demo",
         dataset: str = "twin", key: str = "key", when: float = 2e9) -> Path:
    """A finished row of Table 4, `when` it was written; returns its record's path."""
    record = Record(table="cub200", row=row, seed=seed, preset=preset, dataset=dataset, is_twin=dataset == "twin", n=n, unit="images",
                    summary={"top1": 0.5}, history=[{"epoch": 1, "val": float("nan")}], depends={"data": {"test": data}, "torch": "2"},
                    provenance={"commit": "c" * 40, "device": "cpu", "seconds": 1.0, "threads": 1, "versions": {"torch": "2"}})
    store = RecordStore(folder, table="cub200", dataset=dataset, preset=preset)
    store.save(record, key, values if values is not None else answers(n))
    path = store.path(row, seed, key, "json")
    os.utime(path, (when, when))
    return path


def answers(n: int = N) -> dict[str, np.ndarray]:
    return {"top1": RNG.integers(0, 2, n).astype(float), "top5": np.ones(n)}


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three good rows."""
    for row in GOOD:
        keep(tmp_path / "results", row, when=1e9)
    return tmp_path / "results"


def refused(folder: Path, name: str, *words: str) -> str:
    """The one line about the file `name`; the good rows stand, and no command ends but in an orderly way."""
    found = read_folder(folder)
    assert [set(rows) for rows in found.groups.values()] == [set(GOOD)]
    (line,) = found.problems
    assert name in line and "\n" not in line and len(line) < 600 and str(folder) not in line
    assert all(word in line for word in words), line
    return line


def change(path: Path, **fields) -> None:
    """As if it had been written so, before records had a digest."""
    kept = {name: value for name, value in json.loads(path.read_text()).items() if name != DIGEST}
    path.write_text(json.dumps(kept | fields))


# --- fields -------------------------------------------------------------------------------------------------------------

WRONG = {
    "table": [["cub200"], None, 3, "../cub200", "table9", "", {"a": 1}, "c" * 200], "row": [["plain"], None, "../plain", "table9", "a\nb", True],
    "seed": ["0", -1, 0.5, None, [0], True, 2**40, float("nan")], "preset": [None, ["demo"], "../demo", "grand"],
    "dataset": [None, 7, ["twin"], "imagenet", "../twin", "<script>put"], "is_twin": [None, "yes", 1, False],
    "n": ["40", 0, -1, 40.0, None, 10**400, 41, True],
    "unit": [None, "", 3, ["images"]], "summary": [None, [1], {"top1": "high"}, {"top1": float("inf")}, {"top1": 10**400}],
    "history": [None, {}, [1], [{"epoch": "one"}]], "depends": [None, [], "all", {"weights": "all"}],
    "provenance": [None, [], {"device": ["cpu"]}, {"seconds": "long"}, {"seconds": -1}, {"seconds": float("nan")}, {"commit": 3}, {"versions": ["2"]},
                   {"versions": {"torch": 2}}, {"threads": 0}],
    "notes": [None, "note", [3]], "values_sha256": [None, "0", 3, "z" * 64], "schema": [None, "1", 1.5, -1, True],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in WRONG.items() for value in values],
                         ids=lambda value: str(value)[:20])
def test_a_field_of_another_type_or_range_is_named(folder, field, value):
    path = keep(folder)
    change(path, **{field: value})
    refused(folder, path.stem, *([] if value in (41, "c" * 200) else [field.replace("dataset", "data")[:4]] if value is not False else ["twin"]))


@pytest.mark.parametrize("field", ["table", "row", "seed", "preset", "dataset", "is_twin", "n", "unit", "summary", "values_sha256"])
def test_a_field_that_is_missing_doubled_or_unknown_is_named(folder, field):
    path = keep(folder)
    text = path.read_text()
    fields = json.loads(text)
    del fields[field]
    path.write_text(json.dumps(fields))
    refused(folder, path.stem, field, "run its row again")
    path.write_text(text.replace("{", f'{{"{field}": 1, ', 1))
    refused(folder, path.stem, "twice")
    change_to = json.loads(text) | {f"{field}_": 1}
    path.write_text(json.dumps(change_to))
    refused(folder, path.stem, f"{field}_")


@pytest.mark.parametrize("fields", [{"seed": 3}, {"row": "stn"}, {"preset": "photos"}, {"summary": {"top1": 0.9}}, {"notes": ["better"]}, {"n": 41},
                                    {"history": [{"epoch": 2, "val": float("nan")}]}, {"depends": {}}, {DIGEST: "0" * 64}],
                         ids=lambda fields: next(iter(fields)))
def test_a_record_that_was_edited_is_named(folder, fields):
    """Each of these could be a record's, and was not this one's."""
    path = keep(folder)
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    refused(folder, path.stem, "changed since it was written", "run its row again")


def test_no_bit_of_a_record_can_flip_unseen(tmp_path):
    """What is told by no field's type or range is told by the digest."""
    whole = keep(tmp_path).read_bytes()
    fields, unseen = repr(parse(whole)), []  # NaN is not itself
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        try:
            unseen += [at] if repr(parse(bytes(damaged))) != fields else []
        except ValueError:
            continue
    assert not unseen


def test_what_is_undefined_is_null_in_the_file_for_json_has_no_nan(tmp_path):
    path = keep(tmp_path)
    record = replace(read_record(path).record, summary={"top1": 0.5, "shown": math.nan}, history=[{"epoch": 1, "val": math.nan}])
    path.write_text(as_json(record))
    strict = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert strict["summary"] == {"top1": 0.5, "shown": None}
    assert math.isnan(read_record(path).record.history[0]["val"])


def test_a_record_of_before_the_digest_is_read_as_it_is(tmp_path):
    """However it is laid out; and one with a digest too, which no field of what is read holds."""
    path = keep(tmp_path)
    whole = read_record(path).record
    path.write_text(json.dumps(json.loads(path.read_text()), sort_keys=True))
    assert repr(read_record(path).record) == repr(whole)
    change(path)
    assert DIGEST not in json.loads(path.read_text()) and repr(read_record(path).record) == repr(whole)


NESTED = {"list": "[" * 100_000 + "]" * 100_000, "dictionary": '{"a":' * 100_000 + "1" + "}" * 100_000, "not closed": "[" * 10_000}


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "3", '"record"', "\x00", "{}", *NESTED.values()], ids=lambda text: text[:5])
def test_json_that_is_no_record_is_named(folder, text):
    path = keep(folder)
    path.write_text(text)
    refused(folder, path.stem, "remove it")


@pytest.mark.parametrize("field", ["depends", "provenance"])
def test_deep_nesting_inside_a_record_is_named(folder, field):
    path, tree = keep(folder), {}
    for _ in range(40):
        tree = {"data": tree}
    change(path, **{field: tree})
    refused(folder, path.stem, "nested")


def test_bytes_that_are_no_text_and_a_file_that_is_too_large_are_named(folder):
    path = keep(folder)
    path.write_bytes(b"\xff\xfe\x00")
    refused(folder, path.stem)
    with open(path, "wb") as file:
        file.truncate(2**30)  # sparse
    refused(folder, path.stem, "MB")


# --- files --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["link to nowhere", "link to itself", "folder", "pipe"])
def test_what_is_no_file_is_named(folder, kind):
    path = keep(folder)
    path.unlink()
    {"link to nowhere": lambda: path.symlink_to("nowhere.json"), "link to itself": lambda: path.symlink_to(path.name),
     "folder": path.mkdir, "pipe": lambda: os.mkfifo(path)}[kind]()
    refused(folder, path.stem, "no readable file")


@pytest.mark.parametrize("kind", ["gone", "folder", "link to nowhere", "empty", "another row's", "not an archive"])
def test_values_that_are_not_the_records_are_named(folder, kind):
    path = keep(folder)
    values = path.with_suffix(".npz")
    data = values.read_bytes()
    values.unlink()
    {"gone": lambda: None, "folder": values.mkdir, "link to nowhere": lambda: values.symlink_to("nowhere.npz"), "empty": values.touch,
     "another row's": lambda: values.write_bytes(next(path.parent.glob("plain-*.npz")).read_bytes()),
     "not an archive": lambda: values.write_bytes(data[::-1])}[kind]()
    refused(folder, path.stem, "again")


def packed(path: Path, write) -> None:
    """Values of another making, with a digest that is theirs."""
    write(path.with_suffix(".npz"))
    change(path, values_sha256=hashlib.sha256(path.with_suffix(".npz").read_bytes()).hexdigest())


def test_an_archive_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(folder):
    def bomb(target: Path) -> None:
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("top1.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array_header_1_0(member, {"descr": "<f8", "fortran_order": False, "shape": (10**8,)})
            for _ in range(80):
                member.write(bytes(10**7))

    path = keep(folder)
    packed(path, bomb)
    refused(folder, path.stem, "800 MB")


def test_an_archive_of_something_else_is_refused(folder):
    def text(target: Path) -> None:
        with zipfile.ZipFile(target, "w") as archive:
            archive.writestr("top1.npy", b"not an array")

    path = keep(folder)
    packed(path, text)
    refused(folder, path.stem)


# --- values -------------------------------------------------------------------------------------------------------------

BAD_VALUES = {
    "half the samples": {"top1": np.ones(N // 2)}, "one number": {"top1": np.float64(1)}, "two columns": {"top1": np.ones((N, 2))},
    "no value": {}, "another value": {"nss": np.ones(N)}, "500 %": {"top1": np.full(N, 5.0)}, "less than nothing": {"top1": np.full(N, -0.5)},
    "all unknown": {"top1": np.full(N, np.nan)}, "unknown where wrong": {"top1": np.where(np.arange(N) < 30, 1, np.nan)},
    "infinite": {"top1": np.where(np.arange(N) < 1, np.inf, 1)}, "texts": {"top1": np.full(N, "right")}, "complex": {"top1": np.ones(N, complex)},
    "dates": {"top1": np.full(N, "2030-01-01", "datetime64[D]")}, "an odd one beside": answers() | {"index": np.arange(N - 1)}}


@pytest.mark.parametrize("name", BAD_VALUES)
def test_values_that_cannot_be_are_named(folder, name):
    refused(folder, keep(folder, values=BAD_VALUES[name]).stem)


def test_a_table_with_clusters_needs_them(tmp_path):
    """Table 1's intervals are over subjects, its columns over kinds of device."""
    store = RecordStore(tmp_path, table="gazecapture", dataset="twin", preset="demo")
    values = {"error_cm": np.ones(N), "subject": np.arange(N), "tablet": np.arange(N) < 20}
    for row, without in (("plain", None), ("sampler", "subject"), ("oracle", "tablet")):
        record = Record(table="gazecapture", row=row, seed=0, preset="demo", dataset="twin", is_twin=True, n=N, unit="frames", summary={})
        store.save(record, "key", {name: array for name, array in values.items() if name != without})
    found = read_folder(tmp_path)
    assert [set(rows) for rows in found.groups.values()] == [{"plain"}]
    assert all(any(row in line and value in line for line in found.problems) for row, value in (("sampler", "subject"), ("oracle", "tablet")))


def test_metrics_that_are_undefined_may_be_unknown(tmp_path):
    """NSS without fixation points, on all or on some images."""
    store = RecordStore(tmp_path, table="mrcnn", dataset="mit1003", preset="demo")
    record = Record(table="mrcnn", row="three", seed=0, preset="demo", dataset="mit1003", is_twin=False, n=N, unit="images",
                    summary={"nss": float("nan")})
    store.save(record, "key", {"nss": np.full(N, np.nan), "cc": np.linspace(-0.2, 1, N)})
    found = read_folder(tmp_path)
    assert found.problems == [] and len(found.items) == 1


# --- which data ---------------------------------------------------------------------------------------------------------


def test_one_newer_row_of_other_data_leaves_the_others_where_they_are(folder):
    keep(folder, n=N + 1, data="b")
    found = read_folder(folder)
    assert [set(rows) for rows in found.groups.values()] == [set(GOOD)]
    (line,) = found.problems
    assert "sampler, seed 0" in line and "other data" in line


def test_a_row_is_shown_by_its_newest_record_of_the_tables_data(folder):
    """A later record of the same row that saw other data does not hide it, and is named."""
    keep(folder, when=1.1e9)
    keep(folder, data="b", key="later")
    found = read_folder(folder)
    (rows,) = found.groups.values()
    assert set(rows) == {*GOOD, "sampler"} and rows["sampler"][0].path.stem.endswith("-key") and len(found.problems) == 1


def test_where_as_many_rows_saw_either_the_newer_data_count(folder):
    for row in GOOD:
        keep(folder, row, data="b", key="again")
    found = read_folder(folder)
    (rows,) = found.groups.values()
    assert all(seeds[0].path.stem.endswith("-again") for seeds in rows.values()) and found.problems == []


def test_the_controls_data_are_its_own(folder):
    keep(folder, "control_plain", data="c")
    (rows,) = read_folder(folder).groups.values()
    assert set(rows) == {*GOOD, "control_plain"}


# --- versions -----------------------------------------------------------------------------------------------------------


def test_a_folder_of_another_version_is_one_line_and_stays_as_it_is(folder, capsys):
    """Whatever other fields it has."""
    for path in folder.rglob("*.json"):
        change(path, schema=99, keys={"weights": "0", "values": "1"})
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    found = read_folder(folder)
    assert found.groups == {} and len(found.problems) == 1 and "version 99" in found.problems[0] and "2 others" in found.problems[0]
    assert main(["report", "--results", str(folder), "--out", str(folder.parent / "out")]) == 0
    assert main(["check", "--results", str(folder), "--reference", str(folder)]) == 2
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert "version 99" in capsys.readouterr().err


@pytest.mark.parametrize("version", [0, 1, 3])
def test_one_record_of_another_version_is_told_from_a_damaged_one(folder, version):
    path = keep(folder)
    change(path, schema=version, depends={"code": {"lib.old": "0"}, "preset": {}, "recipe": {}})
    with pytest.raises(OtherVersion, match=f"version {version}"):
        read_record(path)
    refused(folder, path.stem, f"version {version}", "left as it is")


# --- commands -----------------------------------------------------------------------------------------------------------


def test_no_command_ends_in_a_traceback_whatever_lies_there(folder, tmp_path, capsys):
    """All of it at once: the report is written and says what it left out, the check is not well, publishing goes on without."""
    for i, (field, values) in enumerate(WRONG.items()):
        for j, value in enumerate(values):
            change(keep(folder, key=f"wrong{i}x{j}", seed=i), **{field: value})
    for i, values in enumerate(BAD_VALUES.values()):
        keep(folder, values=values, key=f"bad{i}", seed=99)
    (folder / "runs" / "cub200" / "nowhere.json").symlink_to("nowhere")
    found = read_folder(folder)
    assert [set(rows) for rows in found.groups.values()] == [set(GOOD)] and len(found.problems) > 60
    assert main(["report", "--results", str(folder), "--out", str(tmp_path / "out")]) == 0
    html = (tmp_path / "out" / "report.html").read_text()
    assert "<script>put" not in html and "&lt;script&gt;put" in html
    assert main(["check", "cub200", "--results", str(folder), "--reference", str(folder)]) == 1
    assert "All 6 cells agree" in capsys.readouterr().out
