"""Draw docs/results.png, the picture on top of the README, from benchmarks/results/study/.

python benchmarks/figure.py
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

HERE = Path(__file__).parent
LINES = {
    "crossl": ("crossl", "#0072B2", "o", "-"),
    "minirocket": ("MiniRocket with a ridge", "#009E73", "D", "-."),
    "logistic": ("statistics, logistic regression", "#D55E00", "s", "--"),
    "untrained": ("crossl's network and features, not trained", "#7f7f7f", "^", ":"),
}
SETS = {"sp_sw_har": "Phone and watch (sp-sw-har)", "uci_har": "Phone (UCI HAR)"}
FRACTIONS = (0.01, 0.05, 0.1, 1.0)
Row = dict[str, Any]


def main() -> None:
    """Read, draw, write."""
    rows = {name: read(name) for name in SETS}
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=(1, 1, 1.25))
    for one, name in zip(axes, SETS, strict=False):
        draw_labels(one, rows[name], SETS[name])
    axes[1].sharey(axes[0])
    draw_missing(axes[2], rows["sp_sw_har"])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4,
                  frameon=False, fontsize=9.5)  # fmt: skip
    figure.savefig(HERE.parent / "docs" / "results.png", dpi=150, metadata={"Software": None})


def read(name: str) -> list[Row]:
    """Read the macro-F1 summaries of a data set: no validation label used."""
    text = gzip.decompress((HERE / "results" / "study" / f"{name}.jsonl.gz").read_bytes()).decode()
    return [row for row in map(json.loads, text.splitlines())
            if row["metric"] == "macro_f1" and row["budget"] == "strict"
            and not row.keys() & {"fold", "seed", "subject"}]  # fmt: skip


def style(axes: Axes, title: str) -> None:
    """Keep what carries information."""
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e5e5e5", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_ylabel("macro-F1 on unseen people")


def draw_labels(axes: Axes, rows: list[Row], title: str) -> None:
    """Draw score against label fraction."""
    full = max((row["present"] for row in rows), key=len)
    for method, (name, colour, marker, line) in LINES.items():
        found = [one(rows, method, fraction, full) for fraction in FRACTIONS]
        axes.plot(FRACTIONS, [r["value"] for r in found], color=colour, marker=marker, ls=line,
                  label=name)  # fmt: skip
        low, high = [r["ci_low"] for r in found], [r["ci_high"] for r in found]
        axes.fill_between(FRACTIONS, low, high, color=colour, alpha=0.1, linewidth=0)
    axes.set_xscale("log")
    axes.set_xticks(FRACTIONS, [f"{f:.0%}" for f in FRACTIONS])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("share of training windows with a label")
    style(axes, title)


def one(rows: list[Row], method: str, fraction: float, present: list[str]) -> Row:
    """Return the summary of a method with some sensors."""
    return next(r for r in rows if r["method"] == method and r["label_fraction"] == fraction
                and r["present"] == present)  # fmt: skip


def draw_missing(axes: Axes, rows: list[Row]) -> None:
    """Draw the score without each device, nothing retrained."""
    full = max((row["present"] for row in rows), key=len)
    choices = {
        "all": full,
        "watch only": [n for n in full if n.startswith("watch")],
        "phone only": [n for n in full if n.startswith("phone")],
        **{n.replace("_", "\n"): [n] for n in full},
    }
    width = 0.2
    for i, (method, (name, colour, _, _)) in enumerate(LINES.items()):
        found = [one(rows, method, 0.1, present) for present in choices.values()]
        x = [k + (i - 1.5) * width for k in range(len(found))]
        values = [r["value"] for r in found]
        errors = [[r["value"] - r["ci_low"] for r in found],
                  [r["ci_high"] - r["value"] for r in found]]  # fmt: skip
        axes.bar(x, values, width * 0.92, color=colour, label=name, yerr=errors,
                 error_kw={"elinewidth": 0.8, "ecolor": "#333333"})  # fmt: skip
    axes.set_xticks(range(len(choices)), [c.replace(" only", "\nonly") for c in choices])
    axes.tick_params(axis="x", labelsize=8)
    axes.set_ylim(0.3, 1.0)
    style(axes, "Sensors that are left (sp-sw-har, 10% of labels)")


if __name__ == "__main__":
    main()
