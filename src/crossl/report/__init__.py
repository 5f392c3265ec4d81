"""A finished folder as tables, figures and one self-contained page; every number is read."""

from crossl.report.load import load_results
from crossl.report.page import build_report
from crossl.report.tables import summary_notes, summary_table, summary_title

__all__ = [
    "build_report",
    "load_results",
    "summary_notes",
    "summary_table",
    "summary_title",
]
