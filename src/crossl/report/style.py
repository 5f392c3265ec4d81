"""The look of every figure, and how one becomes inline SVG that is the same byte for byte."""

import io
import re
import textwrap
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe & Ito, https://jfly.uni-koeln.de/color/ : told apart by colour-blind readers. Black and
# yellow come last: black reads as text, yellow is faint on white.
OKABE_ITO = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442",
)  # fmt: skip
INK, MUTED, LINE, GRID = "#1b2430", "#5a6675", "#c9d1da", "#e9edf1"
ABSENT = "#c3cad2"
METHOD_LOOKS = {
    "supervised": ("#D55E00", "s", "--"),
    "untrained": ("#7b8794", "v", ":"),
    "finetuned": ("#009E73", "D", "-."),
    "paper": ("#CC79A7", "^", "--"),
}
SPARE_LOOKS = (
    ("#E69F00", "P", "-."),
    ("#56B4E9", "X", "--"),
    ("#000000", "d", ":"),
    ("#8c6d1f", "h", "-."),
    ("#4b3b8f", "p", "--"),
)
SPARE_COLORS = tuple(look[0] for look in SPARE_LOOKS)
MAIN_LOOK = ("#0072B2", "o", "-")
RC: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": LINE,
    "axes.grid": True,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 12,
    "axes.linewidth": 1.0,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlesize": 12,
    "axes.unicode_minus": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 12,
    "grid.color": GRID,
    "grid.linewidth": 1.0,
    "legend.frameon": False,
    "lines.solid_capstyle": "round",
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "svg.image_inline": True,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": MUTED,
    "xtick.labelsize": 11.5,
    "xtick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.color": MUTED,
    "ytick.labelsize": 11.5,
    "ytick.major.size": 0,
}
NARROW_PX = 480.0
WIDE_FONTS: dict[Any, Any] = {
    "font.size": 13,
    "axes.labelsize": 13,
    "axes.titlesize": 13,
    "xtick.labelsize": 12.5,
    "ytick.labelsize": 12.5,
}
_LONG_DECIMAL = re.compile(r"(\.\d\d)\d+")


@dataclass(frozen=True)
class Look:
    """How one curve is drawn, in the figure and in the legend beside it."""

    color: str
    marker: str
    line: str


@dataclass(frozen=True)
class Swatch:
    """One entry of a legend, which the page draws as text that wraps."""

    label: str
    image: Markup


def look_of(method: str, main: str, place: int) -> Look:
    """The fixed look of a known method, or the next spare one."""
    if method == main:
        return Look(*MAIN_LOOK)
    return Look(*METHOD_LOOKS.get(method, SPARE_LOOKS[place % len(SPARE_LOOKS)]))


def colors(n: int) -> list[str]:
    """Colours for n unordered things: Okabe and Ito's, then shades when they run out."""
    if n <= len(OKABE_ITO):
        return list(OKABE_ITO[:n])
    shades = matplotlib.colormaps["viridis"]
    # a stride prime to most n keeps neighbours in the list apart in colour
    return [matplotlib.colors.to_hex(shades((i * 7 % n) / n)) for i in range(n)]


