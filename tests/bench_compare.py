"""`compare` on pictures whose labels were dealt out anew: no network can know them, so every verdict but "undecided" is false.

    .venv/bin/python tests/bench_compare.py [--runs 20]

Each run permutes the labels of drawn birds, trains the usual rows with the small networks of `demo`, and asks for the verdict. A verdict wants
p < 0.01, so of twenty runs a fifth of one is expected to be false.
"""

import argparse
import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib import compare
from lib.data.pictures_folder import read_listing
from lib.data.synthetic import cub200 as twin

PICTURES = {"train": 200, "test": 56}  # 16 of each of sixteen species


def permuted(folder: Path, pictures: Path, seed: int) -> Path:
    """A CSV of the pictures with their own labels in another order."""
    listing = read_listing(pictures)
    labels = list(listing.classes)
    random.Random(seed).shuffle(labels)
    path = folder / f"permuted-{seed}.csv"
    path.write_text("path,label\n" + "".join(f"{listing.root / name},{label}\n" for name, label in zip(listing.names, labels, strict=True)))
    return path


def verdict(folder: Path, pictures: Path, seed: int, *, preset: str, seeds: int = 1) -> compare.Verdict:
    """Of one run."""
    run = compare.prepared(permuted(folder, pictures, seed), preset=preset, seeds=seeds, device="cpu", results_dir=folder / f"results-{seed}")
    return compare.decide(run.collect())


def main(runs: int) -> int:
    false = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures = twin.write(folder / "birds", **PICTURES) / "images"
        for seed in range(runs):
            found = verdict(folder, pictures, seed, preset="demo")
            false += found.verdict != compare.UNDECIDED
            told = [f"{one.found.interval.text(1, sign=True)}, p {one.p:.3f}" for one in found.differences]
            print(f"run {seed}: {found.verdict}; {', '.join(told)}", flush=True)
    print(f"{false} of {runs} verdicts are false")
    return int(false > 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    sys.exit(main(parser.parse_args().runs))
