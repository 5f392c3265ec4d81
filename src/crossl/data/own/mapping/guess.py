"""Guess which columns belong together, and what they measure, from their names."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

TEN_TWENTY = re.compile(
    r"(fp|af|f|ft|fc|t|tp|c|cp|p|po|o|a|m)(z|[1-9]|10)|iz|nz|oz|cb[12]", re.IGNORECASE
)
"""Where electrodes sit on a head (the 10-20 system)."""

WEAK = re.compile(r"[tpfmac][12]", re.IGNORECASE)
"""Positions whose names other sensors have too: temperatures, pressures, forces, masses."""

PAIRS = (("c3", "c4"), ("o1", "o2"), ("f3", "f4"), ("f7", "f8"), ("p3", "p4"), ("t3", "t4"),
         ("t5", "t6"), ("fp1", "fp2"), ("af7", "af8"), ("tp9", "tp10"))  # fmt: skip
"""Left and right: enough where two electrodes are all."""

KINDS = ("eeg", "ecg", "ekg", "emg", "eog", "resp", "meg", "eda", "gsr", "exg")
SHORT = {"a": "acc", "g": "gyro", "m": "mag"}
"""What stands before x, y and z where one letter does."""

PLACES = (
    r"(smart)?(watch|phone|band|glass)e?s?|wrist|chest|hip|waist|ankle|thigh|arm|forearm|head|ear|"
    r"pocket|foot|leg|belt|left|right|s[pw]|[lr][wahf]|uhr|handy|brust|handgelenk"
)
"""What a device is called, or where it is worn; `sp` and `sw` are smartphone and smartwatch."""

MOTION = r"acc|accel|acceleration|accelerometer|gyr|gyro|gyroscope|mag|magn|magnetometer|[agm]"

ENDINGS = (
    "mg", "g", "m_s_2", "m_s2", "ms2", "mps2", "dps", "deg_s", "rad_s", "rads", "ut", "us", "uv",
    "mv", "nv", "bpm", "degc", "hz",
)  # fmt: skip
"""Units that stand behind a name without brackets, `acc_x_mg`."""

SPELT = {"m_s_2": "m/s^2", "m_s2": "m/s^2", "ms2": "m/s^2", "mps2": "m/s^2", "deg_s": "deg/s",
         "rad_s": "rad/s", "rads": "rad/s", "ut": "uT", "uv": "uV", "mv": "mV", "nv": "nV",
         "degc": "degC", "us": "uS", "hz": "Hz"}  # fmt: skip

NAMED = re.compile(
    r"([xyz]|.+_[xyz]|[agm][xyz]|[xyz]_.+|acc\w*|gyro?\w*|mag\w*|ecg\w*|eeg\w*|emg\w*|eda|gsr|"
    r"temp\w*|ppg\w*|bvp)"
)
"""Names behind which a unit may stand without brackets."""


def clean(name: str) -> str:
    """Make a name of lower-case letters, digits and underscores; accents are dropped.

    Examples:
        >>> clean("Foot GSR (uS)"), clean("accX"), clean("Aktivität")
        ('foot_gsr_us', 'acc_x', 'aktivitat')
    """
    name = re.sub(r"(?<=[a-z0-9])(?=[XYZ]$)", "_", name)
    name = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "signal"


def split_unit(name: str) -> tuple[str, str]:
    """Part a column's name from the unit that stands behind it; empty where there is none.

    Examples:
        >>> split_unit("acc_x [g]"), split_unit("Accel X m/(s^2)"), split_unit("ax_mg")
        (('acc_x', 'g'), ('Accel X', 'm/s^2'), ('ax', 'mg'))
        >>> split_unit("Linear Acceleration x (m/s^2)"), split_unit("big_g")
        (('Linear Acceleration x', 'm/s^2'), ('big_g', ''))
    """
    name = re.sub(r"(?i)\bm/\(s\^?2\)|\bm/\(s²\)", "m/s^2", name).strip()
    if name.endswith(" m/s^2"):
        return name[:-6].strip(), "m/s^2"
    match = re.fullmatch(r"(.*\S)[ _]*[(\[{]([^()\[\]{}]*)[)\]}]", name)
    if match:
        return match[1].rstrip(" _,"), match[2].strip()
    plain = clean(name)
    for ending in ENDINGS:
        rest = plain.removesuffix(f"_{ending}")
        if rest != plain and NAMED.fullmatch(rest):
            return rest, SPELT.get(ending, ending)
    return name, ""


def axes_letter(name: str) -> list[str]:
    """Return what the letter before an axis stands for, `acc` of `ax`.

    Examples:
        >>> axes_letter("ax"), axes_letter("x")
        (['acc'], [])
    """
    match = re.fullmatch(r"([agm])_?[xyz]", name)
    return [SHORT[match[1]]] if match else []


def group_columns(columns: Sequence[str], *, named: bool = True) -> dict[str, dict[str, str]]:
    """Group columns that share a sensor.

    Axes (`acc_x`, `x_acc`, `accX`, `ax`), numbers (`ppg1`, `ppg2`), electrodes of the 10-20 system
    and labels that begin with what they measure (`EEG Fp1`) go together; the rest stand alone.

    Args:
        columns: their names.
        named: the file names them; `c3` and `c4` are then electrodes, else columns without a name.

    Returns:
        The column of each channel, by group.

    Examples:
        >>> group_columns(["ax", "ay", "az", "ecg"])
        {'acc': {'x': 'ax', 'y': 'ay', 'z': 'az'}, 'ecg': {'ecg': 'ecg'}}
        >>> list(group_columns(["acc_x [g]", "acc_y [g]", "c0", "c1"]))
        ['acc', 'c']
        >>> list(group_columns(["sp_ax", "sp_ay", "sw_ax", "sw_ay", "gx1", "gy1", "gx2", "gy2"]))
        ['sp_acc', 'sw_acc', 'gyro_1', 'gyro_2']
    """
    eeg = named and is_eeg(columns)
    options = {column: _options(column, eeg=eeg) for column in columns}
    sizes = Counter(group for found in options.values() for group, _ in found)
    groups: dict[str, dict[str, str]] = {}
    for column, found in options.items():
        alone = clean(split_unit(column)[0])
        first, _, rest = alone.partition("_")
        alone = first if first == rest else alone  # `ECG ECG`
        group, channel = next((o for o in found if sizes[o[0]] > 1), (alone, alone))
        members = groups.setdefault(group, {})
        while channel in members:
            channel += "_"
        members[channel] = column
    return groups


def is_eeg(columns: Sequence[str]) -> bool:
    """Tell whether names are those of electrodes on a head: several that fit each other.

    One such name says nothing, and neither does a letter with numbers that count (`c0`, `c1`, `c2`;
    `p1` to `p4`), nor letters that all have one number (`t1`, `p1`, `f1`).

    Examples:
        >>> is_eeg(["Fp1", "Fp2", "Cz"]), is_eeg(["C3", "C4"]), is_eeg(["c0", "c1", "c2", "c3"])
        (True, True, False)
    """
    names = [clean(split_unit(column)[0]) for column in columns]
    numbers: dict[str, set[int]] = {}
    for name in names:
        match = re.fullmatch(r"([a-z]+)(\d+)", name)
        if match:
            numbers.setdefault(match[1], set()).add(int(match[2]))
    counting = {
        stem for stem, found in numbers.items()
        if len(stem) == 1 and len(found) > 2 and {1, 2} <= found
        and found == set(range(min(found), max(found) + 1))
    }  # fmt: skip
    electrodes = [name for name in names if TEN_TWENTY.fullmatch(name)]
    strong = [
        name for name in electrodes
        if not WEAK.fullmatch(name) and name.rstrip("0123456789") not in counting
    ]  # fmt: skip
    if any({left, right} <= set(strong) for left, right in PAIRS):
        return True
    return len({re.sub(r"\d+$", "", name) for name in strong}) >= 2


def _of_device(name: str) -> list[tuple[str, str]]:
    """Return the group of an axis that names its device in front or behind, `sp_ax`, `acc_x_2`.

    Examples:
        >>> _of_device("sp_ax"), _of_device("accx1"), _of_device("gyro_y_left")
        ([('sp_acc', 'x')], [('acc_1', 'x')], [('gyro_left', 'y')])
    """
    front = re.fullmatch(r"(?P<device>.+)_(?P<kind>[agm])(?P<axis>[xyz])", name)
    if front:
        return [(f"{front['device']}_{SHORT[front['kind']]}", front["axis"])]
    behind = re.fullmatch(
        rf"(?P<kind>{MOTION})_?(?P<axis>[xyz])(_?(?P<number>\d{{1,2}})|_(?P<device>{PLACES}))", name
    )
    if behind is None:
        return []
    kind = SHORT.get(behind["kind"], behind["kind"])
    return [(f"{kind}_{behind['number'] or behind['device']}", behind["axis"])]


def _options(column: str, *, eeg: bool) -> list[tuple[str, str]]:
    """Return groups that a column may belong to, the likeliest first."""
    name = clean(split_unit(column)[0])
    first, _, rest = name.partition("_")
    found = []
    if first in KINDS and rest:
        found.append((first, rest))
    if eeg and TEN_TWENTY.fullmatch(name):
        found.append(("eeg", name))
    found += _of_device(name)
    for pattern in (
        r"(?P<group>.+)_(?P<axis>[xyz])",
        r"(?P<axis>[xyz])_(?P<group>.+)",
        r"(?P<group>[agm])(?P<axis>[xyz])",
        r"(?P<group>\w*[a-z]{2})(?P<axis>[xyz])",
        r"(?P<group>[a-z])(?P<axis>[xyz])",
        r"(?P<group>.*[a-z])_?(?P<axis>\d{1,3})",
        r"(?P<group>.+)_(?P<axis>[xyz])_(?:cal|raw|uncal|wr|filtered|filt|axis|achse|axe|eje|asse)",
    ):
        match = re.fullmatch(pattern, name)
        if match:
            group = match["group"] if match["axis"].isdigit() else SHORT.get(match["group"])
            found.append((group or match["group"], match["axis"]))
    axis = re.fullmatch(r"(?P<axis>[xyz])(_(axis|achse|axe|eje|asse))?", name)
    if axis:
        found.insert(0, ("xyz", axis["axis"]))
    return found
