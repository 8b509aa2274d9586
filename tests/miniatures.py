"""Small valid inputs of every format that the project reads, and how each is used: what campaigns change and look at.

    for one in miniatures(folder): one.files are changed, one at a time; one.uses says what the project makes of them

A use is a command as a user gives it, or a loader where no command reads the format alone; it gives a digest of what was read.
"""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from miniature_parts import SIZE, Miniature, as_json, blob, digest, grey, picture
from miniatures_data import coursework, cub200, gazecapture, imagenette, inaturalist, osie, salicon, salicon_json, scanpaths, somebodys
from PIL import Image
from safetensors.torch import save_file
from scipy.io import savemat

ROOT = Path(__file__).parents[1]


# --- photographs, maps, weights -----------------------------------------------------------------------------------------


def photographs(folder: Path) -> Miniature:
    """What `predict` is given: a photograph in four formats, and the weights of two networks."""
    from lib.models.emlnet import SmallEncoder
    from lib.models.mrcnn import MrCNN

    folder.mkdir()
    files = {}
    for kind, options in {"JPEG": {"quality": 90}, "PNG": {}, "TIFF": {}, "WebP": {}}.items():
        files[kind] = folder / f"photo.{kind.lower()}"
        Image.fromarray(picture()).save(files[kind], **options)
    torch.manual_seed(0)
    networks = {"EML-NET": SmallEncoder(channels=(8, 8, 8, 8, 8)), "Mr-CNN": MrCNN(widths=(4, 4, 4), hidden=8)}
    states = {name: {key: value.contiguous() for key, value in network.state_dict().items()} for name, network in networks.items()}
    files["safetensors"], files["safetensors, Mr-CNN"], files[".pth.tar, EML-NET"] = (
        folder / name for name in ("e.safetensors", "m.safetensors", "e.pth.tar")
    )
    save_file(states["EML-NET"], files["safetensors"])
    save_file(states["Mr-CNN"], files["safetensors, Mr-CNN"])
    torch.save({"state_dict": states["EML-NET"]}, files[".pth.tar, EML-NET"])
    files["photograph"] = folder / "photo.jpeg"

    def predict(model: str, option: str, weights: str, photo: str) -> Callable[[Path], list[str]]:
        return lambda out: ["predict", model, option, str(files[weights]), str(files[photo]), "--device", "cpu", "--out", str(out)]

    uses: dict[str, Callable[[Path], Any]] = {kind: predict("emlnet", "--encoder", "safetensors", kind) for kind in ("JPEG", "PNG", "TIFF", "WebP")}
    uses["safetensors"] = predict("emlnet", "--encoder", "safetensors", "JPEG")
    uses[".pth.tar, EML-NET"] = predict("emlnet", "--encoder", ".pth.tar, EML-NET", "JPEG")
    uses["safetensors, Mr-CNN"] = predict("mrcnn", "--weights", "safetensors, Mr-CNN", "JPEG")
    files.pop("photograph")
    return Miniature(folder, files, uses)


