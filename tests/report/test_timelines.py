"""Pictures of timelines, and the page that shows them."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from matplotlib.image import imread

from crossl.report.style import OKABE_ITO
from crossl.report.timelines import Band, Line, Picture, Trace, page_of, png_of


def picture(*, dated: bool, seconds: float = 60.0, shares: bool = True) -> Picture:
    edges = np.linspace(0, seconds, 31)
    low = np.full((30, 3), -1.0)
    low[10:12] = np.nan
    trace = Trace("acc", "m/s^2", ("x", "y", "z"), edges, low, -low)
    bands = [Band("predicted", [(0.0, seconds / 2, "rest")]), Band("truth", [])]
    time_s = np.arange(0.5, seconds)
    outputs = np.tile([0.25, 0.75], (len(time_s), 1))
    outputs[:3] = np.nan
    began = datetime(2024, 10, 27, 0, 30, tzinfo=UTC)

    def when(time: float) -> datetime | None:
        zone = ZoneInfo("Europe/Madrid")
        return (began + timedelta(seconds=time)).astimezone(zone) if dated else None

    return Picture("ann", 0.0, seconds, when, [trace], bands, ("rest", "run"), time_s, outputs,
                   ("rest", "run"), shares)  # fmt: skip


@pytest.mark.parametrize(("dated", "seconds"), [(True, 60.0), (False, 60.0), (True, 9000.0)])
def test_a_picture_shows_labels_in_their_colours(*, dated: bool, seconds: float) -> None:
    made = png_of(picture(dated=dated, seconds=seconds))
    pixels = (imread(io.BytesIO(made))[:, :, :3] * 255).round().astype(int)
    blue = [int(OKABE_ITO[0][i : i + 2], 16) for i in (1, 3, 5)]
    share = (np.abs(pixels - blue).max(axis=2) <= 2).mean()
    assert share > 0.02  # half of the band
    assert made == png_of(picture(dated=dated, seconds=seconds))


def test_numbers_are_drawn_as_lines() -> None:
    assert png_of(picture(dated=False, shares=False)).startswith(b"\x89PNG")


def test_the_page_names_recordings_and_shows_their_pictures_safely() -> None:
    line = Line("ann<1>", "ann<1>", "2", "2024-06-01", "1 min", [("rest", "60%")], "6 s",
                ["a gap"], ["acc"], ["ecg"], "All agree.", ["ann.png", "ann 1.csv"],
                ["note"])  # fmt: skip
    page = page_of([line], title="Timelines", facts=["1 recording."])
    assert "ann&lt;1&gt;" in page
    assert "<1>" not in page
    assert 'src="ann.png"' in page
    assert 'href="ann%201.csv"' in page
    assert "No label: a gap." in page
    assert "absent: ecg" in page
    assert "http" not in page
