"""The table that the command line prints."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crossl.errors import FormatError
from crossl.report import format_table, summary_table


def test_summary_has_a_row_a_method_and_a_row_for_each_number_of_missing_sensors(
    folder: Path,
) -> None:
    table = summary_table(folder)
    assert table[0] == ["method", "1%", "5%", "10%", "100%"]
    assert [row[0] for row in table[1:]] == [
        "crossl",
        "supervised twin",
        "untrained network",
        "fine-tuned",
        "paper recipe",
        "crossl, 1 sensor missing",
        "crossl, 2 sensors missing",
        "crossl, 3 sensors missing",
    ]
    assert table[1][1] == "0.838 [0.808, 0.865]"
    assert table[6] == ["crossl, 1 sensor missing", "", "", "0.903 (worst 0.899)", ""]
    assert {len(row) for row in table} == {5}


def test_fraction_without_a_row_is_left_blank(
    folder: Path, edit_results: Callable[..., None]
) -> None:
    def drop(rows: list[dict]) -> list[dict]:
        return [r for r in rows if (r["method"], r["label_fraction"]) != ("supervised", 0.05)]

    edit_results(drop)
    assert summary_table(folder)[2][2] == "\u2013"


def test_text_is_aligned_without_trailing_blanks() -> None:
    text = format_table([["a", "bb"], ["ccc", ""], ["d", "e"]], gap=1)
    assert text.split("\n") == ["a   bb", "--- --", "ccc", "d   e"]


def test_empty_table_is_empty_text() -> None:
    assert format_table([]) == ""


def test_ragged_rows_are_refused() -> None:
    with pytest.raises(FormatError, match="row 1 is ragged, got 1 cells; 2 as in the header"):
        format_table([["a", "b"], ["c"]])
