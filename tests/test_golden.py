"""Protects: whoever changes what the code computes raises its version in lib/versions.py, so that old results are not taken for new ones.

For every name there, a few small numbers are computed and compared with tests/golden.json. After a change that is meant, and with the version
raised, `python tests/test_golden.py --write` keeps the new ones; it refuses to where nothing was raised. A golden's own input changed, or torch
or Pillow did: `--write --anyway`. `python tests/test_golden.py NAME ...` only looks,
at some.
"""

import json
import sys
from pathlib import Path

import pytest
import torch

from goldens import COARSE, DRAWN, FINE, ON, Numbers, all_of_them, compute

from lib.versions import VERSIONS

PATH = Path(__file__).with_name("golden.json")
REFRESH = "python tests/test_golden.py --write"


def stored() -> dict[str, dict]:
    """{name: {"version": number, "numbers": {label: [...]}}}."""
    return json.loads(PATH.read_text()) if PATH.exists() else {}


def unlike(old: Numbers, new: Numbers) -> list[str]:
    """The labels, in words, whose numbers differ by more than rounding."""
    found = [f"{label} is {'new' if label in new else 'gone'}" for label in sorted(old.keys() ^ new.keys())]
    for label in sorted(old.keys() & new.keys()):
        was, now = torch.tensor(old[label], dtype=torch.float64), torch.tensor(new[label], dtype=torch.float64)
        if was.shape != now.shape:
            found.append(f"{label}: {len(was)} numbers, now {len(now)}")
            continue
        allowed = COARSE if label.startswith(DRAWN) else FINE * float(was.abs().max() if len(was) else 0)
        if not ((was - now).abs() <= allowed + 1e-9).all():
            worst = int((was - now).abs().nan_to_num(torch.inf).argmax())
            found.append(f"{label}: {old[label][worst]} -> {new[label][worst]}")
    return found


def problem(name: str, kept: dict[str, dict], numbers: Numbers, differing: set[str]) -> str:
    """What is wrong with golden `name`, and what to do; empty if nothing. differing: names whose numbers are not the kept ones."""
    if name not in kept:
        return f"{name!r} has no golden numbers; {REFRESH}"
    all_of_them()  # fills ON
    raised = {one for one in (name, *ON[name]) if one in kept and VERSIONS[one] != kept[one]["version"]}
    if name not in differing:
        of = kept[name]["version"]
        return f"version {name!r} was raised to {VERSIONS[name]}, its golden numbers are of {of}; {REFRESH}" if name in raised else ""
    if raised:
        return f"the numbers of {name!r} are those of before {', '.join(sorted(raised))} changed; {REFRESH}"
    if beneath := [one for one in ON[name] if one in differing]:
        return f"the numbers of {name!r} changed with those of {', '.join(beneath)}, see there"
    return (f"what {name!r} computes has changed ({'; '.join(unlike(kept[name]['numbers'], numbers)[:3])}): "
            f"raise VERSIONS[{name!r}] in lib/versions.py, then {REFRESH}")


def differing(kept: dict[str, dict], found: dict[str, Numbers]) -> set[str]:
    return {name for name, numbers in found.items() if name in kept and unlike(kept[name]["numbers"], numbers)}


def test_every_version_has_golden_numbers_and_nothing_else_has():
    assert set(all_of_them()) == set(VERSIONS) == set(stored())
    assert all(set(on) < set(VERSIONS) for on in ON.values())


@pytest.mark.slow
def test_the_numbers_are_those_of_their_versions():
    kept, found = stored(), compute(list(VERSIONS))
    problems = [problem(name, kept, found[name], differing(kept, found)) for name in VERSIONS]
    assert not any(problems), "\n".join(filter(None, problems))


# --- the test of the test -----------------------------------------------------------------------------------------------


NUMBERS = {"a": [1.0, 2.0], f"{DRAWN} b": [100.0]}
KEPT = {name: {"version": VERSIONS[name], "numbers": NUMBERS} for name in VERSIONS}


def test_rounding_passes_and_a_change_names_the_version_to_raise():
    assert unlike(NUMBERS, {"a": [1.0 + 1e-4, 2.0], f"{DRAWN} b": [100.2]}) == []
    other = {"a": [1.0, 2.01], f"{DRAWN} b": [100.0]}
    text = problem("views", KEPT, other, {"views"})
    assert "VERSIONS['views']" in text and "lib/versions.py" in text and "--write" in text and "a: 2.0 -> 2.01" in text
    assert unlike(NUMBERS, NUMBERS | {f"{DRAWN} b": [101.0]}) and unlike(NUMBERS, {"a": [1.0, 2.0]}) and unlike(NUMBERS, NUMBERS | {"a": [1.0]})
    assert unlike(NUMBERS, NUMBERS | {"a": [1.0, float("nan")]})


def test_a_raised_version_asks_for_a_refresh_and_a_new_name_for_numbers(monkeypatch):
    assert "no golden" in problem("views", {}, NUMBERS, set())
    monkeypatch.setitem(VERSIONS, "views", VERSIONS["views"] + 1)
    for changed in (set(), {"views"}):
        text = problem("views", KEPT, NUMBERS, changed)
        assert "views" in text and REFRESH in text and "raise VERSIONS" not in text
    assert problem("layer", KEPT, NUMBERS, {"views"}) == ""


def test_what_changes_with_code_beneath_it_points_there(monkeypatch):
    text = problem("cam", KEPT, NUMBERS, {"cam", "layer"})
    assert "layer" in text and "raise VERSIONS" not in text
    monkeypatch.setitem(VERSIONS, "layer", VERSIONS["layer"] + 1)
    assert REFRESH in problem("cam", KEPT, NUMBERS, {"cam", "layer"})


# --- refreshing ---------------------------------------------------------------------------------------------------------


def write(names: list[str], *, anyway: bool = False) -> int:
    """Keep today's numbers; those that changed while no version was raised stay as they are, unless `anyway`. The number of these."""
    torch.set_num_threads(1)
    kept, found = stored(), compute(names)
    changed, refused = differing(kept, found), 0
    for name in names:
        text = problem(name, kept, found[name], changed)
        if text and not text.endswith(REFRESH) or ": raise " in text:
            refused += not anyway
            print(text)
        if text and (anyway or (text.endswith(REFRESH) and ": raise " not in text)):
            kept[name] = {"version": VERSIONS[name], "numbers": found[name]}
            print(f"{name}: new numbers, version {VERSIONS[name]}")
    lines = [f" {json.dumps(name)}: {{\"version\": {kept[name]['version']}, \"numbers\": {{\n" + ",\n".join(
        f"  {json.dumps(label)}: {json.dumps(values)}" for label, values in kept[name]["numbers"].items()) + "}}"
        for name in VERSIONS if name in kept]
    PATH.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    return refused


def check(names: list[str]) -> int:
    """Print what is wrong with the goldens `names`; how many that are."""
    torch.set_num_threads(1)
    kept, found = stored(), compute(names)
    problems = [problem(name, kept, found[name], differing(kept, found)) for name in names]
    print("\n".join(filter(None, problems)))
    return sum(map(bool, problems))


if __name__ == "__main__":
    options = {word for word in sys.argv[1:] if word.startswith("--")}
    chosen = [word for word in sys.argv[1:] if word not in options] or list(VERSIONS)
    sys.exit(bool(write(chosen, anyway="--anyway" in options) if "--write" in options else check(chosen)))
