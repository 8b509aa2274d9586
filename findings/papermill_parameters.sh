#!/usr/bin/env bash
# papermill: knows parameters that do not exist, and does not know some that do. Takes about a minute.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet papermill==2.7.0 ipykernel==7.4.0
cat > "$folder/case.py" <<'END'
import logging
from importlib.metadata import version

import nbformat
import papermill

CELL = '''recipe = dict(
    rate=0.1,
    steps=3,
)
device: str | None = None
epochs = 2  # 2 = quick
note = "cats # dogs"'''
heard = []


class Ear(logging.Handler):
    def emit(self, record):
        heard.append(record.getMessage())


logging.getLogger("papermill").addHandler(Ear())
v4 = nbformat.v4
cells = [v4.new_code_cell(CELL, metadata={"tags": ["parameters"]}), v4.new_code_cell("print(recipe['rate'], epochs, device)")]
kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
nbformat.write(v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), "in.ipynb")
found = {name: entry["default"] for name, entry in papermill.inspect_notebook("in.ipynb").items()}
told = list(heard)
heard.clear()
given = {"rate": 0.5, "epochs": 9, "device": "cpu"}
done = papermill.execute_notebook("in.ipynb", "out.ipynb", parameters=given, progress_bar=False)
printed = done.cells[-1].outputs[0]["text"].strip()
unknown = sorted(line.split(": ")[1] for line in heard if "unknown parameter" in line)
print("papermill", version("papermill"))
print("inspect_notebook finds:", found, "and warns:", told)
print("given", given, "it calls unknown:", unknown, "and the notebook prints rate, epochs, device:", printed)
print("""Surprise: the cell is not parsed as Python but by lines with one "=". An argument of a call over several lines counts as a parameter: rate is
accepted and changes nothing. A comment with "=" or a type "str | None" hides a real one: epochs and device are called unknown, and do arrive.
A text with "#" is cut there. Only the line with two "=" brings a warning.
Do: one plain NAME = VALUE a line in that cell (name: str = None), no "=" in comments, no calls; check given names with ast yourself.""")
holds = set(found) == {"recipe", "rate", "steps", "note"} and found["note"] == '"cats' and unknown == ["device", "epochs"]
raise SystemExit(0 if holds and printed == "0.1 9 cpu" and len(told) == 1 else 1)
END
cd "$folder"
HOME="$folder" "$folder/venv/bin/python" case.py 2> "$folder/log" || { tail -n 5 "$folder/log" >&2; exit 1; }
