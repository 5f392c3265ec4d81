"""A recording and what was said of it as a picture, and a page of all of them."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import matplotlib
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from crossl.report.style import ABSENT, INK, MUTED, OKABE_ITO, RC, colors, quiet, short, unit_text

MAX_CHANNELS = 8
MAX_NAMED = 16
STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200,
           86400, 172800, 604800)  # fmt: skip
MOST_TICKS = 9
WIDTH_INCHES, DPI = 12.0, 120


@dataclass(frozen=True)
class Trace:
    """What a sensor recorded, in P pieces of time.

    Attributes:
        name: of the sensor.
        unit: of its values.
        channels: their C names.
        edges_s: (P + 1,) where pieces begin and end.
        low: (P, C) lowest sample; NaN where nothing was recorded.
        high: (P, C) highest sample.
    """

    name: str
    unit: str
    channels: tuple[str, ...]
    edges_s: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True)
class Band:
    """A row of coloured stretches: name, and start, end and label of each."""

    name: str
    stretches: Sequence[tuple[float, float, str]]


@dataclass(frozen=True)
class Picture:
    """What a picture shows.

    Attributes:
        title: whose recording.
        begin_s: of the recording.
        end_s: of the recording.
        when: a time of the recording on the calendar; None where nothing tells it.
        traces: what sensors recorded.
        bands: what was said of it, and what is true.
        labels: names that have a colour, in order.
        time_s: (n,) times of the outputs.
        outputs: (n, R) probabilities of `labels`, or numbers of names; NaN where there is none.
        names: of the outputs.
        shares: outputs are shares of one, and are stacked.
    """

    title: str
    begin_s: float
    end_s: float
    when: Callable[[float], datetime | None]
    traces: Sequence[Trace]
    bands: Sequence[Band]
    labels: tuple[str, ...]
    time_s: NDArray[np.float64]
    outputs: NDArray[np.floating]
    names: tuple[str, ...]
    shares: bool


def png_of(picture: Picture) -> bytes:
    """Draw a picture: a row for each sensor, one for each band, one for the outputs.

    Returns:
        PNG, the same bytes each time.
    """
    heights = [1.3] * len(picture.traces) + [0.34] * len(picture.bands) + [1.1]
    buffer = io.BytesIO()
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        matplotlib.rcdefaults()
        white = {"figure.facecolor": "white", "axes.facecolor": "white",
                 "savefig.facecolor": "white", "font.size": 10, "axes.labelsize": 10,
                 "xtick.labelsize": 10, "ytick.labelsize": 9}  # fmt: skip
        matplotlib.rcParams.update(RC | white)
        figure = Figure(figsize=(WIDTH_INCHES, sum(heights) + 1.3), layout="constrained")
        rows = figure.subplots(len(heights), 1, sharex=True, squeeze=False,
                               height_ratios=heights)[:, 0]  # fmt: skip
        _draw(figure, list(rows), picture)
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def _draw(figure: Figure, rows: list[Axes], picture: Picture) -> None:
    color = dict(zip(picture.labels, colors(len(picture.labels)), strict=True))
    for axes, trace in zip(rows, picture.traces, strict=False):
        _trace(axes, trace)
    rest = rows[len(picture.traces) :]
    for axes, band in zip(rest, picture.bands, strict=False):
        _band(axes, band, color, picture)
    (_stacked if picture.shares else _lines)(rows[-1], picture, color)
    rows[0].set_title(picture.title, loc="left", color=INK)
    _time_axis(rows[-1], picture)
    figure.align_ylabels(rows)
    named = list(color.items())[:MAX_NAMED]
    if named:
        handles = [Patch(color=c, label=short(label, 28)) for label, c in named]
        handles.append(Patch(facecolor="white", edgecolor=ABSENT, hatch="////", label="no label"))
        figure.legend(handles=handles, loc="outside lower center", ncols=min(6, len(handles)))


def _trace(axes: Axes, trace: Trace) -> None:
    quiet(axes)
    middle = (trace.edges_s[:-1] + trace.edges_s[1:]) / 2
    for channel in range(min(len(trace.channels), MAX_CHANNELS)):
        color = OKABE_ITO[channel % len(OKABE_ITO)]
        low, high = trace.low[:, channel], trace.high[:, channel]
        axes.fill_between(middle, low, high, color=color, alpha=0.35, linewidth=0)
        axes.plot(middle, (low + high) / 2, color=color, linewidth=0.8)
    unit = f"\n{short(unit_text(trace.unit), 14)}" if trace.unit else ""
    axes.set_ylabel(f"{short(trace.name, 16)}{unit}", color=INK)
    axes.locator_params(axis="y", nbins=3)
    hidden = len(trace.channels) - MAX_CHANNELS
    names = [short(name, 10) for name in trace.channels[:MAX_CHANNELS]]
    names += [f"and {hidden} more"] if hidden > 0 else []
    for place, name in enumerate(names):
        color = OKABE_ITO[place % len(OKABE_ITO)] if place < MAX_CHANNELS else MUTED
        axes.annotate(name, (1, 1), (6, -11 * place), xycoords="axes fraction",
                      textcoords="offset points", va="top", fontsize=9, color=color)  # fmt: skip


def _band(axes: Axes, band: Band, color: dict[str, str], picture: Picture) -> None:
    axes.axvspan(picture.begin_s, picture.end_s, facecolor="white", edgecolor=ABSENT,
                 hatch="////", linewidth=0)  # fmt: skip
    for start_s, end_s, label in band.stretches:
        axes.axvspan(start_s, end_s, color=color.get(label, ABSENT), linewidth=0)
    axes.set_yticks([])
    axes.set_ylabel(band.name, rotation=0, ha="right", va="center", color=INK)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _stacked(axes: Axes, picture: Picture, color: dict[str, str]) -> None:
    """Stack probabilities; times without any stay white."""
    quiet(axes, grid="")
    time_s, outputs = _thinned(picture)
    floor = np.zeros(len(time_s))
    for place, name in enumerate(picture.names):
        top = floor + outputs[:, place]
        axes.fill_between(time_s, floor, top, color=color.get(name, MUTED), linewidth=0,
                          step="mid", alpha=0.85)  # fmt: skip
        floor = top
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1])
    axes.set_ylabel("probability", color=INK)


def _lines(axes: Axes, picture: Picture, color: dict[str, str]) -> None:
    quiet(axes)
    time_s, outputs = _thinned(picture)
    spare = colors(len(picture.names))
    for place, name in enumerate(picture.names):
        axes.plot(time_s, outputs[:, place], color=color.get(name, spare[place]), label=name)
    axes.legend(loc="upper left", fontsize=9)


def _thinned(picture: Picture) -> tuple[NDArray[np.float64], NDArray[np.floating]]:
    """Average outputs over pieces of time, where there are more than can be seen."""
    time_s, outputs = picture.time_s, picture.outputs
    if len(time_s) <= 1500:
        return time_s, outputs
    group = len(time_s) // 750
    whole = len(time_s) // group * group
    mean = outputs[:whole].reshape(-1, group, outputs.shape[1]).mean(axis=1)
    return time_s[:whole].reshape(-1, group)[:, group // 2], mean


def _time_axis(axes: Axes, picture: Picture) -> None:
    """Write times of day where they are known, else how long after the beginning."""
    length_s = max(picture.end_s - picture.begin_s, 1e-9)
    step = next((s for s in STEPS_S if length_s / s <= MOST_TICKS), STEPS_S[-1])
    began = picture.when(picture.begin_s)
    # ticks lie at whole hours, minutes, ... of the clock on the wall
    ahead = 0.0
    if began is not None:
        of_day = began.hour * 3600 + began.minute * 60 + began.second + began.microsecond / 1e6
        ahead = -of_day % step
    ticks = picture.begin_s + np.arange(ahead, length_s + 1e-9, step)
    axes.set_xticks(ticks, [_tick(picture, float(tick), step) for tick in ticks])
    axes.set_xlim(picture.begin_s, picture.begin_s + length_s)
    if began is None:
        axes.set_xlabel("time since the beginning")
    else:
        zone = getattr(began.tzinfo, "key", None) or "local time"
        axes.set_xlabel(f"{began:%Y-%m-%d}, {zone}")


def _tick(picture: Picture, time_s: float, step: float) -> str:
    date = picture.when(time_s)
    if date is not None:
        if step >= 43200:
            return f"{date:%m-%d %H:%M}"
        return f"{date:%H:%M}" if step >= 60 else f"{date:%H:%M:%S}"
    minutes, seconds = divmod(round(time_s - picture.begin_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if step < 60 else f"{hours}:{minutes:02d}"


@dataclass(frozen=True)
class Line:
    """A recording on the page.

    Attributes:
        name: of its files.
        subject: who.
        session: which recording.
        began: when, in words.
        lasts: how long, in words.
        shares: label and share of the windows, the most frequent first.
        unlabelled: share of the recording without a label.
        reasons: why.
        sensors: that were recorded.
        absent: sensors of the run that were not.
        agreement: with what the recording itself says, in words; empty where it says nothing.
        files: names of its files, the picture first where there is one.
        notes: what should be known.
    """

    name: str
    subject: str
    session: str
    began: str
    lasts: str
    shares: Sequence[tuple[str, str]]
    unlabelled: str
    reasons: Sequence[str]
    sensors: Sequence[str]
    absent: Sequence[str]
    agreement: str
    files: Sequence[str]
    notes: Sequence[str]


def page_of(lines: Sequence[Line], *, title: str, facts: Sequence[str]) -> str:
    """Return a page of all recordings; pictures and tables lie beside it.

    Args:
        lines: in order.
        title: of the page.
        facts: what holds for all, a sentence each.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("timelines.html.j2").render(
        lines=lines, title=title, facts=facts
    )
