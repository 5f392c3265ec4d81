"""The section about sensors that are there but wrong, where damages were scored."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crossl.report.blocks import Cell, Section, Sizes, Table, Words, picture
from crossl.report.figures import Draw, is_narrow
from crossl.report.load import Inputs, Row
from crossl.report.rows import Series, all_series, key_of, main_series, subset_rows
from crossl.report.sections import looks
from crossl.report.style import Look, line_swatch, percent, quiet

AXES = {
    "gap": ("share of the window that is lost", "A stretch is lost"),
    "noise": ("noise, standard deviations of training", "Noise comes in"),
    "rotation": ("turned by, degrees", "Worn another way round"),
}
TOGETHER = {"": "one sensor at a time", "devices": "one device at a time", "all": "all sensors"}
NOTHING = "\u2013"
PANELS_A_ROW = 3


@dataclass(frozen=True)
class Level:
    """The mean score of a method at one severity of a damage, over the sensors that are hit.

    `whole` is the mean score of the same windows undamaged.
    """

    severity: float
    mean: float
    whole: float


@dataclass(frozen=True)
class Curve:
    """A method under one damage; `absent` is its mean score with each sensor absent instead."""

    series: Series
    look: Look
    levels: Sequence[Level]
    absent: float | None
    strong: bool


def damaged(inputs: Inputs) -> list[Section]:
    """The section, when damages were scored."""
    panels = {told: found for told in _kinds(inputs) if (found := _curves(inputs, told))}
    if not panels:
        return []
    legend = [line_swatch(c.series.label, c.look) for c in max(panels.values(), key=len)]
    words = Words(
        "A line is a method's mean over the sensors that are hit; it starts at the score of the"
        " same windows undamaged. Where a stretch is lost, the last point is the score without the"
        " sensor at all.",
        f"{inputs.task.capital} against the severity of each damage, one curve a method",
        legend=legend,
    )
    rows = -(-len(panels) // PANELS_A_ROW)
    sizes = Sizes((1016, 350 * rows), (358, 290 * len(panels)))
    fraction = percent(inputs.summary["main"]["label_fraction"])
    return [Section(
        anchor="damage",
        title="When sensors are damaged",
        text=[
            "Nothing is retrained: samples of test windows are damaged, with every sensor shown"
            f" and {fraction} of labels. All methods see the same damaged samples. What is lost is"
            " filled by a line between its neighbours, as short gaps always are."
        ],
        pictures=[picture("damage", _draw(panels, inputs.task.told), sizes, words)],
        tables=[_table(inputs, told, found) for told, found in panels.items()],
    )]  # fmt: skip


def _kinds(inputs: Inputs) -> list[str]:
    """The damages in the order of the results."""
    return list(dict.fromkeys(row["damage"] for row in inputs.damaged))


def _curves(inputs: Inputs, told: str) -> list[Curve]:
    main = main_series(inputs)
    return [
        Curve(series, look, levels, _absent(inputs, series, told), strong=series == main)
        for series, look in zip(all_series(inputs), looks(inputs), strict=True)
        if (levels := _levels(inputs, series, told))
    ]


def _levels(inputs: Inputs, series: Series, told: str) -> list[Level]:
    """Average over the sensors that are hit, severity by severity."""
    fraction, metric = inputs.summary["main"]["label_fraction"], inputs.task.metric
    key = (series.method, series.recipe, series.head)
    own = [
        row
        for row in inputs.damaged
        if (row["damage"], row["label_fraction"], *key_of(row)) == (told, fraction, *key)
    ]
    out = []
    for severity in sorted({row["severity"] for row in own}):
        here = [row for row in own if row["severity"] == severity]
        scores, wholes = (_values(here, name) for name in (metric, f"{metric}_with_all"))
        if scores and len(scores) == len(wholes):
            out.append(Level(severity, sum(scores) / len(scores), sum(wholes) / len(wholes)))
    return out


def _values(rows: Sequence[Row], metric: str) -> list[float]:
    return [row["value"] for row in rows if row["metric"] == metric]


def _absent(inputs: Inputs, series: Series, told: str) -> float | None:
    """The mean score with each sensor absent, which is what becomes of a gap that is too long."""
    found = subset_rows(inputs, series)
    left = [
        row["value"] for present, row in found.items() if len(present) == len(inputs.modalities) - 1
    ]
    complete = told == "gap" and len(left) == len(inputs.modalities) > 1
    return sum(left) / len(left) if complete else None


def _draw(panels: dict[str, list[Curve]], score: str) -> Draw:
    def draw(figure: Figure) -> None:
        columns = 1 if is_narrow(figure) else min(PANELS_A_ROW, len(panels))
        rows = -(-len(panels) // columns)
        grid = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
        for axes, (told, curves) in zip(grid, panels.items(), strict=False):
            _panel(axes, told, curves)
        for axes in grid[len(panels) :]:
            axes.set_visible(False)
        for axes in grid[::columns]:
            axes.set_ylabel(f"{score} on test subjects")

    return draw


def _panel(axes: Axes, told: str, curves: Sequence[Curve]) -> None:
    label, title = AXES[_kind(told)]
    far = max(level.severity for curve in curves for level in curve.levels) * 1.25
    for curve in reversed(curves):
        x = [0.0, *(level.severity for level in curve.levels if level.severity)]
        y = [curve.levels[0].whole, *(one.mean for one in curve.levels if one.severity)]
        width, size = (2.8, 7) if curve.strong else (1.6, 5)
        axes.plot(
            x,
            y,
            color=curve.look.color,
            linestyle=curve.look.line,
            linewidth=width,
            marker=curve.look.marker,
            markersize=size,
        )
        if curve.absent is not None:
            axes.plot(
                far,
                curve.absent,
                marker=curve.look.marker,
                color="white",
                markeredgecolor=curve.look.color,
                markersize=size,
            )
    ticks = sorted({level.severity for curve in curves for level in curve.levels} | {0.0})
    names = [percent(one) if _kind(told) == "gap" else f"{one:g}" for one in ticks]
    if any(curve.absent is not None for curve in curves):
        ticks, names = [*ticks, far], [*names, "absent"]
    axes.set_xticks(ticks, names)
    axes.set_xlabel(label)
    axes.set_title(f"{title},\n{_whose(told)}", loc="left")
    quiet(axes)


def _kind(told: str) -> str:
    """`rotation per person, devices` is a rotation."""
    return told.split(",")[0].split(" ")[0]


def _whose(told: str) -> str:
    """Say what is hit."""
    first, _, together = told.partition(", ")
    person = ", once a person" if first.endswith("per person") else ""
    return TOGETHER.get(together, together) + person


def _table(inputs: Inputs, told: str, curves: Sequence[Curve]) -> Table:
    severities = sorted({level.severity for curve in curves for level in curve.levels})
    absent = any(curve.absent is not None for curve in curves)
    header = [
        Cell("method"),
        Cell("undamaged", kind="num"),
        *(Cell(f"{s:g}", kind="num") for s in severities),
    ]
    header += [Cell("absent", kind="num")] * absent
    rows = []
    for curve in curves:
        by_severity = {level.severity: level.mean for level in curve.levels}
        cells = [curve.levels[0].whole, *(by_severity.get(s) for s in severities)]
        cells += [curve.absent] * absent
        rows.append([Cell(curve.series.label), *map(_number, cells)])
    label, title = AXES[_kind(told)]
    caption = f"{title}, {_whose(told)}: {inputs.task.told} by severity ({label})"
    return Table(caption, header, rows)


def _number(value: float | None) -> Cell:
    return Cell(NOTHING if value is None else f"{value:.3f}", kind="num")
