"""Reports from plain values: one HTML file that opens offline, or Markdown; both show every string literally."""

from meden.report.document import Chart, Code, Column, Key, Mark, Report, ReportTable, Section, TableRow, Tile, Value
from meden.report.files import FORMATS, Format, write
from meden.report.findings import findings_section
from meden.report.page import render
from meden.report.runs import run_folder, run_report
from meden.report.units import units_section

__all__ = [
    "FORMATS",
    "Chart",
    "Code",
    "Column",
    "Format",
    "Key",
    "Mark",
    "Report",
    "ReportTable",
    "Section",
    "TableRow",
    "Tile",
    "Value",
    "findings_section",
    "render",
    "run_folder",
    "run_report",
    "units_section",
    "write",
]
