"""Small valid inputs of every format that the project reads, and how each is used: what campaigns change and look at.

    for one in miniatures(folder): one.files are changed, one at a time; one.uses says what the project makes of them

A use is a command as a user gives it, or a loader where no command reads the format alone; it gives a digest of what was read.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from scipy.io import savemat

ROOT = Path(__file__).parents[1]
SIZE = (48, 64)  # H, W of most pictures here


@dataclass(frozen=True)
class Miniature:
    """A valid input in a folder: `files` of it that may be damaged, by the name of their format, and what uses them."""

    folder: Path
    files: dict[str, Path]
    uses: dict[str, Callable[[Path], Any]]  # given a folder for output; "command": words


def digest(*values: Any) -> str:
    """16 hex digits of arrays, numbers and texts."""
    hashed = hashlib.sha256()
    for value in values:
        array = np.asarray(value)
        hashed.update(repr((array.dtype.str, array.shape)).encode() + (repr(array.tolist()).encode() if array.dtype == object else array.tobytes()))
    return hashed.hexdigest()[:16]


def picture(size: tuple[int, int] = SIZE, seed: int = 0) -> np.ndarray:
    """A smooth coloured scene, (H, W, 3) uint8."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC))


def textured(size: tuple[int, int] = SIZE, seed: int = 0) -> np.ndarray:
    """A scene whose three channels resemble one another, as those of photographs do, (H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    light = sum(np.kron(rng.random((size[0] // step + 1, size[1] // step + 1)), np.ones((step, step)))[: size[0], : size[1]] for step in (1, 2, 4, 8))
    return (55 * light[..., None] * [1, 0.9, 0.8] + 10).astype(np.uint8)


def blob(size: tuple[int, int] = SIZE, at: tuple[int, int] = (20, 30)) -> np.ndarray:
    """A blurred map, (H, W) float from 0 to 1."""
    y, x = np.mgrid[: size[0], : size[1]]
    return np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / 150)


def grey(values: np.ndarray) -> Image.Image:
    return Image.fromarray((255 * values).astype(np.uint8))


def cells(items: Sequence[Any]) -> np.ndarray:
    """MATLAB's n x 1 cell array."""
    made = np.empty((len(items), 1), dtype=object)
    made[:, 0] = items
    return made


def as_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


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
    files["safetensors"], files["safetensors, Mr-CNN"], files[".pth.tar, EML-NET"] = (folder / name for name in ("e.safetensors", "m.safetensors", "e.pth.tar"))
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
        points[10 + 3 * n:40:9, 10:50:13] = 255
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
    files = {".npy": folder / "maps/i1.npy", **{f"{kind} map": other / f"i1.{kind.lower()}" for kind in ("PNG", "TIFF")}, ".npz": other / "i1.npz",
             ".mat map": other / "i1.mat", "MIT1003 photograph": folder / "ALLSTIMULI/i1.jpeg", "MIT1003 map": folder / "ALLFIXATIONMAPS/i1_fixMap.jpg",
             "MIT1003 points": folder / "ALLFIXATIONMAPS/i1_fixPts.jpg"}

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


# --- saliency sets ------------------------------------------------------------------------------------------------------


def osie(folder: Path) -> Miniature:
    (folder / "data/eye").mkdir(parents=True)
    (folder / "data/stimuli").mkdir()
    rng, entries = np.random.default_rng(0), []
    for name in ("1001.jpg", "1002.jpg", "1003.jpg"):
        Image.fromarray(picture(seed=len(entries))).save(folder / "data/stimuli" / name, quality=90)
        structs = [{"fix_x": rng.uniform(5, 60, (1, 5)), "fix_y": rng.uniform(5, 44, (1, 5)), "fix_duration": rng.uniform(90, 300, (1, 5))} for _ in range(3)]
        entries.append({"img": name, "subjects": cells(structs)})
    mat = folder / "data/eye/fixations.mat"
    savemat(mat, {"fixations": cells(entries)})
    as_json(folder / "TWIN.json", {"counts": {"images": 3, "fixations": 45}})

    def load(out: Path) -> str:
        from lib.data.osie import OSIE

        data = OSIE(folder)
        return digest(*(values for i in range(len(data)) for values in (data.name(i), data.fixations(i), data.durations(i), data.density(i))))

    return Miniature(folder, {".mat, OSIE": mat, "JSON, twin's mark": folder / "TWIN.json"},
                     {name: use for name in (".mat, OSIE", "JSON, twin's mark") for use in [load]}
                     | {f"{name} | verify": lambda out: ["verify", "osie", str(folder)] for name in (".mat, OSIE", "JSON, twin's mark")})


