"""Draw `method.svg`, the picture of the method: python docs/draw_method.py."""

from __future__ import annotations

import math
import random
from pathlib import Path

PICTURE = Path(__file__).with_name("method.svg")
WIDTH, HEIGHT = 960, 452
INK, SOFT, LINE = "#1c2733", "#5b6875", "#9aa7b3"
SENSORS = (
    ("acceleration", "50 Hz", "#2b7a9b"),
    ("rotation", "50 Hz", "#c2571a"),
    ("ECG", "250 Hz", "#6a8f2a"),
    ("temperature", "not worn", "#8b8b8b"),
)
TOP, STEP = 74, 58
SHOWN = {"view a": (True, False, True, False), "view b": (False, True, True, False)}


def middle(row: int) -> int:
    """Return where the row of a sensor is."""
    return TOP + STEP * row


def text(x: float, y: float, words: str, *, size: int = 13, fill: str = INK, **more: str) -> str:
    given = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in more.items())
    return f'<text x="{x}" y="{y}" font-size="{size}" fill="{fill}"{given}>{words}</text>'


def box(x: float, y: float, width: float, height: float, *, fill: str, stroke: str = LINE) -> str:
    return (f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="7" fill="{fill}" '
            f'stroke="{stroke}"/>')  # fmt: skip


def arrow(x1: float, y1: float, x2: float, y2: float, *, stroke: str = SOFT) -> str:
    return (f'<path d="M{x1} {y1} L{x2} {y2}" stroke="{stroke}" stroke-width="1.4" fill="none" '
            f'marker-end="url(#tip)"/>')  # fmt: skip


def wave(row: int) -> str:
    """Return a few seconds of a signal."""
    rng, y0, colour = random.Random(row), middle(row), SENSORS[row][2]
    if row == 3:
        return (f'<path d="M132 {y0} H222" stroke="{colour}" stroke-width="1.6" '
                'stroke-dasharray="3 5"/>')  # fmt: skip
    points = []
    for i in range(91):
        t = i / 90
        swing = math.sin(2 * math.pi * (5 if row == 0 else 3) * t + row)
        if row == 2:
            beat = (t * 4) % 1
            swing = 1.7 * math.exp(-(((beat - 0.4) / 0.035) ** 2)) - 0.35
            swing += 0.35 * math.exp(-(((beat - 0.68) / 0.08) ** 2))
        points.append(f"{132 + i:.0f},{y0 - 11 * swing + rng.uniform(-1.3, 1.3):.1f}")
    return (f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" '
            'stroke-width="1.6" stroke-linejoin="round"/>')  # fmt: skip


def latent(x: float, row: int, *, shown: bool) -> str:
    """Return five cells of a latent; hollow ones where a view hides it."""
    colour, y = SENSORS[row][2], middle(row) - 7
    there = shown and row != 3
    look = f'fill="{colour}"' if there else f'fill="#ffffff" stroke="{LINE}" stroke-dasharray="2 2"'
    depth = (1.0, 0.55, 0.8, 0.4, 0.7)
    return "".join(
        f'<rect x="{x + 13 * i}" y="{y}" width="12" height="14" {look} '
        f'opacity="{depth[i] if there else 1}"/>'
        for i in range(5)
    )


def embedding(x: float, y: float) -> str:
    shades = ("#7a4fa3", "#9b78bd", "#5c3a82", "#b79ad0", "#7a4fa3", "#8f68b3")
    return "".join(
        f'<rect x="{x + 11 * i}" y="{y - 9}" width="10" height="18" fill="{c}"/>'
        for i, c in enumerate(shades)
    )


def left() -> list[str]:
    """Return sensors, their encoders and latents."""
    parts = [text(20, 34, "each sensor at its own rate", size=12, fill=SOFT)]
    parts.append(text(283, 34, "own encoder", size=12, fill=SOFT, text_anchor="middle"))
    for row, (name, rate, colour) in enumerate(SENSORS):
        y = middle(row)
        parts += [text(20, y - 1, name, font_weight="600", fill=colour if row < 3 else SOFT)]
        parts += [text(20, y + 14, rate, size=11, fill=SOFT), wave(row)]
        if row < 3:
            parts += [arrow(226, y, 244, y), box(250, y - 16, 66, 32, fill="#f3f6f8")]
            parts += [text(283, y + 4, "encoder", size=12, text_anchor="middle")]
            parts += [arrow(318, y, 334, y)]
        parts.append(latent(340, row, shown=True))
    return parts


