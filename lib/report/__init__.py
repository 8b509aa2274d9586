"""The report: all finished records of a results folder as one HTML file, and the same tables as Markdown, CSV and LaTeX.

`collect` reads records, figures and docstrings; `write_all` and `write_tables` write what it found. No data set is opened and
nothing is trained; what the numbers are is decided in `lib.results` and `lib.claims`, here they are laid out.
"""

from lib.report.contents import Report, collect
from lib.report.files import write_all, write_tables

__all__ = ["Report", "collect", "write_all", "write_tables"]
