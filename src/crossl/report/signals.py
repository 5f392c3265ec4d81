"""The figures of what went in: recorded signals, and the curves of pretraining."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crossl.report.figures import Draw, is_narrow
from crossl.report.load import Array, Row
from crossl.report.style import GRID, INK, MUTED, OKABE_ITO, folded, quiet, short, unit_text

MAX_POINTS = 400
MAX_CHANNELS_NAMED = 6
PART_LOOKS = {"train": ("#56B4E9", "--"), "val": ("#0072B2", "-")}


def signal_grid(
    modalities: Sequence[Mapping[str, Any]],
    columns: Sequence[tuple[str, int]],
    arrays: Mapping[str, Array],
) -> Draw:
    """One window a column, one modality a row; a row shares its y axis.

    Args:
        modalities: The summary's entries: name, channels, unit, rate_hz.
        columns: A class name and the index of its example.
        arrays: `example/{index}/{modality}` holds (time, channel).

    Returns:
        What fills a figure.
    """

    def draw(figure: Figure) -> None:
        grid = figure.subplots(len(modalities), len(columns), sharey="row", squeeze=False)
        figure.set_layout_engine("constrained", wspace=0.06, hspace=0.08)
        for row, modality in zip(grid, modalities, strict=True):
            for axes, (_, index) in zip(row, columns, strict=True):
                _signal(axes, arrays.get(f"example/{index}/{modality['name']}"), modality)
            unit = short(unit_text(modality["unit"]), 14)
            row[0].set_ylabel(f"{short(modality['name'], 14)}\n{unit}", color=INK)
            _channel_names(row[-1], modality["channels"])
        for axes, (name, _) in zip(grid[0], columns, strict=True):
            axes.set_title(folded(name, 90 // len(columns)), pad=10)
        for axes in grid[-1]:
            axes.set_xlabel("time (s)")
        for axes in grid[:-1].flat:
            axes.tick_params(labelbottom=False)
        figure.align_ylabels(grid[:, 0])

    return draw


def _signal(axes: Axes, window: Array | None, modality: Mapping[str, Any]) -> None:
    quiet(axes)
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    axes.locator_params(axis="both", nbins=3)
    axes.margins(x=0, y=0.1)
    if window is None:
        axes.text(0.5, 0.5, "not\nrecorded", transform=axes.transAxes, color=MUTED,
                  ha="center", va="center", fontsize=11)  # fmt: skip
        return
    for channel in range(window.shape[1]):
        time_s, value = _thinned(window[:, channel], float(modality["rate_hz"]))
        color = OKABE_ITO[channel % len(OKABE_ITO)]
        axes.plot(time_s, value, color=color, linewidth=1.4)


def _thinned(signal: Array, rate_hz: float) -> tuple[Array, Array]:
    """Keep the lowest and highest sample of each stretch when there are too many to see."""
    n = len(signal)
    if n <= MAX_POINTS:
        return np.arange(n) / rate_hz, signal
    keep = []
    for stretch in np.array_split(np.arange(n), MAX_POINTS // 2):
        part = np.nan_to_num(signal[stretch])
        keep += sorted({int(stretch[part.argmin()]), int(stretch[part.argmax()])})
    return np.array(keep) / rate_hz, signal[keep]


def _channel_names(axes: Axes, channels: Sequence[str]) -> None:
    named = len(channels) <= MAX_CHANNELS_NAMED
    entries = list(channels) if named else [f"{len(channels)} channels"]
    for i, name in enumerate(entries):
        axes.annotate(
            short(str(name), 12),
            (1, 1),
            (8, -14 * i),
            xycoords="axes fraction",
            textcoords="offset points",
            color=OKABE_ITO[i % len(OKABE_ITO)] if named else MUTED,
            va="top",
            fontsize=11,
        )


def terms_of(epochs: Sequence[Sequence[Row]]) -> list[str]:
    """The terms that were logged, without train/ or val/, the loss first."""
    keys = dict.fromkeys(
        key.split("/", 1)[1] for fold in epochs for row in fold for key in row if "/" in key
    )
    drawn = [term for term in keys if any(_curve(fold, p, term) for fold in epochs for p in
                                          PART_LOOKS)]  # fmt: skip
    return sorted(drawn, key=lambda term: term != "loss")


def loss_grid(epochs: Sequence[Sequence[Row]], terms: Sequence[str]) -> Draw:
    """One panel a term: every fold thin, their mean thick, training dashed."""

    def draw(figure: Figure) -> None:
        columns = 2 if is_narrow(figure) else 3
        rows = -(-len(terms) // columns)
        figure.set_layout_engine("constrained", hspace=0.12, wspace=0.05)
        panels = list(figure.subplots(rows, columns, squeeze=False).flat)
        for axes, term in zip(panels, terms, strict=False):
            _term(axes, epochs, term)
        for axes in panels[len(terms) :]:
            axes.set_axis_off()
        for axes in panels[max(0, len(terms) - columns) : len(terms)]:
            axes.set_xlabel("epoch")

    return draw


def _term(axes: Axes, epochs: Sequence[Sequence[Row]], term: str) -> None:
    for part, (color, line) in PART_LOOKS.items():
        curves = [c for c in (_curve(fold, part, term) for fold in epochs) if c]
        for curve in curves:
            axes.plot(list(curve), list(curve.values()), color=color, linewidth=0.8, alpha=0.45)
        mean = _mean(curves)
        axes.plot(list(mean), list(mean.values()), color=color, linewidth=2.4, linestyle=line)
    axes.set_title(short(term.replace("_", " "), 24), loc="left")
    axes.locator_params(axis="both", nbins=4)
    quiet(axes)


def _curve(fold: Sequence[Row], part: str, term: str) -> dict[int, float]:
    key = f"{part}/{term}"
    return {row["epoch"]: float(row[key]) for row in fold if row.get(key) is not None}


def _mean(curves: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """The mean over folds, at the epochs that every fold has."""
    if not curves:
        return {}
    shared = sorted(set.intersection(*(set(curve) for curve in curves)))
    return {epoch: float(np.mean([curve[epoch] for curve in curves])) for epoch in shared}
