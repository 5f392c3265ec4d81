"""Draw docs/heat_map.png, kind and ratio of masks, from benchmarks/results/studies.jsonl.

python benchmarks/heat_map.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import evidence
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

OUT = Path(__file__).parent.parent / "docs" / "heat_map.png"
KINDS = {
    "spatial": "whole sensors",
    "temporal_each": "tokens in time,\neach sensor's own",
    "temporal": "the same stretch\nof all sensors",
    "column": "columns of\nthe latents",
    "random": "single numbers\nof the latents",
}
SCORES = {"macro_f1": "every sensor", "one_missing": "one missing"}
SHARE = 0.01
"""Of the labels."""
FAR = 0.3
"""The difference at which colours end."""
DARK = 0.18
"""The difference from which white letters are read more easily."""


def main() -> None:
    """Read, draw, write."""
    figure = Figure(figsize=(12, 7), layout="constrained")
    axes = figure.subplots(len(SCORES), len(evidence.SETS))
    for row, (what, told) in zip(axes, SCORES.items(), strict=True):
        for one, (name, title) in zip(row, evidence.SETS.items(), strict=True):
            none = cell(name, "spatial", 0, what)
            heading = f"{title}, {told}\nnothing hidden: {short(none)}"
            one.set_title(heading, fontsize=10, loc="left")
            image = draw(one, scores(name, what), none, named=one is row[0])
    bar = figure.colorbar(image, ax=axes, shrink=0.7, label="minus nothing hidden")
    bar.outline.set_visible(False)  # type: ignore[operator]
    figure.supxlabel("share that is hidden", fontsize=10)
    figure.savefig(OUT, dpi=110, metadata={"Software": None})


def scores(name: str, what: str) -> NDArray[np.float64]:
    """Return macro-F1 of a data set: (kinds, ratios), NaN where it was not computed."""
    return np.array(
        [[cell(name, kind, ratio, what) for ratio in evidence.RATIOS] for kind in KINDS]
    )


def cell(name: str, kind: str, ratio: float, what: str) -> float:
    """Return the macro-F1 of a mask on a data set."""
    key = name, f"masks.{kind}.{ratio:g}", "aggregator"
    row: dict[str, Any] = evidence.studied(SHARE).get(key, {})
    return float(row.get(what, np.nan))


def draw(axes: Axes, values: NDArray[np.float64], none: float, *, named: bool) -> AxesImage:
    """Draw a number a cell, coloured by how far it is from that without a mask."""
    image = axes.imshow(values - none, cmap="RdBu", vmin=-FAR, vmax=FAR, aspect="auto")
    for (y, x), value in np.ndenumerate(values):
        if np.isfinite(value):
            colour = "white" if abs(value - none) > DARK else "black"
            axes.text(x, y, short(value), ha="center", va="center", color=colour, fontsize=9)
    axes.set_xticks(range(len(evidence.RATIOS)), [short(ratio, 1) for ratio in evidence.RATIOS])
    axes.set_yticks(range(len(KINDS)), list(KINDS.values()) if named else [])
    axes.tick_params(length=0, labelsize=9)
    axes.spines[:].set_visible(False)
    return image


def short(value: float, digits: int = 3) -> str:
    """Write a share without its zero."""
    return f"{value:.{digits}f}".removeprefix("0")


if __name__ == "__main__":
    main()