def views() -> list[str]:
    """Return two views, each masked in its own way, and their embeddings."""
    parts = [text(372, 34, "latents", size=12, fill=SOFT, text_anchor="middle")]
    for name, x in (("view a", 438), ("view b", 542)):
        parts.append(box(x - 11, TOP - 30, 87, 3 * STEP + 60, fill="#faf8fc", stroke="#d9cfe4"))
        parts.append(text(x + 32, 34, f"{name}, masked", size=12, fill=SOFT, text_anchor="middle"))
        parts += [latent(x, row, shown=SHOWN[name][row]) for row in range(4)]
    parts += [arrow(408, middle(1.5), 425, middle(1.5))]
    parts += [box(652, 92, 96, 138, fill="#f3f6f8"), arrow(620, 161, 646, 161)]
    parts += [text(700, 148, "aggregator", size=12, text_anchor="middle", font_weight="600")]
    parts += [text(700, 166, "knows what", size=11, fill=SOFT, text_anchor="middle")]
    parts += [text(700, 180, "is there", size=11, fill=SOFT, text_anchor="middle")]
    for y, name in ((112, "a"), (210, "b")):
        parts += [arrow(750, y, 774, y), embedding(782, y)]
        parts.append(text(856, y + 4, f"embedding {name}", size=12))
    parts.append(
        '<path d="M815 127 V195" stroke="#7a4fa3" stroke-width="2" '
        'marker-start="url(#back)" marker-end="url(#on)"/>'
    )
    parts += [text(826, 158, "must agree", size=13, font_weight="600", fill="#5c3a82")]
    parts += [text(826, 174, "(VICReg)", size=11, fill=SOFT)]
    parts += [text(652, 258, "and predicts the latents that a view hides", size=12, fill="#5c3a82")]
    return parts


def use() -> list[str]:
    """Return what is done with a trained model: nothing is masked, sensors may be missing."""
    y = 400
    parts = [f'<path d="M20 300 H940" stroke="{LINE}" stroke-width="1"/>']
    parts.append(text(20, 326, "Afterwards", font_weight="700", size=14))
    parts.append(
        text(118, 326, "the same encoders and aggregator, frozen; nothing is masked any more, and "
             "a sensor that died is simply left out", size=12, fill=SOFT)
    )  # fmt: skip
    for i, row in enumerate((0, 2)):
        shift = y - 20 + 40 * i - middle(row)
        parts.append(f'<g transform="translate(-108 {shift})">{wave(row)}</g>')
        parts.append(text(126, y - 16 + 40 * i, SENSORS[row][0], size=12, fill=SENSORS[row][2]))
    steps = (
        (222, 120, "encoders", "of those that are there"),
        (386, 100, "aggregator", ""),
        (620, 126, "linear classifier", "fitted with few labels"),
    )
    for x, width, name, more in steps:
        parts.append(box(x, y - 24, width, 48, fill="#f3f6f8"))
        parts.append(text(x + width / 2, y - 2 if more else y + 4, name, size=12,
                          text_anchor="middle", font_weight="600"))  # fmt: skip
        if more:
            parts.append(
                text(x + width / 2, y + 13, more, size=10, fill=SOFT, text_anchor="middle")
            )
    parts += [arrow(202, y, 217, y), arrow(344, y, 381, y), arrow(488, y, 506, y)]
    parts += [embedding(514, y), arrow(584, y, 615, y), arrow(748, y, 772, y)]
    parts.append(text(547, y + 28, "embedding", size=11, fill=SOFT, text_anchor="middle"))
    colours = ("#e3d9ec", "#e3d9ec", "#7a4fa3", "#7a4fa3", "#7a4fa3", "#c9b5db", "#c9b5db")
    parts += [f'<rect x="{780 + 23 * i}" y="{y - 12}" width="23" height="24" fill="{c}"/>'
              for i, c in enumerate(colours)]  # fmt: skip
    parts += [text(803, y + 30, "rest", size=11, fill=SOFT, text_anchor="middle")]
    parts += [text(860, y + 30, "walk", size=11, fill=SOFT, text_anchor="middle")]
    parts += [text(918, y + 30, "stairs", size=11, fill=SOFT, text_anchor="middle")]
    return parts


def tip(name: str, colour: str, *, turned: bool = False) -> str:
    orient = "auto-start-reverse" if turned else "auto"
    return (f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            f'markerHeight="7" orient="{orient}"><path d="M0 0 L8 4 L0 8 z" fill="{colour}"/>'
            "</marker>")  # fmt: skip


def draw() -> str:
    """Return the picture."""
    words = ("Each sensor has an encoder of its own. Two views of a window hide different sensors; "
             "an aggregator makes an embedding of each, and the two must agree. Afterwards the "
             "frozen network embeds what sensors there are, for a linear classifier.")  # fmt: skip
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'aria-labelledby="t d" font-family="system-ui, -apple-system, Segoe UI, Roboto, '
            'Helvetica, Arial, sans-serif"><title id="t">How crossl learns</title>'
            f'<desc id="d">{words}</desc>')  # fmt: skip
    tips = tip("tip", SOFT) + tip("on", "#7a4fa3") + tip("back", "#7a4fa3", turned=True)
    paper = f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" fill="#ffffff"/>'
    return "\n".join([head, f"<defs>{tips}</defs>", paper, *left(), *views(), *use(), "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
