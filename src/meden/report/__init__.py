"""Reports: one HTML file that opens offline, from plain values; what they are the page escapes."""

from meden.report.document import Chart, Code, Column, Key, Mark, Report, ReportTable, Section, TableRow, Tile, Value
from meden.report.findings import findings_section
from meden.report.page import render, write
from meden.report.runs import run_folder, run_report
from meden.report.units import units_section

__all__ = [
    "Chart",
    "Code",
    "Column",
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
