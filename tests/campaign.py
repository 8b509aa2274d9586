"""The campaign of damaged inputs: every format that the project reads, changed by seeded mutators, through what a user would call.

    python tests/campaign.py                    everything, 20 mutations of each file: a table by format and class, then what went wrong
    python tests/campaign.py --count 4 --only osie,records --seed 3
    python tests/campaign.py --only osie --show    every outcome, a line each

Half of the mutations change bytes (`mutate`), half what stands in the file (`mutate_values`). A case is one use of one damaged file:
    read         the numbers are those of the file that is whole: what was changed is not what is read
    other        a valid file with other content, which nothing but its checksum could tell
    refused      one line (or, of reports, a line each) that names the file and says what to do
    FAILURES     traceback, warnings, a line without name or remedy, something left over, more than 2 GiB or 20 s of a core, no answer, a dead process
Cases run in a process of their own, which is started anew after a failure that ended it. No damaged file is ever kept.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import resource
import selectors
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
SECONDS, BYTES = 20, 2 * 2**30  # of a core: what is asked of the project must not hang on what else the machine is at
PATIENCE = 300.0  # seconds without an answer
READ, OTHER, REFUSED = "read", "other", "refused"
WRONG = ("traceback", "warnings", "lines", "no name", "no remedy", "left over", "over 2 GiB", "over 20 s", "no answer", "dead process")
CLASSES = (READ, OTHER, REFUSED, *WRONG)


@dataclass
class Case:
    """One use of one damaged file, and what it came to."""

    number: int
    format: str
    use: str
    mutation: str
    outcome: str
    said: str = ""


# --- in the process that does it ----------------------------------------------------------------------------------------


def cases(folder: Path, *, only: list[str], seed: int, count: int) -> Iterator[tuple]:
    """(miniature, format, file, its use, mutation, damaged bytes) of the whole campaign, always in the same order."""
    from miniatures import miniatures
    from mutate import mutations
    from mutate_values import value_mutations

    for one in miniatures(folder, only):
        for name, path in one.files.items():
            content = path.read_bytes()
            values = list(value_mutations(path, content, seed=seed, count=count - count // 2))
            damaged = values + list(mutations(content, seed=seed, count=count - len(values)))
            for use in [use for use in one.uses if use == name or use.startswith(f"{name} | ")]:
                for mutation, changed in damaged:
                    yield one, name, path, use, mutation, changed


def perform(folder: Path, *, only: list[str], seed: int, count: int, start: int, stop: int | None = None) -> Iterator[Case]:
    """The campaign's cases from number `start` on, one after the other."""
    whole: dict[tuple[str, str], str] = {}
    for number, (one, name, path, use, mutation, changed) in enumerate(cases(folder, only=only, seed=seed, count=count)):
        if number < start or stop is not None and number >= stop:
            continue
        original, out = path.read_bytes(), folder / "out" / "put"
        key = str(path), use
        if key not in whole:
            outcome, said, whole[key] = _use(one.uses[use], out, path)
            assert outcome == READ, f"{use}: the miniature itself: {outcome}: {said}"
        kept = _kept(one.folder)
        path.write_bytes(changed)
        try:
            outcome, said, found = _use(one.uses[use], out, path)
        finally:
            _restore(one.folder, kept, path, original)
        if outcome == READ and found != whole[key]:
            outcome = OTHER
        yield Case(number, name, use, mutation, outcome, said)