def salicon(folder: Path) -> Miniature:
    rng = np.random.default_rng(0)
    for part in ("images", "fixations", "maps"):
        (folder / part / "val").mkdir(parents=True)
    stems = [f"COCO_val2014_{n:012}" for n in range(3)]
    for n, stem in enumerate(stems):
        Image.fromarray(picture(seed=n)).save(folder / "images/val" / f"{stem}.jpg", quality=90)
        grey(blob()).save(folder / "maps/val" / f"{stem}.png")
        gaze = np.empty((4, 1), dtype=[("location", object), ("timestamp", object), ("fixations", object)])
        for observer in range(4):
            points = np.stack([rng.integers(5, 60, 6), rng.integers(5, 44, 6)], axis=1).astype(np.uint16)
            gaze[observer, 0] = points, np.arange(6)[:, None], points
        savemat(folder / "fixations/val" / f"{stem}.mat", {"image": stem, "resolution": np.array([SIZE], np.uint16), "gaze": gaze})
    as_json(folder / "TWIN.json", {"counts": {"train": {"images": 0}, "val": {"images": 3, "fixations": 72}, "test": {"images": 0}}})

    def load(out: Path) -> str:
        from lib.data.salicon import SALICON

        data = SALICON(folder, "val")
        return digest(*(values for i in range(len(data)) for values in (data.fixations(i), data.subjects(i), data.density(i))))

    files = {".mat, SALICON": folder / "fixations/val" / f"{stems[0]}.mat", "PNG, SALICON": folder / "maps/val" / f"{stems[0]}.png"}
    return Miniature(folder, files, dict.fromkeys(files, load) | {f"{name} | verify": lambda out: ["verify", "salicon", str(folder)] for name in files})


def salicon_json(folder: Path) -> Miniature:
    folder.mkdir()
    rng = np.random.default_rng(0)
    names = [f"COCO_train2014_{n:012}.jpg" for n in range(2)]
    for n, name in enumerate(names):
        Image.fromarray(picture((480, 640), seed=n)).save(folder / name, quality=40)
    content = {"images": [{"id": n, "file_name": name, "width": 640, "height": 480} for n, name in enumerate(names)],
               "annotations": [{"image_id": n % 2, "id": n, "worker_id": n // 2,
                                "fixations": np.stack([rng.integers(1, 481, 20), rng.integers(1, 641, 20)], axis=1).tolist()} for n in range(6)]}
    path = as_json(folder / "fixations_train2014examples.json", content)

    def load(out: Path) -> str:
        from lib.data.salicon import SALICON2014

        data = SALICON2014(path)
        return digest(*(values for i in range(len(data)) for values in (data.fixations(i), data.subjects(i))))

    return Miniature(folder, {"JSON, SALICON": path}, {"JSON, SALICON": load})


def scanpaths(folder: Path) -> Miniature:
    rng = np.random.default_rng(0)
    (folder / "STIMULI").mkdir(parents=True)
    for stem in ("a", "b"):
        Image.fromarray(picture()).save(folder / "STIMULI" / f"{stem}.png")
        (folder / "SCANPATHS" / stem).mkdir(parents=True)
        for observer in ("o1", "o2"):
            xy = rng.integers(2, [63, 47], (8, 2))
            (folder / "SCANPATHS" / stem / observer).write_text("".join(f"{x} {y} {0.3 * n:.3f} {0.3 * n + 0.2:.3f} \n" for n, (x, y) in enumerate(xy)))

    def load(out: Path) -> str:
        from lib.data.fixatons import FixaTons

        data = FixaTons(folder)
        return digest(*(values for i in range(len(data)) for values in (data.fixations(i), data.subjects(i))))

    return Miniature(folder, {"text, scanpath": folder / "SCANPATHS/a/o1"}, {"text, scanpath": load})


def coursework(folder: Path) -> Miniature:
    from lib.data.coursework_miniature import write_miniature
    from lib.data.mit1003 import MIT1003

    source = folder / "mit1003"
    for part in ("ALLSTIMULI", "ALLFIXATIONMAPS"):
        (source / part).mkdir(parents=True)
    for n in range(3):
        Image.fromarray(textured((160, 200), seed=n)).save(source / "ALLSTIMULI" / f"i{n}.jpeg", quality=90)
        grey(blob((160, 200), at=(60 + 9 * n, 90))).save(source / "ALLFIXATIONMAPS" / f"i{n}_fixMap.jpg", quality=90)
    made = write_miniature(folder / "files", MIT1003(source), images=3)
    files = {".pth.tar, crops": made / "train_data.pth.tar", ".pth.tar, photographs": made / "val_data.pth.tar"}

    def load(out: Path) -> str:
        from lib.data.coursework import read_images, read_train

        crops, images = read_train(files[".pth.tar, crops"]), read_images(files[".pth.tar, photographs"])
        return digest(crops.batch(range(len(crops)))[0].numpy(), crops.y.numpy(), crops.files, *(image.image.numpy() for image in images))

    return Miniature(made, files, dict.fromkeys(files, load) | {f"{name} | verify": lambda out: ["verify", "coursework", str(made)] for name in files})