def maps(folder: Path) -> Miniature:
    """What `score` is given: a map in each format, of a data set in MIT1003's layout, which is damaged too."""
    stems = ("i1", "i2.p2", "i3")
    for part in ("ALLSTIMULI", "ALLFIXATIONMAPS", "maps"):
        (folder / part).mkdir(parents=True)
    for n, stem in enumerate(stems):
        Image.fromarray(picture(seed=n)).save(folder / "ALLSTIMULI" / f"{stem}.jpeg", quality=90)
        grey(blob(at=(15 + 5 * n, 30))).save(folder / "ALLFIXATIONMAPS" / f"{stem}_fixMap.jpg", quality=90)
        points = np.zeros(SIZE, dtype=np.uint8)
        points[10 + 3 * n : 40 : 9, 10:50:13] = 255
        Image.fromarray(points).save(folder / "ALLFIXATIONMAPS" / f"{stem}_fixPts.jpg", quality=75)
        np.save(folder / "maps" / f"{stem}.npy", blob().astype(np.float32))
    as_json(folder / "TWIN.json", {"counts": {"images": 3, "fixations": sum(len(range(10 + 3 * n, 40, 9)) * 4 for n in range(3))}})
    deep = (65535 * blob()).astype(np.uint16)
    other = folder / "other"
    other.mkdir()
    Image.fromarray(deep).save(other / "i1.png")
    Image.fromarray(blob().astype(np.float32)).save(other / "i1.tiff")
    np.savez(other / "i1.npz", saliency=blob())
    savemat(other / "i1.mat", {"saliency": blob()}, do_compression=True)
    files = {
        ".npy": folder / "maps/i1.npy",
        **{f"{kind} map": other / f"i1.{kind.lower()}" for kind in ("PNG", "TIFF")},
        ".npz": other / "i1.npz",
        ".mat map": other / "i1.mat",
        "MIT1003 photograph": folder / "ALLSTIMULI/i1.jpeg",
        "MIT1003 map": folder / "ALLFIXATIONMAPS/i1_fixMap.jpg",
        "MIT1003 points": folder / "ALLFIXATIONMAPS/i1_fixPts.jpg",
    }

    def score(name: str) -> Callable[[Path], list[str]]:
        def words(out: Path) -> list[str]:
            given = folder / "maps"
            if files[name].parent == other:
                given = out.parent / "given"
                shutil.rmtree(given, ignore_errors=True)
                given.mkdir()
                shutil.copy(files[name], given)
                shutil.copy(folder / "maps" / "i3.npy", given)
            return ["score", "mit1003", str(given), "--data", str(folder), "--out", str(out / "scores.csv")]

        return words

    uses: dict[str, Callable[[Path], Any]] = {name: score(name) for name in files}
    for name in [name for name in files if name.startswith("MIT1003")]:
        uses[f"{name} | verify"] = lambda out: ["verify", "mit1003", str(folder)]
    return Miniature(folder, files, uses)


# --- what the project wrote itself --------------------------------------------------------------------------------------


def records(folder: Path) -> Miniature:
    from lib.results.records import Record, RecordStore

    rng, made = np.random.default_rng(0), {}
    for row in ("plain", "cam", "sampler"):
        record = Record(
            table="cub200",
            row=row,
            seed=0,
            preset="demo",
            dataset="twin",
            is_twin=True,
            n=40,
            unit="images",
            summary={"top1": 0.5},
            history=[{"epoch": 1, "val": 0.5}],
            depends={"data": {"test": "a"}, "torch": "2"},
            provenance={"commit": "c" * 40, "device": "cpu", "seconds": 1.0, "threads": 1, "versions": {"torch": "2"}},
        )
        store = RecordStore(folder, table="cub200", dataset="twin", preset="demo")
        store.save(record, "0123456789", {"top1": rng.integers(0, 2, 40).astype(float), "top5": np.ones(40)})
        made[row] = store.path(row, 0, "0123456789", "json")
    files = {"JSON, record": made["sampler"], ".npz, record's values": made["sampler"].with_suffix(".npz")}
    uses: dict[str, Callable[[Path], Any]] = {}
    for name in files:
        uses[name] = lambda out: ["report", "--results", str(folder), "--out", str(out)]
        uses[f"{name} | status"] = lambda out: ["status", "cub200", "--device", "cpu", "--results", str(folder)]
        uses[f"{name} | check"] = lambda out: ["check", "cub200", "--results", str(folder), "--reference", str(folder.parent / "records' reference")]
    shutil.copytree(folder, folder.parent / "records' reference")
    return Miniature(folder, files, uses)


