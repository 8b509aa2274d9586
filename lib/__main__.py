"""The command line, `python -m lib COMMAND`. Nothing that a command does not need is imported for it."""

import argparse
import importlib
import sys
from collections.abc import Callable, Collection
from pathlib import Path

from lib import tables
from lib.files import for_folder, from_here
from lib.runs.parameters import PARAMETERS

VERIFIABLE = ("gazecapture", "inaturalist", "cub200", "salicon", "osie", "mit1003", "imagenette", "coursework")
FETCHABLE = ("osie", "cub200", "inaturalist", "imagenette", "mit1003")
FOLDERS = ("data_dir", "results_dir")
TABLE_NAMES = f"{', '.join(tables.NAMES)}; all by default"


def _parameters_of(arguments: argparse.Namespace) -> dict:
    return {name: getattr(arguments, name) for name in PARAMETERS if getattr(arguments, name, None) is not None}


def _common(parser: argparse.ArgumentParser, *, without: Collection[str] = ()) -> None:
    """The parameters of notebooks, as options; one that is not given is not passed on."""
    for one in PARAMETERS.values():
        if one.name not in without:
            usual = f" (default: {one.default})" if one.default else ""
            parser.add_argument(one.flag, dest=one.name, type=from_here if one.name in FOLDERS else str, help=one.help + usual)


def _scheduler(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask scheduler whose workers compute the rows, tcp://HOST:8786 for instance "
                        "(lib/runs/README.md); a cluster of this machine's cores by default")


# --- commands: what each takes, and what it does ------------------------------------------------------------------------


def run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("notebooks", nargs="*", metavar="NOTEBOOK", help="all of them by default")
    _common(parser)
    _scheduler(parser)


def run(arguments: argparse.Namespace) -> None:
    from lib import batch

    batch.run(arguments.notebooks, _parameters_of(arguments), scheduler=arguments.scheduler)


def table_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help=", ".join(tables.NAMES))
    _common(parser)
    _scheduler(parser)


def table(arguments: argparse.Namespace) -> None:
    from lib.runs.engine import Run, settings
    from lib.training.processes import joined

    chosen, parameters = tables.get(arguments.name), _parameters_of(arguments)
    with joined(parameters.get("device", "auto")) as processes:
        asked = settings(chosen, elsewhere=bool(arguments.scheduler), **parameters)
        found = Run(chosen, asked, processes=processes).run(scheduler=arguments.scheduler)
    if processes.main:
        paths = found.filled.write(found.settings.results_dir / "tables")
        print(f"\n{paths[0].read_text()}\n{', '.join(map(str, paths))}")


def status_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="TABLE", help=TABLE_NAMES)
    _common(parser, without=("rows",))


def status(arguments: argparse.Namespace) -> None:
    from lib.runs.status import report

    print(report(arguments.names, **_parameters_of(arguments)))


def check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="TABLE", help="all by default")
    parser.add_argument("--preset", default="demo", help=f"{PARAMETERS['preset'].help} (default: demo)")
    parser.add_argument("--results", dest="results_dir", type=from_here, default=Path("results"), help="folder of own results (default: results)")
    parser.add_argument("--reference", dest="reference_dir", type=from_here, default=Path("results/reference"),
                        help="folder of what they are compared with (default: results/reference)")


def check(arguments: argparse.Namespace) -> int:
    from lib.results.check import report
    from lib.runs.parameters import choose

    choose("preset", arguments.preset, {preset: None for name in arguments.names or tables.NAMES for preset in tables.get(name).presets})
    text, well = report(arguments.names, preset=arguments.preset, results_dir=arguments.results_dir, reference_dir=arguments.reference_dir)
    print(text)
    return 0 if well else 1


def report_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--results", dest="results_dir", type=from_here, default=Path("results"),
                        help="folder with the records and figures (default: results)")
    parser.add_argument("--out", type=Path, help="folder for report.html, report.md and tables/; the folder of results by default")


def report(arguments: argparse.Namespace) -> None:
    from lib import report as reporting
    from lib.report.files import summary

    if arguments.out:
        for_folder(arguments.out)
    found = reporting.collect(arguments.results_dir)
    paths = reporting.write_all(found, arguments.out or found.folder)
    print(f"{summary(found)}\n{paths[0]}\n{paths[1]}\n{paths[-1].parent}: {len(paths) - 2} files")


