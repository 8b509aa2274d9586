"""The image store: a cache changes speed and nothing else, and a file that is not what it should be is named in one line."""

import json
import multiprocessing
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from lib.data.store import ImageStore, read_rgb
from lib.files import disk
from lib.models.sampler import low_resolution
from lib.versions import VERSIONS, versions

VIEW = (12, 16)
SIZES = [(48, 64)] * 7 + [(64, 48)] * 4 + [(50, 50)] * 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Twelve JPEGs of three sizes, mixed."""
    where, generator = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for i, (height, width) in enumerate(sizes()):
        coarse = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((width, height)).save(where / f"{i:02}.jpg", quality=95)
    return where


def sizes() -> np.ndarray:
    return np.random.default_rng(1).permutation(np.array(SIZES))


def paths(folder) -> list[Path]:
    return [folder / f"{i:02}.jpg" for i in range(len(SIZES))]


def make(folder, cache_dir=None, **options) -> ImageStore:
    options = {"workers": 0, "fingerprint": "f", **options}
    return ImageStore(paths(folder), sizes(), VIEW, cache_dir=cache_dir, **options)


def epoch(store, batch_size=3, seed=None) -> list:
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return list(store.batches(store.index_batches(batch_size, generator)))


def flip(path: Path, at: int) -> None:
    """One bit, at the byte `at`."""
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def assert_same(one, other):
    assert len(one) == len(other) > 0
    for (i, image, view), (j, other_image, other_view) in zip(one, other, strict=True):
        assert i.tolist() == j.tolist()
        assert torch.equal(image, other_image) and torch.equal(view, other_view)
        assert image.dtype == view.dtype == torch.uint8


# ------------------------------------------------------------------------------------------------------------------ content


def test_fetch_gives_the_files_pixels_and_their_anti_aliased_views(folder):
    store = make(folder)
    for indices, image, view in epoch(store):
        for k, index in enumerate(indices):
            pixels = torch.from_numpy(np.array(Image.open(store.paths[index]))).permute(2, 0, 1)
            assert torch.equal(image[k], pixels)
            wanted = low_resolution(pixels[None], VIEW)[0] * 255
            assert (view[k] - wanted).abs().max() <= 0.5 + 1e-3


@pytest.mark.parametrize("seed", [None, 3])
def test_cached_equals_decoded_bit_for_bit(folder, tmp_path, seed):
    assert_same(epoch(make(folder, tmp_path), seed=seed), epoch(make(folder), seed=seed))


def test_worker_processes_give_the_same_batches_and_draw_no_random_numbers(folder):
    """Else dropout would go another way with the images in a cache than without."""
    before = torch.get_rng_state()
    assert_same(epoch(make(folder, workers=1), seed=4), epoch(make(folder), seed=4))
    assert torch.equal(torch.get_rng_state(), before)


def test_batches_have_one_size_each_and_cover_every_image_once(folder):
    store = make(folder)
    for seed in (None, 0, 1):
        found = epoch(store, batch_size=3, seed=seed)
        assert sorted(i for indices, _, _ in found for i in indices) == list(range(len(SIZES)))
        for indices, image, view in found:
            assert 1 <= len(indices) <= 3
            assert image.shape == (len(indices), 3, *sizes()[indices[0]]) and view.shape == (len(indices), 3, *VIEW)
        assert sorted(len(indices) for indices, _, _ in found) == [1, 1, 1, 3, 3, 3]


def test_order_depends_on_the_generator_alone(folder, tmp_path):
    store, cached = make(folder), make(folder, tmp_path)

    def order(store, seed):
        np.random.seed(seed + 1), torch.manual_seed(seed + 2)
        generator = None if seed is None else torch.Generator().manual_seed(3)
        return [batch.tolist() for batch in store.index_batches(3, generator)]

    assert order(store, 0) == order(store, 1) == order(cached, 2)
    assert [batch.tolist() for batch in store.index_batches(3)] == [batch.tolist() for batch in store.index_batches(3)]
    other = [batch.tolist() for batch in store.index_batches(3, torch.Generator().manual_seed(4))]
    assert other != order(store, 0)
    plain = store.index_batches(3)
    assert all((np.diff(batch) > 0).all() for batch in plain)


@pytest.mark.parametrize("factor", [2, 3])
def test_reduced_images_are_averages_and_say_so_in_their_sizes(folder, tmp_path, factor):
    """48x64 by 3 is 16x22: what is left over at the border is averaged too."""
    store, full = make(folder, reduce=factor), make(folder)
    for indices, image, _ in epoch(store):
        assert tuple(image.shape[-2:]) == tuple(-(-side // factor) for side in full.sizes[indices[0]])
        original = full.fetch(indices)[0].float()
        rows, columns = (side // factor for side in original.shape[-2:])  # whole blocks
        assert (image[..., :rows, :columns] - F.avg_pool2d(original, factor)).abs().max() <= 1
    assert_same(epoch(make(folder, tmp_path, reduce=factor)), epoch(store))
    assert store.bytes < full.bytes / (factor**2 - 1)


# -------------------------------------------------------------------------------------------------------------------- cache


def folders(where: Path) -> list[str]:
    return sorted(path.name for path in where.iterdir() if path.is_dir() and path.name != ".locks")


def tree(where: Path) -> list[str]:
    return sorted(str(path.relative_to(where)) for path in where.rglob("*") if ".locks" not in path.parts)


def test_the_cache_is_written_once_and_read_afterwards(folder, tmp_path):
    images = Path(shutil.copytree(folder, tmp_path / "images"))
    steps = []
    first = make(images, tmp_path / "cache", progress=lambda *step: steps.append(step))
    assert steps[-1] == ("decode", 12, 12) and len(steps) == 12
    whole = epoch(first)
    shutil.rmtree(images)
    again = make(images, tmp_path / "cache", progress=lambda *step: steps.append(step))
    assert len(steps) == 12
    assert_same(epoch(again), whole)


@pytest.mark.parametrize("left", ["no complete.json", "partial folder", "both"])
def test_an_interrupted_cache_is_rebuilt(folder, tmp_path, left):
    whole = epoch(make(folder, tmp_path / "one"))
    (name,) = folders(tmp_path / "one")
    wanted = tree(tmp_path / "one")
    for interrupted in {"no complete.json": [name], "partial folder": [f"{name}.partial"], "both": [name, f"{name}.partial"]}[left]:
        shutil.copytree(tmp_path / "one" / name, tmp_path / "two" / interrupted)
        (tmp_path / "two" / interrupted / "complete.json").unlink()
        (tmp_path / "two" / interrupted / "views.npy").write_bytes(b"half")
    assert_same(epoch(make(folder, tmp_path / "two")), whole)
    assert tree(tmp_path / "two") == wanted


def test_a_failure_while_decoding_leaves_nothing_that_looks_finished(folder, tmp_path):
    images = Path(shutil.copytree(folder, tmp_path / "images"))
    (images / "05.jpg").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"05\.jpg: cannot be decoded"):
        make(images, tmp_path / "cache")
    assert tree(tmp_path / "cache") == []
    shutil.copy(folder / "05.jpg", images / "05.jpg")
    assert_same(epoch(make(images, tmp_path / "cache")), epoch(make(folder)))


def test_content_view_size_and_reduction_have_caches_of_their_own(folder, tmp_path):
    """Made in one folder, each still gives what it gives without a cache."""
    kinds = [{}, {"fingerprint": "two"}, {"reduce": 2}]
    for options in kinds * 2:
        assert_same(epoch(make(folder, tmp_path, **options)), epoch(make(folder, **options)))
    assert ImageStore(paths(folder), sizes(), 8, cache_dir=tmp_path, fingerprint="f").fetch(np.array([0]))[1].shape == (1, 3, 8, 8)
    assert len(folders(tmp_path)) == 4


def _build(folder, cache, start, queue):
    torch.set_num_threads(1)
    start.wait()
    try:
        decoded = []
        store = make(folder, cache, progress=lambda *step: decoded.append(step))
        queue.put((len(decoded), [(i.tolist(), image.sum().item(), view.sum().item()) for i, image, view in epoch(store)]))
    except Exception as error:  # told to the test
        queue.put((repr(error), None))


def test_processes_that_build_one_cache_at_once_do_no_harm(folder, tmp_path):
    """Each ends with the right images, one of them decodes, and only the finished folder stays."""
    context = multiprocessing.get_context("fork")
    start, queue = context.Event(), context.Queue()
    processes = [context.Process(target=_build, args=(folder, tmp_path, start, queue)) for _ in range(3)]
    for process in processes:
        process.start()
    start.set()
    found = [queue.get(timeout=600) for _ in processes]
    for process in processes:
        process.join(600)
    wanted = [(i.tolist(), image.sum().item(), view.sum().item()) for i, image, view in epoch(make(folder))]
    assert [sums for _, sums in found] == [wanted] * 3, found
    assert sorted(count for count, _ in found) == [0, 0, 12]
    assert len(folders(tmp_path)) == 1 and not folders(tmp_path)[0].endswith(".partial")


@pytest.mark.parametrize("damage", ["another type", "another shape"])
def test_a_cache_of_another_type_or_shape_is_made_again_with_a_line(folder, tmp_path, damage, capsys):
    """Such numbers were used silently."""
    whole = epoch(make(folder, tmp_path))
    (name,) = folders(tmp_path)
    views = tmp_path / name / "views.npy"
    array = np.load(views)
    np.save(views, array.view(np.int8) if damage == "another type" else array.reshape(array.shape[0], -1))
    capsys.readouterr()
    assert_same(epoch(make(folder, tmp_path)), whole)
    (line,) = capsys.readouterr().out.splitlines()
    assert name in line and "made again" in line


def test_what_does_not_fit_the_limit_is_not_cached(folder, tmp_path):
    total = sum(height * width * 3 for height, width in SIZES)
    over = make(folder, tmp_path, cache_limit=total - 1)
    assert over.images is None and tree(tmp_path) == []
    assert make(folder, tmp_path, cache_limit=total).images is not None
    (name,) = folders(tmp_path)
    content = json.loads((tmp_path / name / "complete.json").read_text())
    assert content["version"] == versions(["pictures", "views"])
    images = {name: size for name, (size, _) in content["checksums"].items() if name != "views.npy"}
    assert total < sum(images.values()) < total + 1000 * len(images), "the pixels, and a head for each file"


@pytest.mark.parametrize("change", ["version", "content", "a bit", "no checksum", "extra file"])
def test_a_cache_that_is_not_what_would_be_made_now_is_made_again_and_said(folder, tmp_path, capsys, monkeypatch, change):
    make(folder, tmp_path)
    (name,) = folders(tmp_path)
    if change == "version":
        monkeypatch.setitem(VERSIONS, "views", VERSIONS["views"] + 1)
    elif change == "content":
        (tmp_path / name / "views.npy").write_bytes((tmp_path / name / "views.npy").read_bytes()[:-1])
    elif change == "a bit":  # of the pixels: size and head stay
        flip(tmp_path / name / "48x64.npy", -1000)
    elif change == "no checksum":  # as older code left it: its pixels could be anything
        complete = tmp_path / name / "complete.json"
        content = json.loads(complete.read_text())
        content["files"] = {file: [size, "0" * 16] for file, (size, _) in content.pop("checksums").items()}  # of the first bytes alone
        complete.write_text(json.dumps(content))
    else:
        (tmp_path / name / "mine.txt").write_text("")
    assert_same(epoch(make(folder, tmp_path)), epoch(make(folder)))
    said = capsys.readouterr().out
    assert name in said and said.count("\n") == 1 and folders(tmp_path) == [name]
    make(folder, tmp_path)
    assert capsys.readouterr().out == ""


def test_how_says_what_was_chosen(folder, tmp_path):
    assert make(folder, tmp_path).how == "decoded once into 0.0 GB on disk"
    assert make(folder, None, workers=3).how.startswith("decoded each epoch by 3 processes")
    assert make(folder, tmp_path, cache_limit=10, workers=2).how.startswith("decoded each epoch by 2 processes")


def test_too_little_disk_is_said_before_anything_is_written(folder, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(10**9, 10**9 - 1000, 1000)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match=r"0\.0 GB are needed, 0\.0 GB are free; make room") as caught:
        make(folder, tmp_path)
    assert "\n" not in str(caught.value) and tree(tmp_path) == []


# ------------------------------------------------------------------------------------------------------------ broken images


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "RGBA"])
def test_every_kind_of_image_is_read_as_rgb(tmp_path, mode):
    colours = np.zeros((20, 30, 3), np.uint8)
    colours[:, :15], colours[:, 15:] = (200, 60, 60), (60, 60, 200)
    path = tmp_path / ("image.jpg" if mode in ("L", "CMYK") else "image.png")
    image = Image.fromarray(colours)
    (image.quantize(4) if mode == "P" else image.convert(mode)).save(path)
    pixels = read_rgb(path, (20, 30)).astype(int)
    assert pixels.shape == (20, 30, 3)
    wanted = np.asarray(Image.fromarray(colours).convert("L").convert("RGB") if mode == "L" else colours).astype(int)
    assert np.abs(pixels[:, [3, 26]] - wanted[:, [3, 26]]).max() <= 3  # JPEG's rounding


def damage(path: Path, how: str) -> None:
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:300])
    elif how == "no image":
        path.write_bytes(b"no image")
    else:
        Image.new("RGB", (20, 10)).save(path)


CASES = [("missing", FileNotFoundError, "the file is missing; unpack the data set again"),
         ("truncated", ValueError, r"cannot be decoded \(.*\); replace the file"),
         ("no image", ValueError, r"cannot be decoded \(.*\); replace the file"),
         ("another size", ValueError, r"is 20x10, expected \d+x\d+; unpack")]


@pytest.mark.parametrize(("workers", "reduce"), [(0, 1), (1, 1), (0, 2)])
@pytest.mark.parametrize(("how", "kind", "text"), CASES)
def test_a_wrong_file_is_one_line_that_names_it(folder, tmp_path, how, kind, text, workers, reduce):
    """Also when a worker process read it; sizes are those of the files."""
    images = Path(shutil.copytree(folder, tmp_path / "images"))
    damage(images / "07.jpg", how)
    with pytest.raises(kind, match=rf"07\.jpg: {text}") as caught:
        epoch(make(images, workers=workers, reduce=reduce))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("how", "kind", "text"), CASES)
def test_a_wrong_file_is_named_while_the_cache_is_made(folder, tmp_path, how, kind, text):
    images = Path(shutil.copytree(folder, tmp_path / "images"))
    damage(images / "07.jpg", how)
    with pytest.raises(kind, match=rf"07\.jpg: {text}"):
        make(images, tmp_path / "cache")
