"""A finished folder as tables, figures and one self-contained page; every number is read."""

from crossl.report.compared import one_folder
from crossl.report.load import load_results
from crossl.report.page import build_report
from crossl.report.study_page import build_study, study_notes
from crossl.report.table_files import write_tables
from crossl.report.tables import summary_notes, summary_table, summary_title, whose_scores

__all__ = [
    "build_report",
    "build_study",
    "load_results",
    "one_folder",
    "study_notes",
    "summary_notes",
    "summary_table",
    "summary_title",
    "whose_scores",
    "write_tables",
]
