"""Splits by file name: rules that depend on names alone, lists that come back as written, and lists that must not pass."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from lib.data.mit1003 import MIT1003
from lib.data.saliency import fifth_split
from lib.data.splits import SPLITS, default_split, hashed_split, read_split, write_split


class Names:
    """As much of a data set as splits need."""

    def __init__(self, files: list[str], root: str = "DATA"):
        self.files, self.root = files, Path(root)

    def __len__(self) -> int:
        return len(self.files)

    def path(self, index: int) -> Path:
        return self.root / self.files[index]

    def name(self, index: int) -> str:
        return self.files[index].removesuffix(".jpeg")


OSIE_NAMES = [f"{number}.jpg" for number in range(1001, 1701)]
TWENTY = Names([f"i{number:02}.jpeg" for number in range(20)])


def listed(data: Names, split: dict) -> dict[str, list[str]]:
    return {name: [data.files[i] for i in split[name]] for name in SPLITS}


def same(a: dict, b: dict) -> bool:
    return set(a) == set(b) and all(np.array_equal(a[name], b[name]) for name in a)


def save(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


# ---------------------------------------------------------------------------------------------------------------- the rules


def test_default_is_the_split_of_the_other_saliency_tables():
    """Else two tables on OSIE would be scored on different photographs."""
    data = Names(OSIE_NAMES)
    split = default_split(data)
    assert same(split, fifth_split(700)) and {name: len(split[name]) for name in SPLITS} == {"train": 504, "val": 56, "test": 140}
    assert listed(data, split)["test"][:2] == ["1005.jpg", "1010.jpg"]
    with pytest.raises(ValueError, match="DATA: no photograph is left for val"):
        default_split(Names(OSIE_NAMES[:11]))
    assert min(map(len, default_split(Names(OSIE_NAMES[:12])).values())) == 1


def test_hashed_split_has_the_courseworks_sizes_and_depends_on_names_alone():
    names = [f"i{number}.jpeg" for number in range(1003)]
    data = Names(names)
    split = hashed_split(data)
    assert [len(split[name]) for name in SPLITS] == [803, 100, 100]
    assert sorted(np.concatenate(list(split.values()))) == list(range(1003))
    shuffled = Names([names[i] for i in np.random.default_rng(0).permutation(1003)], root="elsewhere")
    again = hashed_split(shuffled)
    assert all(set(listed(data, split)[name]) == set(listed(shuffled, again)[name]) for name in SPLITS)
    by_hash = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())  # a formulation that a reader can follow
    assert set(listed(data, split)["test"]) == set(by_hash[:100]) and set(listed(data, split)["val"]) == set(by_hash[100:200])


def test_hashed_split_is_the_one_that_was_published():
    """Golden: whoever changes the rule changes which images every published number is about."""
    split = listed(Names(OSIE_NAMES), hashed_split(Names(OSIE_NAMES)))
    assert split["test"][:5] == ["1001.jpg", "1002.jpg", "1018.jpg", "1022.jpg", "1024.jpg"]
    assert split["val"][:5] == ["1006.jpg", "1013.jpg", "1021.jpg", "1027.jpg", "1041.jpg"]


@pytest.mark.parametrize("sizes", [dict(val=0), dict(test=0), dict(val=10, test=10), {}])
def test_hashed_split_leaves_something_for_each(sizes):
    with pytest.raises(ValueError, match="20 photographs cannot be split"):
        hashed_split(TWENTY, **sizes)


# ---------------------------------------------------------------------------------------------------------------- the lists


def test_a_list_comes_back_as_it_was_written(tmp_path):
    for split in (default_split(TWENTY), hashed_split(TWENTY, val=3, test=4)):
        path = write_split(tmp_path / "new" / "split.csv", TWENTY, split)
        assert same(read_split(path, TWENTY), split)
        first = path.read_bytes()
        assert first.startswith(b"file,split\ni00.jpeg,") and first.count(b"\n") == 21 and b"\r" not in first
        assert write_split(path, TWENTY, {name: list(split[name])[::-1] for name in SPLITS}).read_bytes() == first
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["split.csv"]  # no temporary file stays


def test_a_list_goes_by_name_not_by_place(tmp_path):
    """The order of lines, of the folder, spreadsheets' marks and suffixes do not matter."""
    split = default_split(TWENTY)
    path = write_split(tmp_path / "split.csv", TWENTY, split)
    header, *rows = path.read_text().splitlines()
    bare = [row.replace(".jpeg", "") for row in rows[::-1]]
    (tmp_path / "edited.csv").write_bytes(("\ufeff" + "\r\n".join([header, *bare]) + "\r\n").encode())
    assert same(read_split(tmp_path / "edited.csv", TWENTY), split)
    turned = Names(TWENTY.files[::-1])
    assert {k: set(v) for k, v in listed(turned, read_split(path, turned)).items()} == {k: set(v) for k, v in listed(TWENTY, split).items()}