def checkpoint(folder: Path) -> Miniature:
    """A training that was interrupted after its first epoch, and the one whose numbers it must end with."""
    from torch import nn

    from lib.models.network import RowNetwork
    from lib.training.loop import Recipe, Trainer
    from lib.training.progress import Progress
    from shades import Shades

    folder.mkdir()

    class Small(RowNetwork):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Dropout(0.3), nn.Linear(48, 3))

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.inner(image)

    def train(path: Path | None, epochs: int = 2, until: int = 2) -> str:
        torch.manual_seed(0)
        trainer = Trainer(Small(), Shades(), Recipe(epochs=epochs, batch_size=8, lr=5e-3), seed=0, device=torch.device("cpu"))

        def progress(stage: str, done: int, total: int, note: str = "") -> None:
            if done > until * total // epochs:
                raise InterruptedError

        history = trainer.run(checkpoint=path, progress=Progress(quiet=True) if until == epochs else progress, label="row")
        return digest(*(value.numpy() for value in trainer.model.state_dict().values()), repr(history))

    path = folder / "row.ckpt"
    try:
        train(path, until=1)
    except InterruptedError:
        pass

    def load(out: Path) -> str:
        work = out / path.name
        shutil.copy(path, work)
        return train(work)

    return Miniature(folder, {"checkpoint": path}, {"checkpoint": load})


def cache(folder: Path) -> Miniature:
    from lib.data.store import ImageStore

    paths = []
    (folder / "pictures").mkdir(parents=True)
    for n in range(4):
        paths.append(folder / "pictures" / f"{n}.png")
        Image.fromarray(picture(seed=n)).save(paths[-1])

    def load(out: Path) -> str:
        store = ImageStore(paths, np.array([SIZE] * 4), (12, 16), cache_dir=folder / "cache", fingerprint="f", workers=0)
        return digest(*(values.numpy() for values in store.fetch(np.arange(4))))

    load(folder)
    made = next((folder / "cache").glob("f-*"))
    files = {
        "cache's views": made / "views.npy",
        "cache's images": made / f"{SIZE[0]}x{SIZE[1]}.npy",
        "JSON, cache's manifest": made / "complete.json",
    }
    return Miniature(folder, files, dict.fromkeys(files, load))


def archives(folder: Path) -> Miniature:
    from lib.data.archives import unpack

    folder.mkdir()
    source = folder / "source"
    source.mkdir()
    Image.fromarray(picture()).save(source / "a.jpg")
    (source / "b.txt").write_text("1 2 3\n" * 40)
    files = {".zip": folder / "made.zip", ".tar.gz": folder / "made.tar.gz"}
    with zipfile.ZipFile(files[".zip"], "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(source.iterdir()):
            archive.write(path, f"images/{path.name}")
    with tarfile.open(files[".tar.gz"], "w:gz") as archive:
        archive.add(source, "images")

    def unpacked(path: Path) -> Callable[[Path], str]:
        def load(out: Path) -> str:
            before = {each for each in out.parent.rglob("*") if out not in each.parents and each != out}
            unpack(path, out / "unpacked")
            stray = {each for each in out.parent.rglob("*") if out not in each.parents and each != out} - before
            assert not stray, stray
            found = sorted(each for each in (out / "unpacked").rglob("*") if each.is_file())
            return digest(*(value for each in found for value in (each.relative_to(out).as_posix(), hashlib.sha256(each.read_bytes()).hexdigest())))

        return load

    return Miniature(folder, files, {name: unpacked(path) for name, path in files.items()})


def notebook(folder: Path) -> Miniature:
    folder.mkdir()
    path = folder / "04_cub200.ipynb"
    shutil.copy(next((ROOT / "notebooks").glob("04*.ipynb")), path)

    def load(out: Path) -> str:
        from lib.batch import check_parameters

        return digest(repr(check_parameters(path, {"preset": "smoke", "seeds": "2"})))

    return Miniature(folder, {"notebook's parameters": path}, {"notebook's parameters": load})


EVERY = (
    photographs,
    maps,
    osie,
    salicon,
    salicon_json,
    scanpaths,
    coursework,
    inaturalist,
    cub200,
    gazecapture,
    imagenette,
    somebodys,
    records,
    checkpoint,
    cache,
    archives,
    notebook,
)


def miniatures(folder: Path, names: Sequence[str] = ()) -> list[Miniature]:
    """All of them, or those of some builders, each in a folder of its own."""
    return [make(folder / make.__name__) for make in EVERY if not names or make.__name__ in names]
