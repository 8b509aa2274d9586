"""Names in one block behave as the list they stand for; rows of JSON are taken as they come."""

import copy
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lib.data.names import Columns, Names, Rows
from lib.files.text import read_json

LISTS = (["a"], ["train/Größe 7.jpg", "", "x" * 300, "\ud800", "日本.jpg", "train/Größe 7.jpg"], [])


@pytest.mark.parametrize("texts", LISTS)
def test_names_are_what_the_list_is(texts):
    names = Names(texts)
    assert list(names) == texts == names and len(names) == len(texts) and names == Names(texts) and names != Names([*texts, "b"])
    for index in range(-len(texts), len(texts)):
        assert names[index] == texts[index] == names[np.int64(index)]
    for part in (slice(None), slice(1, 3), slice(None, None, -2), slice(-2, None)):
        assert names[part] == texts[part]
    for outside in (len(texts), -len(texts) - 1):
        with pytest.raises(IndexError):
            names[outside]
    order = np.random.default_rng(0).permutation(len(texts))
    assert list(names.take(order)) == [texts[i] for i in order]
    for copied in (copy.deepcopy(names), pickle.loads(pickle.dumps(names))):
        assert copied == names
    assert names.twice() == next((text for i, text in enumerate(texts) if text in texts[:i]), None)


def test_hashes_tell_names_apart():
    names = Names(f"picture {i // 2}" for i in range(2000))
    hashes = names.hashes()
    assert (hashes[::2] == hashes[1::2]).all() and len(np.unique(hashes)) == 1000
    assert names.twice() == "picture 0"


def test_names_take_less_than_half_the_memory_of_a_list():
    texts = [f"train_val_images/Insecta/Genus species/{i:032x}.jpg" for i in range(3000)]
    names = Names(texts)
    assert len(pickle.dumps(names)) < 1.1 * (sum(map(len, texts)) + 8 * len(texts))
    assert not any(isinstance(value, (list, tuple, dict)) for value in vars(names).values())  # no object per name


def test_rows_take_what_fits_and_leave_the_rest(tmp_path):
    rows, path = Rows("id", "size", text="name"), tmp_path / "rows.json"
    entries = [{"id": 3, "size": 4, "name": "a", "more": None}, {"id": -1, "size": 2**62, "name": "b"}]
    odd = [{"id": 2**63, "size": 4, "name": "c"}, {"id": True, "size": 4, "name": "c"}, {"id": 1.0, "size": 4, "name": "c"},
           {"size": 4, "name": "c"}, {"id": 1, "size": 4, "name": None}, {"id": 1, "size": 4}, {"id": "1", "size": 4, "name": "c"}]
    path.write_text(json.dumps({"rows": [*entries, *odd], "others": {"id": 1}}))
    content = read_json(path, each=rows.take)
    assert content["rows"][:2] == [rows, rows] and content["rows"][2:] == odd and content["others"] == {"id": 1}
    assert rows.column("id").tolist() == [3, -1] and rows.column("size").tolist() == [4, 2**62] and rows.names == ["a", "b"]
    assert rows.unfit(content["rows"]) == odd[0] and rows.unfit(content["rows"][:2]) is None
    assert rows.unfit(content["rows"][:1]) is not None  # the other one stands elsewhere
    assert len(Rows("id").column("id")) == 0


SCRIPT = """
import sys
from lib.data.synthetic import cub200
from lib.files import locked
from pathlib import Path
print("script")
with locked(Path(sys.argv[1])):  # as a table's twin is written
    cub200.write(sys.argv[1], seed=1, train=16, test=16, side=48, workers=2)
"""


def test_a_twin_is_written_by_a_script_without_a_guard_around_its_main_part(tmp_path):
    """Spawned processes that ran the script again would wait for its lock, and it for them."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    done = subprocess.run([sys.executable, script, tmp_path / "twin"], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and (tmp_path / "twin" / "TWIN.json").exists(), done.stderr
    assert done.stdout == "script\n" and done.stderr == ""


def test_columns_are_their_parts_one_behind_the_other():
    rng, columns = np.random.default_rng(0), Columns()
    parts = [{"a": rng.random((n, 3))[:, ::2], "b": rng.integers(0, 9, n).astype(np.int16), "c": rng.random((n, 2, 2)) > 0.5} for n in (1, 4, 0, 3)]
    for part in parts:
        columns.add(part)
    for name, found in columns.whole().items():
        expected = np.concatenate([part[name] for part in parts])
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype and found.flags.writeable
