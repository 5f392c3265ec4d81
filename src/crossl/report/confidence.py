"""The section on confidence: how sure a classifier is, and how often it is right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import Annotated, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pydantic import Field

from crossl.errors import counted
from crossl.files import read_signed_json
from crossl.report.blocks import Cell, Picture, Section, Sizes, Table, Words, picture
from crossl.report.figures import Draw, is_narrow
from crossl.report.load import Inputs, Row
from crossl.report.style import MUTED, OKABE_ITO, dot_swatch
from crossl.stored import Count, Share, Stored, check_stored

FILE = "reliability.json"
FORMAT = "crossl-reliability"
CURE = "run `crossl probe` again"
LOOKS = (("as_it_was", "as it was", OKABE_ITO[1]), ("calibrated", "calibrated", OKABE_ITO[0]))

COLUMNS = (4, 2)
"""Small diagrams beside each other, on wide pages and on phones."""
MOST_SETS = 12

Likely = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class StoredReliability(Stored):
    """How sure a classifier was of windows, and how often it was right."""

    windows: Count
    ece: Likely
    count: list[Count]
    confidence: list[Likely | None]
    accuracy: list[Likely | None]


class StoredSet(Stored):
    """The same under one set of sensors, with and without temperatures."""

    present: list[str]
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    as_it_was: StoredReliability
    calibrated: StoredReliability


class StoredSets(Stored):
    """`reliability.json` of a run."""

    label_fraction: Share
    people: Count
    sets: Annotated[list[StoredSet], Field(min_length=1)]


def load_reliability(folder: Path) -> dict[str, Any] | None:
    """Read what `crossl probe` measured of a run's confidence; None where it did not.

    Raises:
        FormatError: the file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    values = read_signed_json(path, what="reliability", fmt=FORMAT, version=1, cure=CURE)
    return dict(check_stored(values, StoredSets, path, cure=CURE))


def confidence(inputs: Inputs) -> list[Section]:
    """Return the section; none where nothing was measured."""
    found = load_reliability(inputs.folder)
    if found is None:
        return []
    whole, sets = found["sets"][0], found["sets"]
    who = f"{counted(found['people'], 'test subject')}"
    words = Words(
        "Windows are sorted into ten bins by the probability of the label that they got. On the "
        "line a label with a probability of 0.8 is right in 8 of 10 windows; below it the "
        "classifier is too sure of itself. The size of a dot is the share of the windows.",
        f"Share of right labels by probability: expected calibration error "
        f"{whole['as_it_was']['ece']:.3f}, calibrated {whole['calibrated']['ece']:.3f}",
        title="All sensors" if len(whole["present"]) > 1 else "",
        legend=[dot_swatch(name, color) for _, name, color in LOOKS],
    )
    drawn = picture("reliability", reliability_chart(whole), Sizes((520, 480), (358, 358)), words)
    text = [
        "Probabilities are calibrated by temperatures that were fitted on validation subjects: "
        "they say how often a label is right, and change no label. Measured on "
        f"{who}, with each set of sensors present and the others missing.",
    ]
    pictures = [drawn, _by_set(sets)] if len(sets) > 1 else [drawn]
    return [Section("confidence", "Can its confidence be trusted", text=text, pictures=pictures,
                    tables=[_table(sets)])]  # fmt: skip


def _by_set(sets: Sequence[Row]) -> Picture:
    """Draw the other sets of sensors small, the worst calibrated ones if there are many."""
    others = sorted(sets[1:], key=lambda one: -one["calibrated"]["ece"])[:MOST_SETS]
    worst = others[0]
    names = {tuple(one["present"]) for one in others}
    shown = [one for one in sets[1:] if tuple(one["present"]) in names]
    left = len(sets) - 1 - len(shown)
    more = f" The {left} sets that are calibrated best are in the table only." if left else ""
    rows = {columns: -(-len(shown) // columns) for columns in COLUMNS}
    wide, narrow = COLUMNS
    words = Words(
        f"The same with some sensors missing, with the expected calibration error once it is "
        f"calibrated.{more}",
        f"Share of right labels by probability for {counted(len(shown), 'set')} of sensors; the "
        f"worst calibrated is {', '.join(worst['present'])} with an error of "
        f"{worst['calibrated']['ece']:.3f}",
        title="Sensors missing",
        legend=[dot_swatch(name, color) for _, name, color in LOOKS],
    )
    sizes = Sizes((860, 60 + 210 * rows[wide]), (358, 60 + 190 * rows[narrow]))
    return picture("reliability-sets", sets_chart(shown), sizes, words)


def sets_chart(sets: Sequence[Row]) -> Draw:
    """Small diagrams beside each other, one for each set of sensors."""

    def draw(figure: Figure) -> None:
        columns = min(COLUMNS[1] if is_narrow(figure) else COLUMNS[0], len(sets))
        rows = -(-len(sets) // columns)
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axes, one in zip(grid.ravel(), sets, strict=False):
            _curves(axes, one, dots=160)
            told = wrap(", ".join(one["present"]), 22)[:2]
            error = f"error {one['calibrated']['ece']:.3f}"
            axes.set_title("\n".join([*told, error]), loc="left", fontsize=9)
        for axes in grid.ravel()[len(sets) :]:
            axes.set_visible(False)
        for axes in grid[:, 0]:
            axes.set_ylabel("right")
        for axes in grid[-1]:
            axes.set_xlabel("probability")

    return draw


def _table(sets: Sequence[Row]) -> Table:
    header = [Cell("sensors"), *(Cell(name, kind="num") for name in
              ("windows", "right", "mean probability", "calibrated", "error", "calibrated",
               "temperature"))]  # fmt: skip
    rows = []
    for one in sets:
        plain, scaled = one["as_it_was"], one["calibrated"]
        cells = [
            f"{plain['windows']:,}", f"{_mean(plain, 'accuracy'):.2f}",
            f"{_mean(plain, 'confidence'):.2f}", f"{_mean(scaled, 'confidence'):.2f}",
            f"{plain['ece']:.3f}", f"{scaled['ece']:.3f}", f"{one['temperature']:.2f}",
        ]  # fmt: skip
        rows.append([Cell(", ".join(one["present"])), *(Cell(text, kind="num") for text in cells)])
    return Table("Expected calibration error by set of sensors, on test subjects", header, rows)


def _mean(told: Row, what: str) -> float:
    values = np.array([x or 0.0 for x in told[what]])
    return float(np.average(values, weights=told["count"]))


def reliability_chart(one: Row) -> Draw:
    """Share of right labels against probability, as it was and calibrated."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        _curves(axes, one, dots=500)
        axes.set_xlabel("probability of the label")
        axes.set_ylabel("share of right labels")

    return draw


def _curves(axes: Axes, one: Row, *, dots: float) -> None:
    """Draw one diagram; `dots` is the size of a dot that stands for all windows."""
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle="--", zorder=3)
    for key, _, color in LOOKS:
        told = one[key]
        some = np.flatnonzero(np.array(told["count"]) > 0)
        x = [told["confidence"][i] for i in some]
        y = [told["accuracy"][i] for i in some]
        size = dots / 25 + dots * np.array(told["count"])[some] / max(1, told["windows"])
        axes.plot(x, y, color=color, linewidth=1.6, zorder=4)
        axes.scatter(x, y, s=size, color=color, alpha=0.6, linewidths=0, zorder=5, clip_on=False)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