# --- recognition and gaze -----------------------------------------------------------------------------------------------


def inaturalist(folder: Path) -> Miniature:
    species = [("Aves", "Corvus corax"), ("Aves", "Pica pica"), ("Insecta", "Apis mellifera")]
    files = {}
    for split, count in (("train", 6), ("val", 2)):
        images, annotations, boxes = [], [], []
        for n in range(count * len(species)):
            group, name = species[n % 3]
            file = f"train_val_images/{group}/{name}/{split}{n:02}.jpg"
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture((24, 32), seed=n)).save(folder / file, quality=60)
            images.append({"id": 100 + n, "file_name": file, "height": 24, "width": 32})
            annotations.append({"id": n, "image_id": 100 + n, "category_id": n % 3})
            boxes.append({"id": n, "image_id": 100 + n, "category_id": n % 3, "bbox": [3, 2, 20, 15]})
        categories = [{"id": k, "name": name, "supercategory": group} for k, (group, name) in enumerate(species)]
        files[split] = as_json(folder / f"{split}2017.json", {"images": images, "annotations": annotations, "categories": categories})
        files[f"{split} boxes"] = as_json(folder / f"{split}_2017_bboxes.json", {"images": images, "annotations": boxes, "categories": categories})

    names = [image["file_name"] for split in ("train", "val") for image in json.loads(files[split].read_text())["images"]]
    files["parts"] = as_json(folder / "parts.json", {"part_names": ["beak"], "parts": {name: [[4, 5, 1]] for name in names}})
    files["mark"] = as_json(folder / "TWIN.json", {"seed": 0, "counts": {"train": {"images": 18, "boxes": 18}, "val": {"images": 6, "boxes": 6}, "classes": 3}})

    def load(out: Path) -> str:
        from lib.data.inaturalist import INaturalist

        parts = [INaturalist(folder, split) for split in ("train", "test")]
        return digest(*(values for data in parts for values in (data.path.names, data.label, data.size, data.box, data.parts, data.classes,
                                                             data.supercategory)))

    named = {"JSON, iNaturalist": files["train"], "JSON, iNaturalist's boxes": files["train boxes"], "JSON, iNaturalist's parts": files["parts"],
             "JSON, iNaturalist's mark": files["mark"]}
    return Miniature(folder, named, dict.fromkeys(named, load) | {f"{name} | verify": lambda out: ["verify", "inaturalist", str(folder)] for name in named})


def cub200(folder: Path) -> Miniature:
    classes = ("001.Albatross", "002.Auklet", "003.Crow")
    names = [f"{name}/{name[4:]}_{n:04}.jpg" for name in classes for n in range(11)]
    for n, name in enumerate(names):
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture((24, 32), seed=n)).save(folder / "images" / name, quality=60)
    (folder / "parts").mkdir()
    rows = {"images.txt": [f"{n} {name}" for n, name in enumerate(names, 1)], "classes.txt": [f"{n} {name}" for n, name in enumerate(classes, 1)],
            "image_class_labels.txt": [f"{n} {(n - 1) // 11 + 1}" for n in range(1, 34)],
            "train_test_split.txt": [f"{n} {int(n % 11 != 5)}" for n in range(1, 34)],
            "bounding_boxes.txt": [f"{n} 3.0 2.0 20.0 15.0" for n in range(1, 34)], "parts/parts.txt": ["1 beak", "2 tail"],
            "parts/part_locs.txt": [f"{n} {part} {5.0 + part} 4.0 {int(part == 1 or n % 2)}" for n in range(1, 34) for part in (1, 2)]}
    as_json(folder / "TWIN.json", {"seed": 0, "counts": {"images": 33, "train": 30, "test": 3, "classes": 3, "parts": 2}})
    for name, lines in rows.items():
        (folder / name).write_text("".join(f"{line}\n" for line in lines))

    def load(out: Path) -> str:
        from lib.data.cub200 import CUB200

        parts = [CUB200(folder, split) for split in ("train", "test")]
        return digest(*(values for data in parts for values in (data.path.names, data.label, data.box, data.parts, data.classes)))

    files = {f"text, CUB's {Path(name).stem}": folder / name for name in rows}
    return Miniature(folder, files, dict.fromkeys(files, load) | {f"{name} | verify": lambda out: ["verify", "cub200", str(folder)] for name in files})


