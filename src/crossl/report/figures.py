"""The charts of scores. Each function fills an empty figure whose units are CSS pixels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from crossl.report.load import Array, Row
from crossl.report.rows import Missing, Subset
from crossl.report.style import (
    GRID,
    INK,
    LINE,
    MUTED,
    NARROW_PX,
    Look,
    folded,
    percent,
    pretty,
    quiet,
    short,
)

Draw = Callable[[Figure], None]
MAX_LEVEL_NAMES = 8
MANY_SUBSETS = 40
ROOMY_CLASSES = 8
SEEN = 5e-4
DARK_SHARE, TRACE_SHARE = 0.6, 0.01
BLUES = LinearSegmentedColormap.from_list("paper", ["#ffffff", "#d3e5f3", "#6aa9d6", "#0a5a94"])


@dataclass(frozen=True)
class Line:
    """One curve of the label-efficiency chart."""

    rows: Sequence[Row]
    look: Look
    strong: bool


@dataclass(frozen=True)
class Bar:
    """One sensor's worth."""

    label: str
    row: Row
    color: str


def is_narrow(figure: Figure) -> bool:
    """Whether the figure is the one that phones show."""
    return figure.get_figwidth() * 72 < NARROW_PX


def label_curves(lines: Sequence[Line], fractions: Sequence[float], score: str) -> Draw:
    """Score against label fraction with its interval, the strong line on top."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for order, line in enumerate(reversed(lines)):
            _label_curve(axes, line, 3 + 2 * order)
        axes.set_xscale("log")
        axes.set_xticks(fractions, [percent(f) for f in fractions])
        axes.minorticks_off()
        axes.set_xlabel("share of the training labels that is used (log scale)")
        axes.set_ylabel(f"{score} on test subjects")
        quiet(axes)
        axes.margins(x=0.05)

    return draw


def _label_curve(axes: Axes, line: Line, order: int) -> None:
    x = [row["label_fraction"] for row in line.rows]
    look = line.look
    banded = [row for row in line.rows if row["ci_low"] is not None and row["ci_high"] is not None]
    axes.fill_between(
        [row["label_fraction"] for row in banded],
        [row["ci_low"] for row in banded],
        [row["ci_high"] for row in banded],
        color=look.color,
        alpha=0.18 if line.strong else 0.08,
        linewidth=0,
        zorder=order,
    )
    axes.plot(
        x,
        [row["value"] for row in line.rows],
        color=look.color,
        linestyle=look.line,
        linewidth=3 if line.strong else 2,
        marker=look.marker,
        markersize=8 if line.strong else 6,
        markeredgecolor="white",
        markeredgewidth=1,
        zorder=order + 1,
    )


def missing_chart(
    subsets: Sequence[Subset], means: Sequence[tuple[Sequence[Missing], Look]], score: str
) -> Draw:
    """Every set of sensors as a dot over the number missing; the first of `means` is the main."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        main, look = means[0]
        total = max(len(subset.present) for subset in subsets)
        small = is_narrow(figure) or len(subsets) > MANY_SUBSETS
        for level in main:
            group = [s for s in subsets if total - len(s.present) == level.n_missing]
            _missing_dots(axes, level.n_missing, group, look.color, 5.5 if small else 9)
        for others, other_look in means[1:]:
            _mean_line(axes, others, other_look, 1.6)
        _mean_line(axes, main, look, 2.8)
        if has_other_people(main):
            _same_people(axes, main)
        ticks = [level.n_missing for level in main]
        axes.set_xticks(ticks, [f"{level.n_missing}\n{level.mean:.3f}" for level in main])
        axes.set_xlim(-0.5, max(ticks) + 0.5)
        axes.set_xlabel("number of sensors missing at test; below it the mean over the sets")
        if is_narrow(figure):
            axes.set_xlabel("sensors missing at test; below: mean")
        axes.set_ylabel(f"{score} on test subjects")
        axes.grid(visible=False, axis="x")

    return draw


SAME_LOOK = Look(MUTED, "_", ":")


def has_other_people(levels: Sequence[Missing]) -> bool:
    """Whether what is missing was not had by all, so that the levels are not of the same people."""
    wholes = [level.whole for level in levels if level.whole is not None]
    return bool(wholes) and max(wholes) - min(wholes) > SEEN


def _same_people(axes: Axes, levels: Sequence[Missing]) -> None:
    known = [(level.n_missing, level.whole) for level in levels if level.whole is not None]
    axes.plot(
        [n for n, _ in known],
        [whole for _, whole in known],
        color=SAME_LOOK.color,
        linestyle=SAME_LOOK.line,
        marker=SAME_LOOK.marker,
        markersize=16,
        zorder=2,
    )


def _missing_dots(
    axes: Axes, n_missing: int, group: Sequence[Subset], color: str, size: float
) -> None:
    reach = min(0.36, 0.05 * len(group))
    offsets = np.linspace(-reach, reach, len(group)) if len(group) > 1 else np.zeros(1)
    for offset, subset in zip(offsets, group, strict=True):
        x, y = n_missing + float(offset), subset.row["value"]
        if subset.reference is not None:
            other = subset.reference["value"]
            axes.plot([x, x], [y, other], color=MUTED, linewidth=1, zorder=3)
            axes.plot(x, other, "o", color="white", markeredgecolor=MUTED,
                      markersize=size * 0.85, zorder=4)  # fmt: skip
        axes.plot(x, y, "o", color=color, markersize=size, markeredgecolor="white",
                  markeredgewidth=0.8, zorder=5)  # fmt: skip


