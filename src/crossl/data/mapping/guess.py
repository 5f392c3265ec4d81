"""Guess which columns belong together, and what they measure, from their names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

TEN_TWENTY = re.compile(r"(fp|af|f|ft|fc|t|tp|c|cp|p|po|o|a|m|fz|i)(z|\d{1,2})", re.IGNORECASE)
"""Where electrodes sit on a head (the 10-20 system)."""

KINDS = ("eeg", "ecg", "ekg", "emg", "eog", "resp", "meg", "eda", "gsr")
SHORT = {"a": "acc", "g": "gyro", "m": "mag"}
"""What stands before x, y and z where one letter does."""


def clean(name: str) -> str:
    """Make a name of lower-case letters, digits and underscores.

    Examples:
        >>> clean("Foot GSR (uS)"), clean("accX")
        ('foot_gsr_us', 'acc_x')
    """
    name = re.sub(r"(?<=[a-z0-9])(?=[XYZ]$)", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "signal"


def group_columns(columns: Sequence[str]) -> dict[str, dict[str, str]]:
    """Group columns that share a sensor.

    Axes (`acc_x`, `x_acc`, `accX`, `ax`), numbers (`ppg1`, `ppg2`), electrodes of the 10-20 system
    and labels that begin with what they measure (`EEG Fp1`) go together; the rest stand alone.

    Returns:
        The column of each channel, by group.

    Examples:
        >>> group_columns(["ax", "ay", "az", "ecg"])
        {'acc': {'x': 'ax', 'y': 'ay', 'z': 'az'}, 'ecg': {'ecg': 'ecg'}}
    """
    options = {column: _options(column) for column in columns}
    sizes = Counter(group for found in options.values() for group, _ in found)
    groups: dict[str, dict[str, str]] = {}
    for column, found in options.items():
        alone = clean(column)
        first, _, rest = alone.partition("_")
        alone = first if first == rest else alone  # `ECG ECG`
        group, channel = next((o for o in found if sizes[o[0]] > 1), (alone, alone))
        members = groups.setdefault(group, {})
        while channel in members:
            channel += "_"
        members[channel] = column
    return groups


def _options(column: str) -> list[tuple[str, str]]:
    """Return groups that a column may belong to, the likeliest first."""
    name = clean(column)
    first, _, rest = name.partition("_")
    found = []
    if first in KINDS and rest:
        found.append((first, rest))
    if TEN_TWENTY.fullmatch(column.strip()):
        found.append(("eeg", name))
    for pattern in (
        r"(?P<group>.+)_(?P<axis>[xyz])",
        r"(?P<axis>[xyz])_(?P<group>.+)",
        r"(?P<group>[agm])(?P<axis>[xyz])",
        r"(?P<group>\w*[a-z]{2})(?P<axis>[xyz])",
        r"(?P<group>.*[a-z])_?(?P<axis>\d{1,3})",
    ):
        match = re.fullmatch(pattern, name)
        if match:
            found.append((SHORT.get(match["group"], match["group"]), match["axis"]))
    if name in ("x", "y", "z"):
        found.append(("xyz", name))
    return found
