"""Arrow: a recording as a table, a row for each sensor, sent as a stream of Arrow IPC.

Columns: `modality` (text), `values` (list of float, all channels of a sample beside each other,
sample after sample; null is a missing one), `rate_hz`, and `start_s` where it is not 0.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.boundary import reading
from crossl.data.formats import needs
from crossl.data.recording import Modality, Signal
from crossl.errors import DataError, nearest
from crossl.service.bodies import MOST_OTHERS, Sent, asked_by, number, recorded
from crossl.service.limits import Limits

COLUMNS = ("modality", "values", "rate_hz", "start_s")


def read_arrow_body(
    body: bytes, modalities: Sequence[Modality], limits: Limits, told: Mapping[str, Any]
) -> Sent:
    """Make a recording of an Arrow stream.

    Args:
        body: Arrow IPC, not compressed.
        modalities: of the run.
        limits: how long it may be.
        told: of the query: `subject`, `session`, `zone`, `origin_unix_s`, `resample`, and how
            what is said is read, see `asked_by`.

    Raises:
        DataError: it is no such table.
        PackageError: polars is not installed.
    """
    check_plain(body)
    polars = needs("polars")
    with reading("body", "Arrow"):
        table = polars.read_ipc_stream(io.BytesIO(body))
    for name in table.columns:
        if name not in COLUMNS:
            raise DataError(f"body: column '{name:.60}' is unknown; {nearest(name, COLUMNS)}")
    missing = [name for name in COLUMNS[:3] if name not in table.columns]
    if missing:
        raise DataError(f"body: has no column '{missing[0]}'; needed are {', '.join(COLUMNS[:3])}")
    if len(table) > MOST_OTHERS:
        raise DataError(f"body: has {len(table)} rows; allowed are at most {MOST_OTHERS} sensors")
    known = {m.name: m for m in modalities}
    declared: dict[str, Modality] = {}
    signals: dict[str, Signal] = {}
    for row in range(len(table)):
        name = table["modality"][row]
        if not isinstance(name, str) or name in signals:
            raise DataError(f"body: row {row} names {name!r:.60}; each sensor has one row")
        if name not in known:
            continue  # of one that the run never saw nobody knows the channels
        modality = known[name]
        values = _flat(f"{name}.values", table["values"][row], len(modality.channels))
        rate_hz = number(f"{name}.rate_hz", table["rate_hz"][row])
        start_s = table["start_s"][row] if "start_s" in table.columns else 0.0
        declared[name] = Modality(name, modality.channels, modality.unit, rate_hz, modality.device)
        signals[name] = Signal(values, rate_hz, number(f"{name}.start_s", start_s))
    if not signals:
        raise DataError(f"body: names no sensor of the run; known are {', '.join(known)}")
    recording = recorded(told, declared, signals, modalities, limits)
    return Sent(recording, tuple(told.get("resample", ())), asked_by(told))


def _flat(where: str, column: Any, channels: int) -> NDArray[np.float32]:
    """Take the samples of a sensor."""
    if column is None or not hasattr(column, "dtype") or not column.dtype.is_numeric():
        raise DataError(f"{where}: is not a list of numbers")
    flat = column.to_numpy()
    if len(flat) % channels or not len(flat):
        raise DataError(f"{where}: has {len(flat)} numbers; a multiple of {channels} is needed")
    with np.errstate(over="ignore"):
        return np.asarray(flat, dtype=np.float32).reshape(-1, channels)


BATCH, DICTIONARY = 3, 2
"""Kinds of messages in Arrow's `Message.fbs` that carry data."""
END = 0xFFFFFFFF
COMPRESSION = 3
"""Place of `compression` in the table `RecordBatch` of Arrow's `Message.fbs`."""


def check_plain(body: bytes) -> None:
    """Refuse what could unpack to much more than it is; nothing is unpacked yet.

    The head of each message (a flatbuffer, https://arrow.apache.org/docs/format/Columnar.html) says
    whether its buffers are compressed, and how many rows it has.

    Raises:
        DataError: compressed buffers, dictionaries, too many rows, or no Arrow stream.
    """
    at = 0
    try:
        while at + 8 <= len(body):
            mark, size = struct.unpack_from("<Ii", body, at)
            if mark != END or size < 0:
                raise ValueError
            if not size:
                return
            head = body[at + 8 : at + 8 + size]
            at += 8 + size + _check_message(head)
    except DataError:
        raise
    except (struct.error, ValueError, IndexError):
        raise DataError("body: is not a stream of Arrow IPC") from None


def _check_message(head: bytes) -> int:
    """Refuse one message; return the bytes of its buffers."""
    message = _u32(head, 0)
    kind = head[_field(head, message, 1)] if _field(head, message, 1) else 0
    length = _field(head, message, 3)
    if kind == DICTIONARY:
        raise DataError("body: has dictionaries; send plain text in the column 'modality'")
    if kind == BATCH:
        place = _field(head, message, 2)
        batch = place + _u32(head, place)
        if _field(head, batch, COMPRESSION):
            raise DataError("body: is compressed Arrow; send it without compression")
        rows = _field(head, batch, 0)
        if rows and struct.unpack_from("<q", head, rows)[0] > MOST_OTHERS:
            raise DataError(f"body: has more than {MOST_OTHERS} rows; each sensor has one row")
    found = struct.unpack_from("<q", head, length)[0] if length else 0
    if found < 0:
        raise ValueError
    return int(found)


def _u32(head: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", head, at)[0])


def _field(head: bytes, table: int, number: int) -> int:
    """Return where a field of a flatbuffer's table lies; 0 where it is not set."""
    vtable = table - int(struct.unpack_from("<i", head, table)[0])
    if vtable < 0:
        raise ValueError
    place = 4 + 2 * number
    if place + 2 > struct.unpack_from("<H", head, vtable)[0]:
        return 0
    offset = int(struct.unpack_from("<H", head, vtable + place)[0])
    return table + offset if offset else 0
