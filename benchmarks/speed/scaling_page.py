"""Tables and figures of scaling.py; `python benchmarks/speed/scaling_page.py` remakes only them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

HERE = Path(__file__).resolve().parent
LOOKS = {
    "VICReg": ("#0072B2", "o", "-"),
    "Barlow Twins": ("#009E73", "s", "-"),
    "InfoNCE": ("#D55E00", "^", "--"),
    "COCOA": ("#CC79A7", "D", "--"),
    "crossl": ("#0072B2", "o", "-"),
    "paper": ("#D55E00", "s", "--"),
}
LABELS = {
    "modalities": "modalities",
    "length": "samples of a window",
    "channels": "channels of a modality",
}


def style(axes: Axes, title: str, x: str, ticks: list[int]) -> None:
    """Keep what carries information, on two logarithmic scales."""
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel(x)
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e5e5e5", linewidth=0.8)
    axes.set_axisbelow(True)


def guide(axes: Axes, x: list[int], start: float, power: int, text: str) -> None:
    """Draw what growth of a power looks like, over the upper half of the sizes."""
    ends = [x[len(x) // 2], x[-1]]
    values = [start, start * (ends[1] / ends[0]) ** power]
    axes.plot(ends, values, color="#999999", linewidth=1, zorder=1)
    axes.annotate(text, (ends[1], values[1]), fontsize=8, color="#666666",
                  xytext=(3, -3), textcoords="offset points")  # fmt: skip


def draw(found: dict[str, Any], folder: Path) -> None:
    """Draw losses and steps."""
    losses = found["losses"]
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, kind, unit, factor in zip(
        figure.subplots(1, 2), ("time", "memory"), ("ms", "MB"), (1e3, 1e-6), strict=True
    ):
        for name, one in losses["by_loss"].items():
            colour, marker, line = LOOKS[name]
            slope = one["exponents"][kind]["high"]
            shown = [max(value * factor, 1e-3) for value in one[kind]]
            axes.plot(losses["sizes"], shown, color=colour, marker=marker, ls=line,
                      label=f"{name}: N^{slope:.2f}")  # fmt: skip
        lowest = min(one[kind][len(one[kind]) // 2] for one in losses["by_loss"].values())
        guide(axes, losses["sizes"], lowest * factor * 0.5, 1, "N")
        guide(axes, losses["sizes"], lowest * factor * 0.5, 2, "N²")
        what = {"time": "Time", "memory": "Peak memory"}[kind]
        style(axes, f"{what} of forward and backward", "batch size N", losses["sizes"])
        axes.set_ylabel(unit)
        axes.legend(frameon=False, fontsize=8, title=f"slope over N {span(losses['high'])}",
                    title_fontsize=8)  # fmt: skip
    figure.savefig(folder / "scaling_losses.png", dpi=130, metadata={"Software": None})
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    for axes, (axis, one) in zip(figure.subplots(1, 3, sharey=True), found["steps"].items(),
                                 strict=True):  # fmt: skip
        for recipe in ("crossl", "paper"):
            colour, marker, line = LOOKS[recipe]
            seconds = [value * 1e3 for value in one[recipe]["seconds"]]
            axes.plot(one["values"], seconds, color=colour, marker=marker, ls=line,
                      label=f"{recipe}: slope {one[recipe]['exponent']:.2f}")  # fmt: skip
        style(axes, f"One step against {LABELS[axis]}", LABELS[axis], one["values"])
        axes.legend(frameon=False, fontsize=8)
    figure.axes[0].set_ylabel("ms")
    figure.savefig(folder / "scaling_steps.png", dpi=130, metadata={"Software": None})


def span(ends: list[int]) -> str:
    """Name a range."""
    return f"{ends[0]} to {ends[1]}"


def write_page(found: dict[str, Any], path: Path) -> None:
    """Turn results into tables."""
    losses, base = found["losses"], found["base"]
    lines = [
        "# Scaling", "", "Remade by `python benchmarks/speed/scaling.py`; one thread, processor "
        f"seconds, medians of {found['rounds']} rounds over all points. {found['machine']}, "
        "shared with other work; before and after, numpy multiplied float32 matrices of 1024 x "
        f"1024 at {found['matrix_gflops'][0]:.0f} and {found['matrix_gflops'][1]:.0f} GFLOP/s. "
        "An exponent is the slope of a straight line in log-log over the range stated.", "",
        "## Losses against the batch size N", "", "![cost of losses](scaling_losses.png)", "",
        f"Forward and backward on random embeddings of {found['dim']} dimensions, two views; COCOA "
        f"on {found['cocoa_modalities']} modalities. Memory is the peak of a process of its own "
        "above what it held before. `N^2 from` is where the quadratic part of a fitted "
        "a + bN + cN^2 (no part negative) outweighs the others.", "",
        f"| | time: exponent, N {span(losses['low'])} | N {span(losses['high'])} | N^2 from "
        f"| memory: exponent, N {span(losses['low'])} | N {span(losses['high'])} | N^2 from "
        f"| at N = {losses['sizes'][-1]} |", "|---" * 8 + "|",
    ]  # fmt: skip
    for name, one in losses["by_loss"].items():
        cells = []
        for kind in ("time", "memory"):
            turn = one["turns"][kind]
            inside = turn is not None and turn <= losses["sizes"][-1]
            cells += [f"{slope:.2f}" for slope in one["exponents"][kind].values()]
            cells.append(f"{turn:.0f}" if inside else "not in this range")
        last = f"{one['time'][-1] * 1e3:.0f} ms, {one['memory'][-1] / 1e6:.0f} MB"
        lines.append(f"| {name} | " + " | ".join([*cells, last]) + " |")
    lines += ["", "## Training steps", "", "![cost of steps](scaling_steps.png)", "",
              f"Whole steps of {found['batch']} windows (encoders, masks, aggregator, loss, "
              f"backward, optimiser) at {base['modalities']} modalities x {base['length']} samples "
              f"x {base['channels']} channels, but for the axis named.", "",
              "| axis | range | crossl, ms | exponent | upper half | paper, ms | exponent | upper "
              "half |", "|---" * 8 + "|"]  # fmt: skip
    for axis, one in found["steps"].items():
        cells = [LABELS[axis], span([one["values"][0], one["values"][-1]])]
        for recipe in ("crossl", "paper"):
            s = one[recipe]
            cells += [f"{s['seconds'][0] * 1e3:.0f} to {s['seconds'][-1] * 1e3:.0f}",
                      f"{s['exponent']:.2f}", f"{s['upper_exponent']:.2f}"]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    results = json.loads((HERE.parent / "results" / "scaling.json").read_text(encoding="utf-8"))
    draw(results, HERE)
    write_page(results, HERE / "scaling.md")
