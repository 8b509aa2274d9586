"""The report: all finished records of a results folder as one HTML file, and the same tables as Markdown, CSV and LaTeX.

`collect` reads records, figures and docstrings; `write_html` and `write_tables` write what it found. No data set is opened and
nothing is trained. Groups (table, data set, preset, kind of device, twin or real) never share a table or a column.
"""

from lib.report.contents import Report, collect
from lib.report.files import write_all, write_html, write_tables

__all__ = ["Report", "collect", "write_all", "write_html", "write_tables"]
