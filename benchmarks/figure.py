"""Draw docs/results.png, the picture on top of the README, from benchmarks/results/*.jsonl.

python benchmarks/figure.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

HERE = Path(__file__).parent
LINES = {
    "crossl": ("crossl, frozen, linear probe", "#0072B2", "o", "-"),
    "supervised": ("same network, labels only", "#D55E00", "s", "--"),
    "untrained": ("same network, random weights", "#7f7f7f", "^", ":"),
}
Row = dict[str, Any]


def main() -> None:
    """Read, draw, write."""
    rows = read("sp_sw_har")
    figure = Figure(figsize=(10.5, 4.1), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
    draw_labels(left, rows)
    draw_missing(right, rows)
    figure.savefig(HERE.parent / "docs" / "results.png", dpi=150, metadata={"Software": None})


def read(name: str) -> list[Row]:
    """Read the macro-F1 summary records of a data set."""
    lines = (HERE / "results" / f"{name}.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["metric"] == "macro_f1"]


def style(axes: Axes, title: str) -> None:
    """Keep what carries information."""
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e5e5e5", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_ylabel("macro-F1 on unseen people")


def draw_labels(axes: Axes, rows: list[Row]) -> None:
    """Draw score against label fraction."""
    full = max((row["present"] for row in rows), key=len)
    for method, (name, colour, marker, line) in LINES.items():
        found = sorted(
            (r for r in rows if r["method"] == method and r["present"] == full),
            key=lambda r: r["label_fraction"],
        )
        x = [r["label_fraction"] for r in found]
        axes.plot(x, [r["value"] for r in found], color=colour, marker=marker, ls=line, label=name)
        low, high = [r["ci_low"] for r in found], [r["ci_high"] for r in found]
        axes.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
    axes.set_xscale("log")
    axes.set_xticks([0.01, 0.05, 0.1, 1.0], ["1%", "5%", "10%", "100%"])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("share of training windows with a label")
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    style(axes, "Few labels are enough")


def draw_missing(axes: Axes, rows: list[Row]) -> None:
    """Draw the score without each device, nothing retrained."""
    full = max((row["present"] for row in rows), key=len)
    choices = {
        "phone + watch": full,
        "watch only": [n for n in full if n.startswith("watch")],
        "phone only": [n for n in full if n.startswith("phone")],
        **{f"{n.replace('_', ' ')} only": [n] for n in full},
    }
    width = 0.26
    for i, (method, (name, colour, _, _)) in enumerate(LINES.items()):
        found = [
            next(r for r in rows if r["method"] == method and r["label_fraction"] == 0.1
                 and r["present"] == present)
            for present in choices.values()
        ]  # fmt: skip
        x = [k + (i - 1) * width for k in range(len(found))]
        values = [r["value"] for r in found]
        errors = [[r["value"] - r["ci_low"] for r in found],
                  [r["ci_high"] - r["value"] for r in found]]  # fmt: skip
        axes.bar(x, values, width * 0.92, color=colour, label=name, yerr=errors,
                 error_kw={"elinewidth": 0.8, "ecolor": "#333333"})  # fmt: skip
    axes.set_xticks(range(len(choices)), [c.replace(" only", "\nonly") for c in choices])
    axes.tick_params(axis="x", labelsize=8)
    axes.set_ylim(0.3, 1.0)
    style(axes, "Sensors die, nothing is retrained (10% of the labels)")


if __name__ == "__main__":
    main()