def test_osies_names_count_without_their_suffix_too(tmp_path):
    """Its `name` is the file's, suffix and all; a list may say 1001 all the same."""
    data = Names(OSIE_NAMES[:20])
    split = default_split(data)
    path = write_split(tmp_path / "split.csv", data, split)
    path.write_text(path.read_text().replace(".jpg", ""))
    assert "1001,train" in path.read_text() and data.name(0) == "1001.jpg" and same(read_split(path, data), split)


def test_a_name_without_its_suffix_must_be_of_one_photograph(tmp_path):
    data = Names(["a.jpg", "a.png", "b.jpg", "c.jpg"])
    rows = ("file,split", "b,val", "c,test")
    for named in ("a.jpg", "a.png"):
        assert read_split(save(tmp_path / "split.csv", *rows, f"{named},train"), data, complete=False)["train"] == [data.files.index(named)]
    with pytest.raises(ValueError, match="line 4: a is the name of several photographs in DATA; write its suffix"):
        read_split(save(tmp_path / "split.csv", *rows, "a,train"), data, complete=False)


def test_folders_capitals_and_blank_lines_do_not_matter(tmp_path):
    """As file managers, cameras' names and spreadsheets leave them."""
    split = default_split(TWENTY)
    header, *rows = write_split(tmp_path / "split.csv", TWENTY, split).read_text().splitlines()
    for change in (str.upper, lambda name: f"data/stimuli/{name}", lambda name: f"C:\\data\\{name.title()}",
                   lambda name: f"./{name.removesuffix('.jpeg')}"):
        changed = [",".join([change(name), part]) for name, part in (row.split(",") for row in rows)]
        assert same(read_split(save(tmp_path / "edited.csv", "", header.title(), *changed[:9], " ", *changed[9:], ",", ""), TWENTY), split)


def test_capitals_decide_where_two_photographs_differ_in_nothing_else(tmp_path):
    data = Names(["a.jpg", "A.jpg", "b.jpg", "c.jpg"])
    rows = ("file,split", "b,val", "c,test")
    for named in ("a.jpg", "x/A.jpg"):
        found = read_split(save(tmp_path / "split.csv", *rows, f"{named},train"), data, complete=False)
        assert found["train"] == [data.files.index(named.removeprefix("x/"))]
    with pytest.raises(ValueError, match="line 4: A.JPG is the name of several photographs in DATA; write .*its capitals"):
        read_split(save(tmp_path / "split.csv", *rows, "A.JPG,train"), data, complete=False)


def test_a_list_may_leave_photographs_out_only_when_asked(tmp_path):
    path = save(tmp_path / "few.csv", "file,split", "i03.jpeg,train", "i01.jpeg,val", "i07.jpeg,test", "i02.jpeg,train")
    with pytest.raises(ValueError, match="does not list 16 of the 20 photographs in DATA, i00.jpeg is the first"):
        read_split(path, TWENTY)
    assert {name: part.tolist() for name, part in read_split(path, TWENTY, complete=False).items()} == {"train": [2, 3], "val": [1], "test": [7]}


THREE = ["file,split", "i01.jpeg,train", "i02.jpeg,val", "i03.jpeg,test"]


