"""What a page is made of: sections that hold pictures, tables and facts."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from crossl.report.figures import Draw
from crossl.report.style import Swatch, svg_of, with_label


@dataclass(frozen=True)
class Cell:
    """One cell of a table; `kind` is a class of the style sheet."""

    text: str = ""
    sub: str = ""
    kind: str = ""
    share: float | None = None

    @property
    def width(self) -> str:
        """The length of the cell's bar, in percent."""
        return f"{100 * min(1.0, max(0.0, self.share or 0.0)):.1f}"


@dataclass(frozen=True)
class Table:
    """A table; `breaks` are the rows that start a group."""

    caption: str
    header: Sequence[Cell]
    rows: Sequence[Sequence[Cell]]
    breaks: frozenset[int] = frozenset()
    tall: bool = False


@dataclass(frozen=True)
class Picture:
    """A figure for wide pages and, where it differs, one for phones."""

    wide: Markup
    caption: str
    max_px: int
    narrow: Markup | None = None
    min_px: int = 0
    legend: Sequence[Swatch] = ()
    title: str = ""


@dataclass(frozen=True)
class Card:
    """A headline number."""

    value: str
    label: str
    details: Sequence[str]


@dataclass(frozen=True)
class Facts:
    """Names and what they are, side by side."""

    title: str
    entries: Sequence[tuple[str, str]]
    code: bool = False


@dataclass(frozen=True)
class Section:
    """One numbered part of the page; `absent` says why there is nothing to show.

    Two pictures stand side by side, unless they are `stacked`.
    """

    anchor: str
    title: str
    text: Sequence[str] = ()
    absent: str = ""
    facts: Sequence[Facts] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    after: Sequence[Table] = ()
    points: Sequence[str] = ()
    command: str = ""
    stacked: bool = False


@dataclass(frozen=True)
class Sizes:
    """Width and height of a figure in CSS pixels; `narrow` is for phones."""

    wide: tuple[float, float]
    narrow: tuple[float, float] | None = None
    min_px: int = 0


@dataclass(frozen=True)
class Words:
    """The texts that go with a figure: a caption, and a label for who does not see it."""

    caption: str
    label: str
    title: str = ""
    legend: Sequence[Swatch] = field(default=())


def picture(name: str, draw: Draw, sizes: Sizes, words: Words) -> Picture:
    """Draw a figure once for wide pages and, where asked for, once for phones.

    Args:
        name: Unique within the page.
        draw: Fills an empty figure.
        sizes: How large.
        words: Its texts.

    Returns:
        What the template shows.
    """
    narrow = None
    if sizes.narrow is not None:
        narrow = with_label(svg_of(draw, sizes.narrow, f"{name}-narrow"), words.label)
    return Picture(
        wide=with_label(svg_of(draw, sizes.wide, name), words.label),
        caption=words.caption,
        max_px=round(sizes.wide[0]),
        narrow=narrow,
        min_px=sizes.min_px,
        legend=words.legend,
        title=words.title,
    )
