"""Columns that are no sensor: row numbers, counters, times, labels, triggers; by name and content.

The one list of such names: `crossl data init`, the readers without a mapping and the doctor go by
it. Whoever names such a column in a mapping gets it; the doctor then says so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.own.mapping.guess import clean, split_unit

KINDS = {
    "person": (
        r"sujet.*|sujeto.*|soggetto.*|paciente.*|paziente.*|participante.*|partecipante.*|sexe|sexo|"
        r"subject.*|subj.*|participant.*|patient.*|persons?|person_.*|proband.*|user|user_?(id|name)?|"
        r"volunteer.*|session.*|sess|trial.*|run|block|visit|day|fold|group|name|gender|sex|age|"
        r"device_?(id|name)?|sensor_?(id|name)|mac|address|folder|file(name)?|teilnehmer.*|vp|vpn"
    ),
    "row number": (
        r"unnamed(_\d+)*(_level_\d+)?|(index_)?level_\d+|index(_\d+)?|idx|row|rownames|line|"
        r"(row|line)_?(names?|id|nr|no|num(ber)?|index)|zeile(nnummer)?|obs|observations?|indice|"
        r"ligne|fila|riga|rij|wiersz"
    ),
    "counter": (
        r"(sample|frame|packet|package|pkt|message|msg|record|block|burst|seq(uence)?|data|scan|"
        r"event|loop|paket|lauf|lfd)s?_?"
        r"(index|idx|id|count(er)?|cnt|number|num|no|n|nr|seq(uence)?|nummer|zahler)|"
        r"count(er)?|cnt|seq(uence)?|packets?|samples?|samp|frames?|nr|no|num|number|nummer|"
        r"zahler|compteur|contador|contatore|abtastung|echantillon|muestra|campione|"
        r"(board_shim_)?package_num|id|.*_id|package_num_channel|uuid|serial(_?(no|nr|num(ber)?))?"
    ),
    "clock": (
        r"t|ts|time.*|.*timestamp.*|datetime.*|date|datum|zeit.*|uhrzeit|.*zeitstempel|unix.*|"
        r"epoch.*|sec|secs|seconds?|millis.*|msec|elapsed.*|(milli)?seconds?_.*|.*_elapsed|.*_time|"
        r"hora|heure|sekunden?|millisekunden|horodatage|date_heure|tiempo.*|tijd|czas|tempo|"
        r"marca_(de_)?tiempo|fecha.*|orario|data_ora|loggingtime|utc.*|local_?time|"
        r"(start|begin|end|creation|recording)_?(date|time|datetime)|sample_?time_?fine|"
        r"tstamp|stamp|clock|"
        r"years?|months?|hours?|minutes?|jahr|monat|stunden?|minuten?|dt|delta_?t"
    ),
    "label": (
        r"y|ys|y_(true|train|test)|labels?|label_.*|.*_labels?|targets?|class|classes|class_.*|"
        r"activit.*|aktivitat.*|actividad|stages?|sleep_?stages?|hypnogram.*|condition|phase|"
        r"clase|classe|posture|behaviou?r|ground_?truth|gt|emotion|state|etikett.*|etiquet\w*|"
        r"etichett\w*|etapa|stade|estado|bezeichnung|klasse|task"
    ),
    "trigger": (
        r"status|trig|trigger.*|trigs?\d*|sti\d*|sti_\d+|stim.*|.*_stim|(the_)?markers?\d*|events?|"
        r".*_markers?|event_?(codes?|markers?|id)?|(bdf_|edf_)?annotations?|photo_?diode|ttl\d*|"
        r"din\d*|dig(ital)?_?(in|input|trig)?\d*|button.*|taste|knopf|sync|marker_?channel|"
        r"board_?status|battery.*|batt|batterie|akku.*|rssi|lost_?samples?|checksum|crc|parity|valid|"
        r"validity|quality|sqi|lead_?off.*|error_?(code|flag)?|flags?|end_byte|start_byte"
    ),
}
"""What it is, and names of it, cleaned, as whole words."""

PLAIN = ("row number", "counter", "clock", "trigger")
"""What the doctor calls by its name alone, where the name is longer than three letters."""

FEW_CODES, LEAST_SAMPLES = 16, 50
HELD_SHARE = 0.95
"""Share of samples that equal the one before, from which a few levels are codes."""

EQUAL_SHARE = 0.95
"""Share of equal steps from which a column counts; the others are lost packets and new starts."""

STRAIGHT = 0.002
"""Distance from a straight line, over what the column spans, up to which it is a clock."""


def no_sensor(name: str) -> str:
    """Say what a column is that is not a sensor by its name; empty where it may be one.

    Args:
        name: of the column, array or channel.

    Examples:
        >>> no_sensor("Sample Index"), no_sensor("__index_level_0__"), no_sensor("Status")
        ('counter', 'row number', 'trigger')
        >>> no_sensor("BDF Annotations"), no_sensor("rec.label"), no_sensor("acc_x")
        ('trigger', 'label', '')
    """
    plain = clean(split_unit(name)[0])
    options = [plain, re.sub(r"_\d+$", "", plain)]
    if "." in name:  # a field of a structure, as MATLAB names it
        options.append(clean(name.rpartition(".")[2]))
    for kind, pattern in KINDS.items():
        if any(re.fullmatch(pattern, option) for option in options):
            return kind
    return ""


def sift(columns: Sequence[str], *, named: bool = True) -> dict[str, str]:
    """Say which of a file's columns are not sensors by name; `y` beside `x` or `z` is an axis.

    Args:
        columns: of one table.
        named: the file names its columns; then one without a name (`c0`) is a row number.

    Examples:
        >>> sift(["x", "y", "z", "Status"]), sift(["c0", "acc"]), sift(["c0", "c1"], named=False)
        ({'Status': 'trigger'}, {'c0': 'row number'}, {})
    """
    plain = [clean(split_unit(column)[0]) for column in columns]
    axes = {name[:-1] for name in plain if name.endswith(("x", "z"))}
    own = [f"c{number}" for number in range(len(columns))]
    unnamed = [column for column, other in zip(columns, own, strict=True) if column == other]
    found = {}
    for column in columns:
        kind = no_sensor(column)
        if column in unnamed and named and len(unnamed) < len(columns):
            kind = "row number"
        axis = clean(split_unit(column)[0])
        if kind and not (re.fullmatch(r"(.*_)?y", axis) and axis[:-1] in axes):
            found[column] = kind
    return found


def disguise(values: NDArray[np.floating[Any]]) -> str:
    """Say what a column is that is not a sensor by its values; empty where it may be one.

    Args:
        values: (time,), NaN where missing.

    Returns:
        `ramp` for equal steps, as of a counter or clock; `codes` for a few whole numbers that hold
        for long, as of a label or trigger.

    Examples:
        >>> disguise(np.arange(100.0)), disguise(np.repeat([0.0, 1.0, 2.0], 100))
        ('ramp', 'codes')
        >>> disguise(np.random.default_rng(0).normal(size=100))
        ''
    """
    known = values[np.isfinite(values)].astype(np.float64)
    if len(known) < LEAST_SAMPLES or known[0] == known[-1] == known.max() == known.min():
        return ""
    return "ramp" if is_ramp(known) else "codes" if is_codes(known) else ""


def is_ramp(known: NDArray[np.float64]) -> bool:
    """Tell whether values go on in equal steps, or lie on a straight line but for rounding."""
    steps = np.diff(known)
    step = float(np.median(steps))
    rounding = float(np.spacing(np.float32(np.abs(known).max())))
    if (
        step
        and float((np.abs(steps - step) <= 1e-3 * max(abs(step), rounding)).mean()) >= EQUAL_SHARE
    ):
        return True
    one_way = bool((steps >= 0).all() or (steps <= 0).all())
    if len(np.unique(known)) < 8 or not one_way:
        return False
    line: NDArray[np.float64] = np.linspace(known[0], known[-1], len(known))
    allowed = max(STRAIGHT * abs(float(known[-1] - known[0])), rounding)
    return bool(np.abs(known - line).max() <= allowed)


def is_codes(known: NDArray[np.float64]) -> bool:
    """Tell whether values are a few whole numbers that hold for long, or pulses of them."""
    held = float((np.diff(known) == 0).mean())
    if held < HELD_SHARE:
        return False
    levels = np.unique(known)
    if not 1 < len(levels) <= FEW_CODES:
        return False
    # in SI whole numbers are multiples of one step
    steps = (levels - levels[0]) / np.diff(levels).min()
    return bool(np.allclose(steps, np.round(steps), rtol=0, atol=1e-3))