def verify_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="DATASET", help=", ".join(VERIFIABLE))
    parser.add_argument("folder", metavar="DIR", type=Path)


def verify(arguments: argparse.Namespace) -> int:
    if arguments.name not in VERIFIABLE:
        raise ValueError(f"there is no data set {arguments.name!r} to verify; there are {', '.join(VERIFIABLE)}")
    found = importlib.import_module(f"lib.data.{arguments.name}_verify").verify(arguments.folder)
    print("\n".join(found.lines))
    if not found.ok:
        count = len(found.problems)
        print(f"\n{count:,} problem{'s' * (count != 1)}; get again what is missing or damaged, data/{arguments.name}.md says where from")
    return 0 if found.ok else 1


def fetch_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="DATASET", help=", ".join(FETCHABLE))
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument("--mirror", metavar="URL", help="another server that has the published files under their names")


def fetch(arguments: argparse.Namespace) -> None:
    from lib.data import fetch as fetching
    from lib.training.progress import Progress

    for_folder(arguments.folder, named="DIR")
    folder = fetching.fetch(arguments.name, arguments.folder, base_url=arguments.mirror, progress=Progress("fetch: "), say=print)
    print(f"{arguments.name} lies in {folder}")


def _options(name: str) -> Callable[[argparse.ArgumentParser], None]:
    """Of a command that is a module of its own: its options stand in `lib.options`."""
    return lambda parser: getattr(importlib.import_module("lib.options"), f"{name}_arguments")(parser)


def _main(name: str) -> Callable[[argparse.Namespace], int | None]:
    return lambda arguments: importlib.import_module(f"lib.{name}").main(arguments)


COMMANDS: dict[str, tuple[Callable, Callable, str]] = {
    "run": (run, run_arguments, "run notebooks in order with papermill, their rows on workers"),
    "table": (table, table_arguments, "compute a table's rows without a notebook"),
    "status": (status, status_arguments, "say which rows are done, stale (and why), interrupted or missing; opens no data"),
    "check": (check, check_arguments, "set own results beside the reference; exit status 1 if they do not agree"),
    "report": (report, report_arguments, "write all finished results as one HTML file, and as Markdown, CSV and LaTeX; opens no data"),
    "compare": (_main("compare"), _options("compare"), "does the sampler help on a folder of your own pictures? a verdict, a table and figures"),
    "verify": (verify, verify_arguments, "check a data set on disk against its published layout"),
    "fetch": (fetch, fetch_arguments, "download a data set that is open to everybody"),
    "predict": (_main("predict"), _options("predict"), "saliency maps of photographs, from weights on disk"),
    "zoom": (_main("zoom"), _options("zoom"), "a photograph zoomed where people would look, at full resolution"),
    "score": (_main("score"), _options("score"), "score a folder of saliency maps against a data set"),
    "export": (_main("export"), _options("export"), "a network as a file for other runtimes: ONNX, or torch.export"),
}


def _parser(words: list[str]) -> argparse.ArgumentParser:
    """Of the command that `words` begin with, all its options; of the others, what they are for."""
    parser = argparse.ArgumentParser(prog="python -m lib", description="Reproduce the tables of the papers.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, arguments, purpose) in COMMANDS.items():
        command = commands.add_parser(name, help=purpose, description=purpose[0].upper() + purpose[1:] + ".")
        if name in words[:1]:
            arguments(command)
    return parser


def main(words: list[str] | None = None) -> int:
    """Run one command; a bad input is one line on standard error and exit status 2."""
    words = sys.argv[1:] if words is None else words
    arguments = _parser(words).parse_args(words)
    try:
        return COMMANDS[arguments.command][0](arguments) or 0
    except KeyboardInterrupt:
        _tell("interrupted; the same command goes on where it stopped")
        return 130
    except (ValueError, OSError, RuntimeError, FloatingPointError, ImportError) as error:
        _tell(f"error: {error}")
        return 2


def _tell(line: str) -> None:
    """On standard error, on a line of its own where a progress bar stands."""
    if tqdm := sys.modules.get("tqdm"):
        tqdm.tqdm.write(line, file=sys.stderr)
    else:
        print(line, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