def _mean_line(axes: Axes, levels: Sequence[Missing], look: Look, width: float) -> None:
    axes.plot(
        [level.n_missing for level in levels],
        [level.mean for level in levels],
        color=look.color,
        linestyle=look.line,
        linewidth=width,
        marker=look.marker if look.marker != "o" else "",
        markersize=6,
        alpha=0.6,
        zorder=2,
    )


def bar_chart(bars: Sequence[Bar], label: str) -> Draw:
    """Horizontal bars with intervals and their numbers."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        places = np.arange(len(bars))[::-1]
        for place, bar in zip(places, bars, strict=True):
            value = bar.row["value"]
            low, high = _interval(bar.row)
            axes.barh(place, value, height=0.56, color=bar.color, alpha=0.85)
            if high > low:
                axes.plot([low, high], [place, place], color=INK, linewidth=1.6)
            axes.annotate(f"{value:.3f}", (max(high, value, 0), place), (7, 0),
                          textcoords="offset points", va="center", color=INK)  # fmt: skip
        axes.axvline(0, color=LINE, linewidth=1)
        axes.set_yticks(places, [short(bar.label, 16) for bar in bars], color=INK)
        axes.set_xlabel(label)
        quiet(axes, grid="x")
        axes.margins(x=0.14)
        axes.spines["left"].set_visible(False)

    return draw


def _interval(row: Row) -> tuple[float, float]:
    if row["ci_low"] is None or row["ci_high"] is None:
        return (row["value"], row["value"])
    return (row["ci_low"], row["ci_high"])


def embedding_map(xy: Array, groups: Array, palette: Sequence[str], absent: str) -> Draw:
    """A scatter of windows; group -1 lies below the others in the colour `absent`."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        # a fixed shuffle, so that no group hides the others by coming last
        order = np.random.default_rng(0).permutation(len(xy))
        order = order[np.argsort(groups[order] >= 0, kind="stable")]
        shown = np.array([*palette, absent])[groups[order]]
        size = float(np.clip(26000 / max(1, len(xy)), 3.0, 22.0))
        axes.scatter(
            xy[order, 0], xy[order, 1], s=size, c=shown.tolist(), alpha=0.65, linewidths=0,
            rasterized=True,
        )  # fmt: skip
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_aspect("equal", adjustable="datalim")
        for spine in axes.spines.values():
            spine.set_visible(True)
            spine.set_color(GRID)

    return draw


def confusion_chart(counts: Array, classes: Sequence[str]) -> Draw:
    """Counts in cells coloured by their share of the row."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        axes.pcolormesh(share, cmap=BLUES, vmin=0, vmax=1, edgecolors="white", linewidth=2)
        axes.invert_yaxis()
        _cell_texts(axes, counts, share, crowded=is_narrow(figure))
        middle = np.arange(len(classes)) + 0.5
        names = [folded(name, 12) for name in classes]
        turn = 90 if is_narrow(figure) or len(classes) > MAX_LEVEL_NAMES else 0
        axes.set_xticks(middle, names, rotation=turn)
        axes.set_yticks(middle, names)
        axes.tick_params(colors=INK)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        axes.grid(visible=False)
        for spine in axes.spines.values():
            spine.set_visible(False)

    return draw


def number_chart(true: Array, said: Array, shade: Sequence[str], told: str) -> Draw:
    """Predicted against true numbers, and the line where they are equal."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        both = np.concatenate([true, said])
        ends = [float(both.min()), float(both.max())]
        axes.plot(ends, ends, color=MUTED, linewidth=1, linestyle="--", zorder=3)
        order = np.random.default_rng(0).permutation(len(true))
        size = float(np.clip(12000 / max(1, len(true)), 3.0, 22.0))
        axes.scatter(true[order], said[order], s=size, c=[shade[i] for i in order], alpha=0.6,
                     linewidths=0, rasterized=True, zorder=4)  # fmt: skip
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_xlabel(f"true {told}")
        axes.set_ylabel(f"predicted {told}")

    return draw


def stretch_chart(hours: Array, true: Array, said: Array, classes: Sequence[str]) -> Draw:
    """True and predicted classes of one recording over time, one above the other."""

    def draw(figure: Figure) -> None:
        rows = figure.subplots(2, 1, sharex=True)
        places = np.arange(len(classes))
        for axes, values, title in zip(rows, (true, said), ("true", "predicted"), strict=True):
            shown = np.where(values < 0, np.nan, values)
            axes.step(hours, shown, where="post", color=BLUES(0.85), linewidth=1.2)
            axes.set_yticks(places, [short(pretty(name), 12) for name in classes])
            axes.set_ylim(len(classes) - 0.5, -0.5)
            axes.set_title(title, loc="left")
        rows[-1].set_xlabel("hours from the recording's start")

    return draw


def _cell_texts(axes: Axes, counts: Array, share: Array, *, crowded: bool) -> None:
    size = len(counts)
    room = 5 if crowded else 9
    for (row, column), count in np.ndenumerate(counts):
        part = float(share[row, column])
        text = f"{100 * part:.0f}%" if size > room else f"{100 * part:.1f}%\n{count:,}"
        axes.text(
            column + 0.5,
            row + 0.5,
            text,
            ha="center",
            va="center",
            fontsize=9.5 if crowded or size > ROOMY_CLASSES else 11.5,
            color="white" if part > DARK_SHARE else INK if part >= TRACE_SHARE else MUTED,
        )