def _kept(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def _restore(folder: Path, kept: set[Path], path: Path, original: bytes) -> None:
    """The miniature as it was: what a use wrote into it (a cache that it made again, for one) is taken away."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(original)
    for each in sorted(set(folder.rglob("*")) - kept, reverse=True):
        if ".locks" not in each.parts:
            each.unlink() if each.is_file() else shutil.rmtree(each)


def _use(use, out: Path, path: Path) -> tuple[str, str, str]:
    """(outcome, what was said, digest of what was read) of one use."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    printed, complained, begun = io.StringIO(), io.StringIO(), _core_seconds()
    with warnings.catch_warnings(record=True) as warned, contextlib.redirect_stdout(printed), contextlib.redirect_stderr(complained):
        warnings.simplefilter("default")
        outcome, said, found = _outcome(use, out, path, printed, complained)
    if _core_seconds() - begun > SECONDS:
        return "over 20 s", said, found
    if warned and outcome in (READ, REFUSED):
        return "warnings", str(warned[0].message)[:200], found
    if hidden := [each.name for each in out.rglob(".*") if each.name != ".locks"]:
        return "left over", ", ".join(hidden), found
    return outcome, said, found


def _core_seconds() -> float:
    """Of this process and of those that it started and that ended."""
    return sum(os.times()[:4])


def _outcome(use, out: Path, path: Path, printed: io.StringIO, complained: io.StringIO) -> tuple[str, str, str]:
    from lib.__main__ import main
    from miniature_parts import digest

    try:
        made = use(out)
        if not isinstance(made, list):
            return READ, printed.getvalue(), made
        status = main(made)
    except (ValueError, OSError, FloatingPointError) as error:
        return (*_line(str(error), path), "")
    except SystemExit as error:
        return "traceback", f"exit {error.code}: {complained.getvalue()[-200:]}", ""
    except BaseException as error:
        return "traceback", f"{type(error).__name__}: {str(error)[:300]}", ""
    errors = [line for line in complained.getvalue().replace("\r", "\n").splitlines() if line.startswith(("error: ", "left out: "))]
    problems = [line for line in printed.getvalue().splitlines() if line.startswith("PROBLEM")]
    if status == 2:
        return (*_line(errors[-1] if errors else complained.getvalue(), path), "")
    if made[0] in ("report", "status", "check"):  # a page, and a line in it for what is left out
        told = [line for line in printed.getvalue().splitlines() if path.stem in line and "run" in line.split()]
        return (*(_line(told[0], path) if told else (READ, "")), digest(printed.getvalue().replace(str(out), "")))
    if status and made[0] == "verify":  # a page: the file is named somewhere in it, and what to do
        found = _line(" ".join(printed.getvalue().splitlines()), path)[0]
        counted = any("expected" in line for line in problems)  # that something is missing, and not where
        return (REFUSED, problems[0], "") if problems and (counted or found == REFUSED) else (found, printed.getvalue()[-600:], "")
    if status:
        return (*max((_line(line, path) for line in errors), key=lambda one: CLASSES.index(one[0]), default=_line(printed.getvalue(), path)), "")
    files = [each for each in sorted(out.rglob("*")) if each.is_file() and each.suffix in (".npy", ".csv", ".tex")]
    return READ, "", digest(printed.getvalue().replace(str(out), "") if not files else "", *(each.read_bytes() for each in files))


def _line(text: str, path: Path) -> tuple[str, str]:
    """How a refusal looks."""
    from remedies import has_remedy

    text = text.strip()
    if "\n" in text or "Traceback" in text:
        return "lines", text[:300]
    named = path.name in text or path.stem.split(".")[0] in text or path.parent.name in text
    return (REFUSED if named and has_remedy(text) else "no name" if not named else "no remedy"), text


def _perform_and_tell(arguments: argparse.Namespace) -> None:
    """A line of JSON for each case, also before it; ends early when memory has grown, so that the next one starts small."""
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    folder = Path(arguments.folder)
    for case in perform(folder, only=arguments.only, seed=arguments.seed, count=arguments.count, start=arguments.start):
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 > BYTES
        if grown:
            case.outcome = "over 2 GiB"
        print(json.dumps(asdict(case)), file=channel, flush=True)
        if grown:
            os._exit(0)
    print(json.dumps({"end": True}), file=channel, flush=True)


# --- in the process that watches ----------------------------------------------------------------------------------------


def campaign(*, only: list[str] = (), seed: int = 0, count: int = 20, tell=lambda case: None) -> list[Case]:
    """All cases; each process does as many as it lives for."""
    found: list[Case] = []
    ended = False
    while not ended:
        with tempfile.TemporaryDirectory() as folder:
            words = [
                sys.executable,
                __file__,
                "--perform",
                folder,
                "--seed",
                str(seed),
                "--count",
                str(count),
                "--start",
                str(len(found)),
                "--only",
                ",".join(only),
            ]
            process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=HERE.parent, env=os.environ | {"OMP_NUM_THREADS": "1"})
            before = len(found)
            ended, why = _watch(process, found, tell)
            if not ended and len(found) == before and why != "no answer":
                raise RuntimeError("the campaign's process ended before it did anything")
            if why:
                found.append(Case(len(found), "?", "?", "?", why))
                tell(found[-1])
    return found


def _watch(process: subprocess.Popen, found: list[Case], tell) -> tuple[bool, str | None]:
    """Collect what a process tells; (whether the campaign is at its end, what ended the process otherwise)."""
    with selectors.DefaultSelector() as waiting:
        waiting.register(process.stdout, selectors.EVENT_READ)
        while waiting.select(timeout=PATIENCE):
            line = process.stdout.readline()
            if not line:
                return False, None if process.wait() == 0 else "dead process"
            told = json.loads(line)
            if "end" in told:
                return process.wait() == 0, None
            found.append(Case(**told))
            tell(found[-1])
    process.kill()
    process.wait()
    return False, "no answer"


def failures(found: list[Case]) -> list[Case]:
    return [case for case in found if case.outcome not in (READ, OTHER, REFUSED)]


def table(found: list[Case]) -> str:
    """Counts by format and class."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for case in found:
        counts[case.format][case.outcome] += 1
    shown = [name for name in CLASSES if name in (READ, OTHER, REFUSED) or any(row[name] for row in counts.values())]
    lines = [f"{'format':32}" + "".join(f"{name:>10}" for name in shown) + f"{'all':>8}"]
    for name, row in [*counts.items(), ("all", sum(counts.values(), Counter()))]:
        lines.append(f"{name:32}" + "".join(f"{row[one]:>10}" for one in shown) + f"{sum(row.values()):>8}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=20, help="mutations of each file")
    parser.add_argument("--only", type=lambda text: [word for word in text.split(",") if word], default=[], help="builders of tests/miniatures.py")
    parser.add_argument("--show", action="store_true", help="a line for every case")
    parser.add_argument("--start", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--perform", dest="folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder:
        _perform_and_tell(arguments)
        return 0
    found = campaign(
        only=arguments.only,
        seed=arguments.seed,
        count=arguments.count,
        tell=lambda case: arguments.show and print(f"{case.use} | {case.mutation} | {case.outcome} | {case.said[:300]}", flush=True),
    )
    print(table(found))
    for case in failures(found):
        print(f"{case.number} {case.use} | {case.mutation} | {case.outcome}: {case.said[:400]}")
    return int(bool(failures(found)))


if __name__ == "__main__":
    sys.exit(main())
