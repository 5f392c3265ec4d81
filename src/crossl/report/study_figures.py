"""The charts of a study: ranks, curves of many methods, leads by person, cost against score."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crossl.report.figures import Draw, is_narrow
from crossl.report.load import Row
from crossl.report.style import INK, LINE, MAIN_LOOK, MUTED, Look, percent, quiet, short


def rank_diagram(ranks: Mapping[str, Any], main: str) -> Draw:
    """Mean ranks on a line, with bars over those that do not differ (Demšar 2006)."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        methods, mean = ranks["methods"], ranks["mean"]
        half = -(-len(methods) // 2)
        low, high = 1.0, float(len(methods))
        axes.set_xlim(low - 0.45 * (high - low), high + 0.45 * (high - low))
        axes.set_ylim(-half - 1.5, 2.4)
        axes.hlines(0, low, high, color=INK, linewidth=1.2)
        for tick in range(1, len(methods) + 1):
            axes.vlines(tick, 0, 0.15, color=INK, linewidth=1)
            axes.text(tick, 0.25, str(tick), ha="center", va="bottom", color=MUTED, fontsize=11)
        for i, (name, rank) in enumerate(zip(methods, mean, strict=True)):
            left = i < half
            depth = -(i + 1.4) if left else -(len(methods) - i + 0.4)
            edge = low - 0.04 * (high - low) if left else high + 0.04 * (high - low)
            color = MAIN_LOOK[0] if name == main else INK
            axes.plot([rank, rank, edge], [0, depth, depth], color=color, linewidth=1,
                      alpha=0.9 if name == main else 0.55)  # fmt: skip
            axes.text(edge, depth, f" {short(name, 30)}  {rank:.2f} ", va="center", fontsize=11,
                      ha="right" if left else "left", color=color,
                      weight="bold" if name == main else "normal")  # fmt: skip
        for number, (first, last) in enumerate(ranks["groups"]):
            depth = -0.35 - 0.28 * number
            axes.hlines(depth, mean[first] - 0.04, mean[last] + 0.04, color=MUTED, linewidth=4)
        if ranks["critical"] is not None:
            width = min(ranks["critical"], high - low)
            axes.hlines(1.5, low, low + width, color=INK, linewidth=2)
            axes.text(low, 1.65, f"critical difference {ranks['critical']:.2f}", fontsize=11,
                      color=MUTED, va="bottom")  # fmt: skip
        axes.set_axis_off()

    return draw


def many_curves(
    curves: Mapping[str, Sequence[Row]], looks: Mapping[str, Look], fractions: Sequence[float],
    score: str,
) -> Draw:  # fmt: skip
    """Score against label fraction; methods without a look of their own are thin and grey."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for name, rows in curves.items():
            look = looks.get(name)
            x, y = [r["label_fraction"] for r in rows], [r["value"] for r in rows]
            if look is None:
                axes.plot(x, y, color=LINE, linewidth=1.2, zorder=2)
                continue
            banded = [r for r in rows if r["ci_low"] is not None]
            axes.fill_between([r["label_fraction"] for r in banded],
                              [r["ci_low"] for r in banded], [r["ci_high"] for r in banded],
                              color=look.color, alpha=0.08, linewidth=0, zorder=3)  # fmt: skip
            axes.plot(x, y, color=look.color, linestyle=look.line, marker=look.marker, markersize=6,
                      markeredgecolor="white", linewidth=2.4, zorder=4)  # fmt: skip
        axes.set_xscale("log")
        axes.set_xticks(fractions, [percent(f) for f in fractions])
        axes.minorticks_off()
        axes.set_xlabel("share of the training labels that is used (log scale)")
        axes.set_ylabel(score)
        quiet(axes)
        axes.margins(x=0.05)

    return draw


def person_dots(leads: Mapping[str, Sequence[float]], rows: Mapping[str, Row], score: str) -> Draw:
    """The main method's lead over each other: a dot for each person, the mean with its interval."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for place, (name, values) in enumerate(leads.items()):
            y = -place
            spread = np.linspace(-0.26, 0.26, len(values)) if len(values) > 1 else np.zeros(1)
            axes.plot(sorted(values), y + spread, linestyle="", marker="o", markersize=4,
                      color=MUTED, alpha=0.55, zorder=2)  # fmt: skip
            _lead(axes, rows.get(name), y)
        axes.axvline(0, color=INK, linewidth=1)
        axes.set_yticks([-i for i in range(len(leads))], [short(n, 24) for n in leads])
        axes.set_xlabel(f"lead of the main method, {score}" if not is_narrow(figure) else "lead")
        quiet(axes, grid="x")
        axes.set_ylim(-len(leads) + 0.4, 0.6)

    return draw


def _lead(axes: Axes, row: Row | None, y: float) -> None:
    if row is None or row["ci_low"] is None:
        return
    clear = row["ci_low"] > 0 or row["ci_high"] < 0
    color = MAIN_LOOK[0] if clear and row["value"] > 0 else "#D55E00" if clear else INK
    axes.plot([row["ci_low"], row["ci_high"]], [y, y], color=color, linewidth=3, zorder=3)
    axes.plot([row["value"]], [y], marker="D", color=color, markersize=7, zorder=4)


def cost_chart(points: Mapping[str, tuple[float, float]], main: str, score: str) -> Draw:
    """Score against processor seconds of a fold, a dot for each method."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for name, (cost, value) in points.items():
            color = MAIN_LOOK[0] if name == main else MUTED
            axes.plot([cost], [value], marker="o", color=color, markersize=7, zorder=3)
            axes.annotate(short(name, 22), (cost, value), xytext=(5, 3), fontsize=10, color=color,
                          textcoords="offset points")  # fmt: skip
        axes.set_xscale("log")
        axes.set_xlabel("processor seconds of a fold: training, all label draws, all subsets")
        axes.set_ylabel(score)
        quiet(axes)
        axes.margins(x=0.18)

    return draw