def svg_of(draw: Callable[[Figure], None], size: tuple[float, float], name: str) -> Markup:
    """Draw a figure and return it as an inline SVG element.

    Args:
        draw: Fills an empty figure.
        size: Width and height in CSS pixels at full size.
        name: Unique within the page; keeps the figure's ids apart from other figures' ids.

    Returns:
        The element, without ids that could clash, fonts, dates or addresses.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context(), warnings.catch_warnings():
        # text stays text in the SVG, so the reader's fonts draw what the measuring font lacks
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        matplotlib.rcdefaults()
        wide = size[0] >= NARROW_PX
        matplotlib.rcParams.update(RC | (WIDE_FONTS if wide else {}) | {"svg.hashsalt": name})
        figure = Figure(figsize=(size[0] / 72, size[1] / 72), dpi=72, layout="constrained")
        draw(figure)
        figure.savefig(buffer, format="svg", dpi=150, metadata={"Date": None, "Creator": None})
    return Markup(_inline(buffer.getvalue()))  # noqa: S704 - matplotlib escapes what it draws


def _inline(text: str) -> str:
    view = re.search(r'viewBox="[-\d. ]+"', text)
    body = text[text.index(">", text.index("<svg")) + 1 : text.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    body = re.sub(r"(<(?:use|image)\b[^<>]*?)xlink:href=", r"\1href=", body)
    body = re.sub(r'(<text style="[^"]*?)font-family: [^;"]*;? ?', r"\1", body)
    body = re.sub(r'(<text style="[^"]*?)font: [^;"]*?([\d.]+px) [^;"]*', r"\1font-size: \2", body)
    body = re.sub(r' d="[^"]*"', _short_path, body)
    body = re.sub(r"\n\s*(?=<)", "\n", body)
    return f'<svg {view.group(0) if view else ""} focusable="false">{body.strip()}</svg>'


def _short_path(match: re.Match[str]) -> str:
    return _LONG_DECIMAL.sub(r"\1", " " + " ".join(match.group(0).split()))


def line_swatch(label: str, look: Look, *, hollow: bool = False) -> Swatch:
    """A legend entry: a piece of line with its marker."""
    dashes = {"--": "5 3", ":": "2 3", "-.": "6 2 2 2"}.get(look.line, "")
    stroke = f'stroke="{look.color}" stroke-width="2"'
    line = f'<path d="M1 6H25" {stroke} stroke-dasharray="{dashes}"/>' if look.line else ""
    fill = "#fff" if hollow else look.color
    return Swatch(label, _swatch_image(26, line + _marker(look.marker, fill, stroke)))


def dot_swatch(label: str, color: str) -> Swatch:
    """A legend entry: a coloured dot."""
    return Swatch(label, _swatch_image(12, f'<circle cx="6" cy="6" r="5" fill="{color}"/>'))


def _marker(marker: str, fill: str, stroke: str) -> str:
    shapes = {
        "s": "M9 2h8v8h-8z",
        "v": "M8 2h10l-5 9z",
        "^": "M13 1l5 9h-10z",
        "D": "M13 1l5 5-5 5-5-5z",
        "d": "M13 1l3 5-3 5-3-5z",
    }
    if marker in shapes:
        return f'<path d="{shapes[marker]}" fill="{fill}"/>'
    return f'<circle cx="13" cy="6" r="4" fill="{fill}" {stroke}/>'


def _swatch_image(width: int, body: str) -> Markup:
    image = f'<svg width="{width}" height="12" viewBox="0 0 {width} 12" aria-hidden="true">'
    return Markup(f"{image}{body}</svg>")  # noqa: S704 - built from this file's constants


def with_label(svg: Markup, label: str) -> Markup:
    """Give an SVG its role and its text for readers who do not see it."""
    opening = Markup('<svg role="img" aria-label="{}" ').format(escape(label))
    return opening + svg.removeprefix("<svg ")


def quiet(axes: Axes, *, grid: str = "y") -> None:
    """Keep the grid on one axis only, or on none."""
    axes.grid(visible=False)
    if grid:
        axes.grid(visible=True, axis=grid)  # type: ignore[arg-type]
    axes.margins(x=0.03)


def pretty(name: str) -> str:
    """A class name as words: underscores read as spaces."""
    return name.replace("_", " ").strip() or name


def folded(name: str, width: int) -> str:
    """A class name in lines of a figure; at most three, so that a long one leaves room to draw."""
    return textwrap.fill(pretty(name), max(width, 6), max_lines=3, placeholder="\u2026")


def short(name: str, width: int) -> str:
    """A name cut to the room that a figure has for it."""
    return name if len(name) <= width else name[: width - 1] + "\u2026"


def unit_text(unit: str) -> str:
    """A unit with raised digits: m/s^2 reads m/s²."""
    return unit.replace("^2", "\u00b2").replace("^3", "\u00b3").replace("^-1", "\u207b\u00b9")


def percent(fraction: float) -> str:
    """A label fraction as a percentage, without idle decimals."""
    return f"{100 * fraction:.3g}%"
