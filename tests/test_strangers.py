"""A stranger's way through the page of each data set that can be fetched: download, verify, fill a table. No network.

The commands are the page's own, in its order. What differs is what costs days: the server is this machine and has a few pictures
under the published names, `verify` expects as many, and tables are filled with the preset `smoke`, a few rows, on the CPU.
"""

import csv
import hashlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from archive_server import Server, publish
from documents import commands, filled_by
from miniature_parts import blob, cells, grey, picture
from PIL import Image
from scipy.io import savemat

from lib import __main__ as cli
from lib.data import cub200_verify, fetch, imagenette_verify, inaturalist_verify, mit1003_verify, osie_verify
from lib.data.imagenette import WNIDS
from lib.data.synthetic import cub200, inaturalist

DRAWN = {"train": 80, "test": 16}  # birds of sixteen species: five to train on and choose by, one to test on
SCENES = 15  # of a saliency set: every fifth for testing, and of the others every tenth to choose by
ROWS = {"cub200": "plain,oracle", "inaturalist": "plain", "saliency_depth": "depth_6", "successors": "plain", "salicon": "uniform,centre_bias",
        "mrcnn": "uniform", "proposal": "centre", "unzoomed": "centre_bias"}


# --- what the server has: a function a data set, which gives what `verify` is to expect ------------------------------------------


def save(path: Path, size: tuple[int, int], seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(size, seed=seed)).save(path, quality=60)


def serve_osie(server: Server, source: Path, patch: pytest.MonkeyPatch) -> None:
    """Files one by one, below data/, each with its SHA-256."""
    rng, entries = np.random.default_rng(0), []
    for n in range(SCENES):
        save(source / "stimuli" / f"{1001 + n}.jpg", osie_verify.SIZE, n)
        gaze = [{"fix_x": rng.uniform(5, 790, (1, 6)), "fix_y": rng.uniform(5, 590, (1, 6)), "fix_duration": rng.uniform(90, 300, (1, 6))}
                for _ in range(15)]
        entries.append({"img": f"{1001 + n}.jpg", "subjects": cells(gaze)})
    (source / "eye").mkdir()
    savemat(source / "eye" / "fixations.mat", {"fixations": cells(entries)})
    found = {path.relative_to(source).as_posix(): path.read_bytes() for path in source.rglob("*") if path.is_file()}
    server.files = {f"data/{name}": content for name, content in found.items()}
    for module in (fetch, osie_verify):
        patch.setattr(module, "published_checksums", lambda: {name: hashlib.sha256(content).hexdigest() for name, content in found.items()})
    patch.setattr(osie_verify, "IMAGES", SCENES)
    patch.setattr(osie_verify, "FIXATIONS", SCENES * 15 * 6)


def serve_mit1003(server: Server, source: Path, patch: pytest.MonkeyPatch) -> None:
    """Photographs, blurred maps and points; no scanpaths, which another collection has."""
    size, rng = (405, 1024), np.random.default_rng(0)
    (source / "ALLFIXATIONMAPS").mkdir(parents=True)
    for n in range(SCENES):
        save(source / "ALLSTIMULI" / f"i{n:02}.jpeg", size, n)
        grey(blob(size, at=(200, 300 + 20 * n))).save(source / "ALLFIXATIONMAPS" / f"i{n:02}_fixMap.jpg")
        points = np.zeros(size)
        points[rng.integers(0, size[0], 40), rng.integers(0, size[1], 40)] = 1
        grey(points).save(source / "ALLFIXATIONMAPS" / f"i{n:02}_fixPts.jpg", quality=95)
    publish(server, patch, "mit1003", source, {f"{name}.zip": [name] for name in ("ALLSTIMULI", "ALLFIXATIONMAPS")})
    patch.setattr(mit1003_verify, "IMAGES", SCENES)


def serve_cub200(server: Server, source: Path, patch: pytest.MonkeyPatch) -> None:
    root = cub200.write(source / "CUB_200_2011", **DRAWN, workers=1, side=32)
    (root / "TWIN.json").unlink()
    publish(server, patch, "cub200", source, {"CUB_200_2011.tgz": ["CUB_200_2011"]})
    patch.setattr(cub200_verify, "PUBLISHED", {"images": 96, **DRAWN, "classes": 16, "parts": 15})