@pytest.mark.parametrize("rows, said", [
    ([*THREE, "i99.jpeg,train"], "line 5: i99.jpeg is not in DATA"),
    ([*THREE, "i02.jpeg,train"], "line 5: i02.jpeg is listed a second time"),
    ([*THREE, "i02,val"], "line 5: i02 is listed a second time"),
    ([*THREE, "i04.jpeg,validation"], "line 5: i04.jpeg is in 'validation'; a split is one of train, val, test"),
    ([*THREE, "i04.jpeg,train,1"], "line 5: has 3 columns"),
    ([*THREE, "", "i04.jpeg"], "line 6: has 1 columns"),
    ([*THREE, "i04.jpeg;train"], "line 5: its columns are separated by semicolons; save it with commas"),
    ([row.replace(",", ";") for row in THREE], "its columns are separated by semicolons; save it with commas"),
    ([row.replace(",", "\t") for row in THREE], "its columns are separated by tabs; save it with commas"),
    ([*THREE, "i04.png,train"], "line 5: i04.png is not in DATA, but i04.jpeg is; if that is meant, write it so"),
    ([*THREE, "elsewhere/I02.JPEG,val"], "line 5: elsewhere/I02.JPEG is listed a second time"),
    ([*THREE, "folder/,val"], "line 5: folder/ is not in DATA"),
    (THREE[:3], "no photograph is left for test"),
    (["file,split"], "no photograph is left for train"),
    (THREE[1:], "write file,split as its first line"),
    ([*THREE, '"i04.jpeg,train'], "not readable as a CSV list"),
])
def test_a_list_that_must_not_pass(tmp_path, rows, said):
    path = save(tmp_path / "split.csv", *rows)
    with pytest.raises(ValueError) as error:
        read_split(path, TWENTY, complete=False)
    assert str(error.value).startswith(f"{path}: ") and said in str(error.value) and "\n" not in str(error.value)


def test_what_is_no_list_at_all(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.csv: missing"):
        read_split(tmp_path / "nowhere.csv", TWENTY)
    (tmp_path / "empty.csv").write_bytes(b"")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xd8\xff\x00photograph")
    for path in (tmp_path / "empty.csv", tmp_path / "bytes.csv", tmp_path):
        with pytest.raises(ValueError) as error:
            read_split(path, TWENTY)
        assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("split, said", [
    ({"train": [0, 1], "val": [2], "test": [1]}, "i01.jpeg is named twice"),
    ({"train": [0, 0], "val": [2], "test": [1]}, "i00.jpeg is named twice"),
    ({"train": [0], "val": [], "test": [1]}, "no photograph is left for val"),
    ({"train": [0], "val": [20], "test": [1]}, "the data set has 0 to 19"),
    ({"train": [0], "val": [-1], "test": [1]}, "the data set has 0 to 19"),
    ({"train": [0], "val": [2]}, "must have the splits train, val, test"),
    ({"train": [0.5], "val": [2], "test": [1]}, "train is given by float64"),
    ({"train": [True], "val": [2], "test": [1]}, "train is given by bool"),
])
def test_no_bad_split_is_written(tmp_path, split, said):
    with pytest.raises(ValueError) as error:
        write_split(tmp_path / "split.csv", TWENTY, split)
    assert said in str(error.value) and not list(tmp_path.iterdir())


def test_a_list_is_a_file_and_sizes_are_whole_numbers(tmp_path):
    (tmp_path / "file").touch()
    for path, named in ((tmp_path, tmp_path), (tmp_path / "file" / "split.csv", tmp_path / "file")):
        with pytest.raises(OSError) as error:
            write_split(path, TWENTY, default_split(TWENTY))
        assert str(error.value).startswith(f"{named}: is a f") and "\n" not in str(error.value)
    for sizes in (dict(val=1.5), dict(test="3"), dict(val=True), dict(val=-1), dict(test=None)):
        with pytest.raises(ValueError, match=f"^{next(iter(sizes))} must be a whole number"):
            hashed_split(TWENTY, **{"val": 3, "test": 4} | sizes)


def test_on_the_real_photographs(real_data, tmp_path):
    data = MIT1003(real_data / "mit1003")
    for split in (default_split(data), hashed_split(data, val=10, test=10)):
        assert same(read_split(write_split(tmp_path / "split.csv", data, split), data), split)
    assert "i05june05_static_street_boston_p1010764.jpeg," in (tmp_path / "split.csv").read_text()
