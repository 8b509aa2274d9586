"""Miniatures of data sets: a few pictures and annotations each, in the layout that the loader reads; see `miniatures`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from miniature_parts import SIZE, Miniature, as_json, blob, cells, digest, grey, picture, textured
from PIL import Image
from scipy.io import savemat

# --- saliency sets ------------------------------------------------------------------------------------------------------


def osie(folder: Path) -> Miniature:
    (folder / "data/eye").mkdir(parents=True)
    (folder / "data/stimuli").mkdir()
    rng, entries = np.random.default_rng(0), []
    for name in ("1001.jpg", "1002.jpg", "1003.jpg"):
        Image.fromarray(picture(seed=len(entries))).save(folder / "data/stimuli" / name, quality=90)
        structs = [
            {"fix_x": rng.uniform(5, 60, (1, 5)), "fix_y": rng.uniform(5, 44, (1, 5)), "fix_duration": rng.uniform(90, 300, (1, 5))} for _ in range(3)
        ]
        entries.append({"img": name, "subjects": cells(structs)})
    mat = folder / "data/eye/fixations.mat"
    savemat(mat, {"fixations": cells(entries)})
    as_json(folder / "TWIN.json", {"counts": {"images": 3, "fixations": 45}})

    def load(out: Path) -> str:
        from lib.data.osie import OSIE

        data = OSIE(folder)
        return digest(*(values for i in range(len(data)) for values in (data.name(i), data.fixations(i), data.durations(i), data.density(i))))

    return Miniature(
        folder,
        {".mat, OSIE": mat, "JSON, twin's mark": folder / "TWIN.json"},
        {name: use for name in (".mat, OSIE", "JSON, twin's mark") for use in [load]}
        | {f"{name} | verify": lambda out: ["verify", "osie", str(folder)] for name in (".mat, OSIE", "JSON, twin's mark")},
    )


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
    return Miniature(
        folder, files, dict.fromkeys(files, load) | {f"{name} | verify": lambda out: ["verify", "salicon", str(folder)] for name in files}
    )


def salicon_json(folder: Path) -> Miniature:
    folder.mkdir()
    rng = np.random.default_rng(0)
    names = [f"COCO_train2014_{n:012}.jpg" for n in range(2)]
    for n, name in enumerate(names):
        Image.fromarray(picture((480, 640), seed=n)).save(folder / name, quality=40)
    content = {
        "images": [{"id": n, "file_name": name, "width": 640, "height": 480} for n, name in enumerate(names)],
        "annotations": [
            {
                "image_id": n % 2,
                "id": n,
                "worker_id": n // 2,
                "fixations": np.stack([rng.integers(1, 481, 20), rng.integers(1, 641, 20)], axis=1).tolist(),
            }
            for n in range(6)
        ],
    }
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
            (folder / "SCANPATHS" / stem / observer).write_text(
                "".join(f"{x} {y} {0.3 * n:.3f} {0.3 * n + 0.2:.3f} \n" for n, (x, y) in enumerate(xy))
            )

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

    return Miniature(
        made, files, dict.fromkeys(files, load) | {f"{name} | verify": lambda out: ["verify", "coursework", str(made)] for name in files}
    )


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
    files["mark"] = as_json(
        folder / "TWIN.json", {"seed": 0, "counts": {"train": {"images": 18, "boxes": 18}, "val": {"images": 6, "boxes": 6}, "classes": 3}}
    )

    def load(out: Path) -> str:
        from lib.data.inaturalist import INaturalist

        parts = [INaturalist(folder, split) for split in ("train", "test")]
        return digest(
            *(values for data in parts for values in (data.path.names, data.label, data.size, data.box, data.parts, data.classes, data.supercategory))
        )

    named = {
        "JSON, iNaturalist": files["train"],
        "JSON, iNaturalist's boxes": files["train boxes"],
        "JSON, iNaturalist's parts": files["parts"],
        "JSON, iNaturalist's mark": files["mark"],
    }
    return Miniature(
        folder, named, dict.fromkeys(named, load) | {f"{name} | verify": lambda out: ["verify", "inaturalist", str(folder)] for name in named}
    )


def cub200(folder: Path) -> Miniature:
    classes = ("001.Albatross", "002.Auklet", "003.Crow")
    names = [f"{name}/{name[4:]}_{n:04}.jpg" for name in classes for n in range(11)]
    for n, name in enumerate(names):
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture((24, 32), seed=n)).save(folder / "images" / name, quality=60)
    (folder / "parts").mkdir()
    rows = {
        "images.txt": [f"{n} {name}" for n, name in enumerate(names, 1)],
        "classes.txt": [f"{n} {name}" for n, name in enumerate(classes, 1)],
        "image_class_labels.txt": [f"{n} {(n - 1) // 11 + 1}" for n in range(1, 34)],
        "train_test_split.txt": [f"{n} {int(n % 11 != 5)}" for n in range(1, 34)],
        "bounding_boxes.txt": [f"{n} 3.0 2.0 20.0 15.0" for n in range(1, 34)],
        "parts/parts.txt": ["1 beak", "2 tail"],
        "parts/part_locs.txt": [f"{n} {part} {5.0 + part} 4.0 {int(part == 1 or n % 2)}" for n in range(1, 34) for part in (1, 2)],
    }
    as_json(folder / "TWIN.json", {"seed": 0, "counts": {"images": 33, "train": 30, "test": 3, "classes": 3, "parts": 2}})
    for name, lines in rows.items():
        (folder / name).write_text("".join(f"{line}\n" for line in lines))

    def load(out: Path) -> str:
        from lib.data.cub200 import CUB200

        parts = [CUB200(folder, split) for split in ("train", "test")]
        return digest(*(values for data in parts for values in (data.path.names, data.label, data.box, data.parts, data.classes)))

    files = {f"text, CUB's {Path(name).stem}": folder / name for name in rows}
    return Miniature(
        folder, files, dict.fromkeys(files, load) | {f"{name} | verify": lambda out: ["verify", "cub200", str(folder)] for name in files}
    )


def gazecapture(folder: Path) -> Miniature:
    from lib.data.synthetic import gazecapture as twin

    twin.write(folder, seed=1, workers=1, train_subjects=1, val_subjects=1, test_subjects=1, frames=(3, 2, 2))
    subject = next(path.parent for path in sorted(folder.glob("*/info.json")) if json.loads(path.read_text())["Dataset"] == "train")
    names = ("appleFace", "appleLeftEye", "faceGrid", "dotInfo", "screen", "info", "frames")
    files = {f"JSON, GazeCapture's {name}": subject / f"{name}.json" for name in names}

    def load(out: Path) -> str:
        from lib.data.gazecapture import GazeCapture

        data = GazeCapture(folder, split="train")
        return digest(
            data.subject,
            data.frame_name,
            data.device,
            data.orientation,
            data.camera_cm,
            data.face,
            data.left_eye,
            data.face_grid,
            data.size,
            data.screen_points,
            data.screen_size_points,
            *(data.image(i) for i in range(len(data))),
        )

    return Miniature(
        folder, files, dict.fromkeys(files, load) | {f"{name} | verify": lambda out: ["verify", "gazecapture", str(folder)] for name in files}
    )


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

    return Miniature(
        folder, files, dict.fromkeys(files, load) | {f"{name} | verify": lambda out: ["verify", "imagenette", str(folder)] for name in files}
    )


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
