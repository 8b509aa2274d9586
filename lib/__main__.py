"""The command line: `python -m lib run | table | status | check | report | verify | fetch | predict | score`."""

import argparse
import sys
from pathlib import Path

from lib import predict, score, tables

VERIFIABLE = ("gazecapture", "inaturalist", "cub200", "salicon", "osie", "mit1003", "imagenette", "coursework")
FETCHABLE = ("osie", "imagenette")


def _common(parser: argparse.ArgumentParser, *, rows: bool = True) -> None:
    parser.add_argument("--preset", default="demo", help="smoke, demo (default) or paper")
    parser.add_argument("--dataset", default="twin", help="twin (default), or the name of the real data set")
    parser.add_argument("--data", dest="data_dir", help="folder of the real data set")
    if rows:
        parser.add_argument("--rows", help="names of rows, separated by commas; all by default")
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds")
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda or cuda:N")
    parser.add_argument("--results", dest="results_dir", default="results", help="folder for records, tables and figures")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lib", description="Reproduce the tables of the papers.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run notebooks in order with papermill")
    run.add_argument("notebooks", nargs="*", metavar="NOTEBOOK", help="all of them by default")
    _common(run)
    table = commands.add_parser("table", help="compute a table's rows without a notebook")
    table.add_argument("name", help=", ".join(tables.NAMES))
    _common(table)
    table.add_argument("--helper", type=int, help=argparse.SUPPRESS)  # see lib/tables/helpers.py
    status = commands.add_parser("status", help="say which rows are done, stale (and why), interrupted or missing; opens no data")
    status.add_argument("names", nargs="*", metavar="TABLE", help=f"{', '.join(tables.NAMES)}; all by default")
    _common(status, rows=False)
    check = commands.add_parser("check", help="set own results beside the reference; exit status 1 if they do not agree")
    check.add_argument("names", nargs="*", metavar="TABLE", help="all by default")
    check.add_argument("--preset", default="demo", help="smoke, demo (default) or paper")
    check.add_argument("--results", dest="results_dir", default="results", help="folder of own results")
    check.add_argument("--reference", dest="reference_dir", default="results/reference", help="folder of what they are compared with")
    report = commands.add_parser("report", help="write all finished results as one HTML file, and as Markdown, CSV and LaTeX; opens no data")
    report.add_argument("--results", dest="results_dir", default="results", help="folder with the records and figures")
    report.add_argument("--out", type=Path, help="folder for report.html, report.md and tables/; the folder of results by default")
    verify = commands.add_parser("verify", help="check a data set on disk against its published layout")
    verify.add_argument("name", metavar="DATASET", help=", ".join(VERIFIABLE))
    verify.add_argument("folder", metavar="DIR", type=Path)
    fetch = commands.add_parser("fetch", help="download a data set that is open to everybody")
    fetch.add_argument("name", metavar="DATASET", help=", ".join(FETCHABLE))
    fetch.add_argument("folder", metavar="DIR", type=Path)
    predict.add_arguments(commands)
    score.add_arguments(commands)
    return parser


def _parameters(arguments: argparse.Namespace) -> dict:
    names = ("preset", "dataset", "data_dir", "rows", "seeds", "device", "results_dir")
    return {name: getattr(arguments, name) for name in names if getattr(arguments, name, None) is not None}


def _table(arguments: argparse.Namespace) -> None:
    from lib.tables import frames, helpers
    from lib.tables.engine import Run, settings
    from lib.training.processes import joined

    if arguments.helper:
        return helpers.help_with(arguments.name.split(","), arguments.helper, _parameters(arguments))
    table = tables.get(arguments.name)
    with joined(arguments.device) as processes:
        run = Run(table, settings(table, **_parameters(arguments)), processes=processes).run()
    if processes.main:
        paths = frames.write(run)
        print(f"\n{paths[0].read_text()}\n{', '.join(map(str, paths))}")


def _status(arguments: argparse.Namespace) -> None:
    from lib.tables import status

    print(status.report(arguments.names, **_parameters(arguments)))


def _check(arguments: argparse.Namespace) -> int:
    from lib.tables import check

    text, well = check.report(arguments.names, preset=arguments.preset, results_dir=arguments.results_dir, reference_dir=arguments.reference_dir)
    print(text)
    return 0 if well else 1


def _report(arguments: argparse.Namespace) -> None:
    from lib import report
    from lib.report.files import summary

    found = report.collect(arguments.results_dir)
    paths = report.write_all(found, arguments.out or found.folder)
    print(f"{summary(found)}\n{paths[0]}\n{paths[1]}\n{paths[-1].parent}: {len(paths) - 2} files")


def _verify(arguments: argparse.Namespace) -> int:
    import importlib

    if arguments.name not in VERIFIABLE:
        raise ValueError(f"there is no data set {arguments.name!r} to verify; there are {', '.join(VERIFIABLE)}")
    report = importlib.import_module(f"lib.data.{arguments.name}_verify").verify(arguments.folder)
    print("\n".join(report.lines))
    return 0 if report.ok else 1


def _run(arguments: argparse.Namespace) -> None:
    from lib import batch

    batch.run(arguments.notebooks, _parameters(arguments))


def _fetch(arguments: argparse.Namespace) -> None:
    from lib.data import fetch
    from lib.data.imagenette import fetch_imagenette

    fetchable = fetch.FETCHABLE | {"imagenette": fetch_imagenette}
    if arguments.name not in fetchable:
        raise ValueError(f"there is no data set {arguments.name!r} to fetch; there are {', '.join(fetchable)}")
    print(f"{arguments.name} lies in {fetchable[arguments.name](arguments.folder)}")


COMMANDS = {"run": _run, "table": _table, "status": _status, "check": _check, "report": _report, "verify": _verify, "fetch": _fetch,
            "predict": predict.main, "score": score.main}


def main(words: list[str] | None = None) -> int:
    """Run one command; a bad input is one line on standard error and exit status 2."""
    arguments = _parser().parse_args(words)
    try:
        return COMMANDS[arguments.command](arguments) or 0
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130
    except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