def serve_inaturalist(server: Server, source: Path, patch: pytest.MonkeyPatch) -> None:
    root = inaturalist.write(source, **DRAWN, workers=1, side=32)
    members = {"train_val2017.zip": ["train2017.json", "val2017.json"], "train_2017_bboxes.zip": ["train_2017_bboxes.json"],
               "val_2017_bboxes.zip": ["val_2017_bboxes.json"], "train_val_images.tar.gz": ["train_val_images"]}
    publish(server, patch, "inaturalist", root, members)
    found = {split: inaturalist_verify.Annotations(root / f"{split}2017.json") for split in ("train", "val")}
    counts = [Counter(one.supercategory[label] for label in one.label.tolist()) for one in found.values()]
    kinds = Counter(found["train"].supercategory)
    patch.setattr(inaturalist_verify, "PUBLISHED", {name: (kinds[name], *(one[name] for one in counts)) for name in kinds})
    boxes = {split: len(inaturalist_verify.read_json(root / f"{split}_2017_bboxes.json")["annotations"]) for split in found}
    patch.setattr(inaturalist_verify, "PUBLISHED_BOXES", boxes)


def serve_imagenette(server: Server, source: Path, patch: pytest.MonkeyPatch) -> None:
    for part, count in {"train": 10, "val": 1}.items():
        for n, wnid in enumerate(WNIDS):
            for k in range(count):
                save(source / "imagenette2-160" / part / wnid / f"{part}_{k}.JPEG", (160, 213), 10 * k + n)
    publish(server, patch, "imagenette", source, {"imagenette2-160.tgz": ["imagenette2-160"]})
    patch.setattr(imagenette_verify, "PUBLISHED", {"train": 100, "val": 10})


SERVE: dict[str, Callable[[Server, Path, pytest.MonkeyPatch], None]] = {
    name: globals()[f"serve_{name}"] for name in ("osie", "mit1003", "cub200", "inaturalist", "imagenette")}


# --- the way ---------------------------------------------------------------------------------------------------------------------


def steps(name: str, folder: Path, url: str) -> list[list[str]]:
    """The page's commands as words of `python -m lib`: fetch, verify, and one for each table that the page fills."""
    found, filled = [], set()
    for words in (list(command.lib) for command in commands(f"data/{name}.md") if command.lib):
        placed = [str(folder / "data") if word == "DIR" else word for word in words]
        if words[0] == "fetch":
            found.append([*placed, "--mirror", url])
        elif words[0] == "verify":
            found.append(placed)
        elif words[0] in ("run", "table"):
            given = placed[next(i for i, word in enumerate(placed) if word.startswith("--")):]
            options = dict(zip(given[::2], given[1::2], strict=True)) | {"--preset": "smoke", "--device": "cpu", "--seeds": "1"}
            for table in (one for one in filled_by(words) if one not in filled):
                filled.add(table)
                cheap = options | {"--rows": ROWS[table], "--results": str(folder / "results")}
                found.append(["table", table, *(word for pair in cheap.items() for word in pair)])
    return found


def finished(path: Path) -> set[str]:
    """The rows of a written table that have a number."""
    with open(path, newline="") as file:
        return {line["row"] for line in csv.DictReader(file) if line["ours"] and np.isfinite(float(line["ours"]))}


def test_every_data_set_that_can_be_fetched_is_tried():
    assert set(SERVE) == set(cli.FETCHABLE)


@pytest.mark.slow
@pytest.mark.parametrize("name", SERVE)
def test_the_pages_commands_lead_from_nothing_to_a_table(name, tmp_path, monkeypatch, capsys):
    server = Server()
    try:
        SERVE[name](server, tmp_path / "source", monkeypatch)
        way = steps(name, tmp_path, server.url)
        assert [words[0] for words in way[:2]] == ["fetch", "verify"] and len(way) > 2
        for words in way:
            assert cli.main(words) == 0, capsys.readouterr()
            said = capsys.readouterr()
            assert "error" not in said.err and "warning" not in said.out.lower(), (words, said)
            if words[0] == "table":
                assert finished(tmp_path / "results" / "tables" / f"{words[1]}-{name}-smoke.csv") == set(ROWS[words[1]].split(","))
    finally:
        server.close()
