"""`make gpu`, as far as a CPU can tell: every section runs, none costs another its results, the budget holds, and nothing is on the wrong device."""

import contextlib
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import bench_sampler
import gpu
import pytest
import torch

TESTS = Path(__file__).resolve().parent


def job(tmp_path, device="cpu") -> gpu.Job:
    return gpu.Job(device, True, tmp_path, time.monotonic() + 60)


@pytest.mark.parametrize("section", ["device", "grid", "layer", "cub200"])
def test_every_section_finds_something_on_a_cpu(section, tmp_path):
    """That of Table 2 is that of Table 4 with another name; ResNets run below, where they cost nothing."""
    found = dict(gpu.SECTIONS[section][0](job(tmp_path)))
    assert found and json.loads(json.dumps(found)) == found
    if section == "cub200":
        assert {"plain", "sampler"} == set(found) and all(one["steps"] == 4 and one["images_per_second"] > 0 for one in found.values())
    if section in ("grid", "layer"):
        assert len(found) > 1 and all(one["ms"] > 0 and one["of_first"] > 0 for one in found.values())


@pytest.mark.parametrize("section", ["grid", "layer", "resnet"])
def test_every_tensor_is_on_the_device(section, tmp_path, monkeypatch):
    """On the device `meta`, which computes nothing, is no CPU, and refuses what lies on one."""
    monkeypatch.setattr(bench_sampler, "cuda_peak", lambda call, device: call() or 0.0)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())  # has no such device
    assert dict(gpu.SECTIONS[section][0](job(tmp_path, "meta")))


def test_what_needs_a_device_is_marked():
    """Or `make gpu` would not run it."""
    assert gpu.marked_files()
    for path in sorted(TESTS.glob("test_*.py")):
        lines = path.read_text(encoding="utf-8").splitlines()
        needing = [i for i, line in enumerate(lines) if re.match(r"\s*@pytest.mark.skipif\(not torch.cuda.is_available\(\)", line)]
        assert all(gpu.MARK in lines[i - 1] for i in needing), path.name


# --- processes ----------------------------------------------------------------------------------------------------------

STUBS = {
    "device": 'print(file=out); out.write(\'["provenance", {"device_name": "Some GPU"}]\\n\')',
    "tests": "out.write('[\"counts\", 3]\\n[\"cut o')",
    "grid": "out.write('[\"first\", 1]\\n'); out.flush(); raise RuntimeError('no memory')",
    "layer": "out.write('[\"first\", 2]\\n'); out.flush(); import time; time.sleep(600)",
    "twins": "import time; time.sleep(600)"}


@pytest.fixture
def stubs(monkeypatch):
    """Sections that do what sections may do; returns those that were started."""
    started = []

    def start(section, file, job, errors):
        code = f"out = open({str(file)!r}, 'a')\n{STUBS.get(section, 'pass')}"
        with open(errors, "w") as stream:
            started.append(subprocess.Popen([sys.executable, "-c", code], stderr=stream, start_new_session=True))
        return started[-1]

    monkeypatch.setattr(gpu, "start", start)
    monkeypatch.setattr(gpu, "SECTIONS", {name: (call, 2.0 if name == "layer" else 60.0) for name, (call, _) in gpu.SECTIONS.items()})
    return started


def test_a_section_that_fails_or_hangs_costs_no_other_its_results(stubs, tmp_path, capsys):
    assert gpu.main(["--device", "cpu", "--quick", "--out", str(tmp_path), "--commit", "abc"]) == 1
    (path,) = tmp_path.iterdir()
    record = json.loads(path.read_text())
    assert path.name == "Some-GPU-quick.json" and record["commit"] == "abc" and record["left_out"] == []
    assert record["tests"]["counts"] == 3 and "error" not in record["tests"]
    assert record["grid"]["first"] == 1 and "RuntimeError: no memory" in record["grid"]["error"]
    assert record["layer"]["first"] == 2 and "ended after" in record["layer"]["error"]
    assert set(gpu.SECTIONS) <= set(record) and "failed: grid, layer" in capsys.readouterr().out
    assert all(process.poll() is not None for process in stubs)


def test_what_the_budget_has_no_room_for_is_named(stubs, tmp_path, capsys):
    assert gpu.main(["--device", "cpu", "--only", "device", "resnet", "--out", str(tmp_path), "--budget", "1"]) == 0
    assert not stubs and "left out: device, resnet" in capsys.readouterr().out


def test_sections_names_are_those_of_the_page():
    named = re.findall(r"^(\w+)  +\S", gpu.__doc__, re.M)
    assert named == list(gpu.SECTIONS) and set(gpu.TABLES) <= set(gpu.SECTIONS)
    assert sum(seconds for _, seconds in gpu.SECTIONS.values()) > gpu.BUDGET >= 480 > gpu.LEAST
