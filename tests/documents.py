"""Code blocks and commands of the project's Markdown pages, for the tests that run them.

A block is fenced (```language) or indented by four spaces. It holds commands if its language says so, or if it has none and a line of
it begins with one of HEADS. Commands also stand in the prose, between backticks.
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHELLS = ("sh", "bash", "shell", "console")
HEADS = ("python", "python3", "papermill", "torchrun", "accelerate", "make", "git", "cd", "pip", "conda", "source")
PLACEHOLDER = re.compile(r"(?<![A-Za-z0-9_])[A-Z][A-Z0-9_]*(?:\.[A-Za-z]+)?(?![A-Za-z0-9_])|<[^>]*>|\.\.\.")


@dataclass(frozen=True)
class Block:
    """A code block: where it begins, its language ("" if none is given) and its lines."""

    page: str
    line: int
    language: str
    lines: tuple[str, ...]

    @property
    def is_shell(self) -> bool:
        return self.language in SHELLS or (not self.language and any(head(words(line)) in HEADS for line in self.lines))


@dataclass(frozen=True)
class Command:
    """One command, its environment variables apart."""

    page: str
    line: int
    words: tuple[str, ...]
    variables: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.page}, line {self.line}: {shlex.join(self.words)}"

    @property
    def lib(self) -> list[str] | None:
        """What follows `-m lib`, or None."""
        found = [i for i in range(len(self.words) - 1) if self.words[i : i + 2] == ("-m", "lib")]
        return list(self.words[found[0] + 2 :]) if found else None


def words(line: str) -> list[str]:
    """The words of a shell line, without its prompt and comment."""
    try:
        return shlex.split(re.sub(r"^\s*[$%] ", "", line), comments=True)
    except ValueError:  # a quote that is not closed: no shell line
        return []


def head(found: list[str]) -> str:
    """The command's name: the first word that is no variable, without the folder of the virtual environment."""
    rest = [word for word in found if not re.fullmatch(r"[A-Z_]+=.*", word)]
    return rest[0].removeprefix(".venv/bin/") if rest else ""


def blocks(page: str) -> list[Block]:
    """The code blocks of ROOT/page, in order."""
    found, lines, i = [], (ROOT / page).read_text().splitlines(), 0
    while i < len(lines):
        start = i
        if fence := re.match(r"\s*```(\S*)", lines[i]):
            while not lines[i + 1].strip().startswith("```"):
                i += 1
            found.append(Block(page, start + 2, fence[1], tuple(lines[start + 1 : i + 1])))
            i += 1
        elif lines[i].startswith("    ") and lines[i].strip() and (i == 0 or not lines[i - 1].strip()):
            while i + 1 < len(lines) and (lines[i + 1].startswith("    ") or not lines[i + 1].strip()):
                i += 1
            found.append(Block(page, start + 1, "", tuple(line[4:] for line in lines[start : i + 1])))
        i += 1
    return found


def commands(page: str) -> list[Command]:
    """Every command in the shell blocks of a page: lines joined at a backslash, taken apart at && and ;."""
    return [command for block in blocks(page) if block.is_shell for command in _commands(block)]


def _commands(block: Block) -> list[Command]:
    found, waiting = [], ""
    for number, line in enumerate(block.lines, start=block.line):
        waiting += line.strip().removesuffix("\\")
        if line.rstrip().endswith("\\"):
            continue
        for part in re.split(r"&&|;(?=\s)", re.sub(r"\s#\s.*", "", waiting)):
            if split := words(part):
                variables = tuple(word for word in split if re.fullmatch(r"[A-Z_]+=.*", word)) if head(split) != "make" else ()
                found.append(Command(block.page, number, tuple(word for word in split if word not in variables), variables))
        waiting = ""
    return found


def mentioned(page: str) -> list[Command]:
    """Commands of this project in the prose of a page, between backticks; an ellipsis at their end is left out."""
    pattern = r"`((?:\.venv/bin/)?(?:python -m lib|papermill|torchrun|accelerate launch|make) [^`\n]+)`"
    text = (ROOT / page).read_text()
    return [Command(page, text.count("\n", 0, match.start()) + 1, tuple(words(match[1].removesuffix("...").rstrip())))
            for match in re.finditer(pattern, text)]


def unknown_placeholders(command: Command, known: set[str]) -> list[str]:
    """Placeholders of a command that are not in `known`: words in capitals, <words> and ellipses."""
    return [match[0] for word in command.words for match in PLACEHOLDER.finditer(word) if word not in known and match[0] not in known]


# ------------------------------------------------------------------------------------- whether a command can be what it says


def check(command: Command) -> None:
    """AssertionError, one line, for a command that names what there is not: option, table, row, preset, data set, notebook, target."""
    name, said = head(list(command.words)), str(command)
    if name == "make":
        makefile = (ROOT / "Makefile").read_text()
        targets = [word for word in command.words[1:] if "=" not in word]
        assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets), f"{said}: the Makefile has no such target"
    elif name == "papermill":
        _check_notebook(said, command.words[1], command.words[3:])
    elif command.lib is not None:
        _check_lib(said, command.lib)


def check_mentioned(command: Command) -> None:
    """`check`; prose may also name a command of `python -m lib` alone."""
    from lib import __main__ as cli

    if command.lib is None or len(command.lib) != 1 or command.lib[0] not in cli.COMMANDS:
        check(command)


def _check_notebook(said: str, notebook: str, options: tuple[str, ...]) -> None:
    from lib import batch

    assert (ROOT / notebook).is_file(), f"{said}: there is no such notebook"
    assert options[0::3] == ("-p",) * (len(options) // 3), f"{said}: expected -p NAME VALUE after the two notebooks"
    given = dict(zip(options[1::3], options[2::3], strict=True))
    assert batch.check_parameters(ROOT / notebook, given).keys() == given.keys(), f"{said}: the notebook has no such parameter"
    _check_settings(said, tables_of([ROOT / notebook]), given)


def _check_lib(said: str, given: list[str]) -> None:
    from lib import __main__ as cli

    try:
        arguments = cli._parser(given).parse_args(given)
    except SystemExit:
        raise AssertionError(f"{said}: the command line does not take it") from None
    if arguments.command in ("verify", "fetch"):
        assert arguments.name in {"verify": cli.VERIFIABLE, "fetch": cli.FETCHABLE}[arguments.command], f"{said}: no such data set"
    elif arguments.command in ("run", "table"):
        _check_settings(said, filled_by(given), cli._parameters_of(arguments))


def filled_by(given: list[str]) -> list[str]:
    """The tables that `python -m lib run` or `table` with these words fills."""
    from lib import __main__ as cli
    from lib import batch

    arguments = cli._parser(given).parse_args(given)
    return [arguments.name] if arguments.command == "table" else tables_of(batch.find(arguments.notebooks))


def tables_of(notebooks: list[Path]) -> list[str]:
    """The tables of these notebooks; some have none."""
    from lib import tables

    return [tables.NOTEBOOKS[number] for path in notebooks if (number := path.stem.split("_")[0]) in tables.NOTEBOOKS]


def _check_settings(said: str, names: list[str], given: dict) -> None:
    from lib import tables
    from lib.runs.parameters import settings

    for name in names:
        try:
            settings(tables.get(name), **given | {"device": "cpu"})
        except ValueError as error:
            raise AssertionError(f"{said}: {error}") from None