def gazecapture(folder: Path) -> Miniature:
    from lib.data.synthetic import gazecapture as twin

    twin.write(folder, seed=1, workers=1, train_subjects=1, val_subjects=1, test_subjects=1, frames=(3, 2, 2))
    subject = next(path.parent for path in sorted(folder.glob("*/info.json")) if json.loads(path.read_text())["Dataset"] == "train")
    names = ("appleFace", "appleLeftEye", "faceGrid", "dotInfo", "screen", "info", "frames")
    files = {f"JSON, GazeCapture's {name}": subject / f"{name}.json" for name in names}

    def load(out: Path) -> str:
        from lib.data.gazecapture import GazeCapture

        data = GazeCapture(folder, split="train")
        return digest(data.subject, data.frame_name, data.device, data.orientation, data.camera_cm, data.face, data.left_eye, data.face_grid, data.size,
                      data.screen_points, data.screen_size_points, *(data.image(i) for i in range(len(data))))

    return Miniature(folder, files, dict.fromkeys(files, load) | {f"{name} | verify": lambda out: ["verify", "gazecapture", str(folder)] for name in files})


def imagenette(folder: Path) -> Miniature:
    from lib.data.imagenette import WNIDS

    boxes = {}
    for part, count in (("train", 10), ("val", 1)):
        for n, wnid in enumerate(WNIDS):
            for k in range(count):
                name = f"{part}/{wnid}/{part}_{k}.JPEG"
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture((16, 20), seed=n)).save(folder / name, quality=60)
                boxes[name] = [3, 2, 10, 9]
    as_json(folder / "TWIN.json", {"seed": 0, "counts": {"train": 100, "val": 10}})
    files = {"JSON, imagenette's boxes": as_json(folder / "boxes.json", boxes), "JPEG, imagenette": folder / f"val/{WNIDS[0]}/val_0.JPEG"}

    def load(out: Path) -> str:
        from lib.data.imagenette import Imagenette

        data = Imagenette(folder, "test")
        return digest(data.name, data.label, data.box, *(data.image(i) for i in range(2)))

    return Miniature(folder, files, dict.fromkeys(files, load) | {f"{name} | verify": lambda out: ["verify", "imagenette", str(folder)] for name in files})


def somebodys(folder: Path) -> Miniature:
    """A CSV of somebody's pictures, and a split list of a data set."""
    from lib.data.osie import OSIE

    folder.mkdir()
    lines = ["path,label,split"]
    for n in range(12):
        Image.fromarray(picture((40, 40), seed=n)).save(folder / f"{n}.png")
        lines.append(f"{n}.png,{'ab'[n % 2]},{('train', 'val', 'test')[n // 2 % 3]}")
    table, split = folder / "pictures.csv", folder / "split.csv"
    table.write_text("".join(f"{line}\n" for line in lines))
    osie(folder / "osie")
    split.write_text("file,split\n1001.jpg,train\n1002,val\n1003.jpg,test\n")

    def load(out: Path) -> str:
        from lib.data.pictures_folder import LabelledPictures

        parts = [LabelledPictures(table, split, unreadable="refuse") for split in ("train", "val", "test")]
        return digest(*(values for data in parts for values in (data.path.names, data.label, data.size, data.classes)))

    def load_split(out: Path) -> str:
        from lib.data.splits import read_split

        return digest(*read_split(split, OSIE(folder / "osie")).values())

    return Miniature(folder, {"CSV of pictures": table, "CSV, split": split}, {"CSV of pictures": load, "CSV, split": load_split})


# --- what the project wrote itself --------------------------------------------------------------------------------------


def records(folder: Path) -> Miniature:
    from lib.results.records import Record, RecordStore

    rng, made = np.random.default_rng(0), {}
    for row in ("plain", "cam", "sampler"):
        record = Record(table="cub200", row=row, seed=0, preset="demo", dataset="twin", is_twin=True, n=40, unit="images", summary={"top1": 0.5},
                        history=[{"epoch": 1, "val": 0.5}], depends={"data": {"test": "a"}, "torch": "2"},
                        provenance={"commit": "c" * 40, "device": "cpu", "seconds": 1.0, "threads": 1, "versions": {"torch": "2"}})
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
    files = {"cache's views": made / "views.npy", "cache's images": made / f"{SIZE[0]}x{SIZE[1]}.npy", "JSON, cache's manifest": made / "complete.json"}
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


EVERY = (photographs, maps, osie, salicon, salicon_json, scanpaths, coursework, inaturalist, cub200, gazecapture, imagenette, somebodys, records, checkpoint,
         cache, archives, notebook)


def miniatures(folder: Path, names: Sequence[str] = ()) -> list[Miniature]:
    """All of them, or those of some builders, each in a folder of its own."""
    return [make(folder / make.__name__) for make in EVERY if not names or make.__name__ in names]
