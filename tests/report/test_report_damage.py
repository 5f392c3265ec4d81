"""The section about damaged sensors: there where damages were scored, from their rows alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crossl.errors import FormatError
from crossl.report import build_report, summary_table

from .conftest import Recording, _row

TITLE = "When sensors are damaged"
Edit = Callable[[Callable[[list[dict]], list[dict]]], None]


def damaged_rows(recording: Recording) -> list[dict[str, Any]]:
    """A gap and a turn, for two methods; each sensor or device by itself."""
    found = []
    devices = (("phone_acc", "phone_gyro"), ("watch_acc", "watch_gyro"))
    hits = [("gap", s, (name,), 0.8 - s / 2) for s in (0.1, 0.5) for name in recording.names]
    hits += [("rotation per person, devices", 90.0, device, 0.417) for device in devices]
    for method, less in (("crossl", 0.0), ("supervised", 0.1)):
        for damage, severity, hit, score in hits:
            told = {"damage": damage, "severity": severity, "damaged": list(hit)}
            found.append(_row(recording, method, "macro_f1", score - less, **told))
            found.append(_row(recording, method, "macro_f1_with_all", 0.9 - less, **told))
            found.append(
                _row(recording, method, "macro_f1", 0.1, fold=0, seed=0, half=None, **told)
            )
    return found


@pytest.fixture
def page(folder: Path, edit_results: Edit) -> str:
    edit_results(lambda rows: rows + damaged_rows(Recording(n_windows=900)))
    return build_report(folder).read_text(encoding="utf-8")


def words_of(section: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", section).split())


def test_the_section_has_a_panel_and_a_table_for_each_damage(page: str) -> None:
    begin = page.index(TITLE + "</h2>")
    section = page[begin : page.index("What each sensor is worth</h2>")]
    for told in ("A stretch is lost, one sensor at a time",
                 "Worn another way round, one device at a time, once a person"):  # fmt: skip
        assert told in section  # of the table
        assert section.count(told.split(",")[0]) >= 3  # the wide and the narrow picture
    words = words_of(section)
    assert re.search(r"crossl 0\.900 0\.750 0\.550 0\.\d{3}", words)
    assert re.search(r"supervised twin 0\.800 0\.650 0\.450 0\.\d{3}", words)
    assert "crossl 0.900 0.417" in words
    assert "untrained network" not in words


def test_all_other_sections_are_as_without_damages(
    page: str, folder: Path, edit_results: Edit
) -> None:
    edit_results(lambda rows: [row for row in rows if "damage" not in row])
    without = build_report(folder).read_text(encoding="utf-8")
    assert TITLE not in without
    begin = page.rindex("<section", 0, page.index(TITLE + "</h2>"))
    end = page.index("</section>", begin) + len("</section>")
    rest = page[:begin] + page[end:]
    numbers = re.compile(r"\d\.\d{3}")
    assert numbers.findall(rest) == numbers.findall(without)
    assert summary_table(folder)


def test_two_rows_of_one_damage_are_refused_and_one_without_severity(
    folder: Path, edit_results: Edit
) -> None:
    rough = damaged_rows(Recording(n_windows=900))[0]
    edit_results(lambda rows: [*rows, rough, rough])
    with pytest.raises(FormatError, match="two summary rows for one number"):
        build_report(folder)
    edit_results(lambda rows: [*rows[:-2], {**rough, "severity": None}])
    with pytest.raises(FormatError, match="damage is given without severity"):
        build_report(folder)
