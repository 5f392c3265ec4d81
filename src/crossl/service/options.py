"""Options: what an address says behind its question mark."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import QueryParams

from crossl.errors import DataError, nearest
from crossl.names import check_name, known_zone
from crossl.service.bodies import origin_of

STREAM = ("name", "abstain", "origin_unix_s", "zone", "resample", "max_delay_s", "in_order")
MANNER = ("abstain", "context", "sets", "keep_unusable")
PREDICT = (*MANNER, "subject", "session", "origin_unix_s", "zone", "resample")
MOST_DELAY_S = 60.0


def option(params: QueryParams, name: str) -> str:
    """Return one option as text; empty where it is not there.

    Raises:
        DataError: it holds what no name may.
    """
    value = params.get(name, "")
    check_name(name, value, empty=True)
    return value


def query_facts(params: QueryParams) -> dict[str, Any]:
    """Return what a page asks to see: `stream`, the number of one.

    Raises:
        DataError: it is not a number.
    """
    text = params.get("stream", "")
    return {"stream": int(text)} if text.isascii() and text.isdigit() and len(text) < 10 else {}


def predict_options(params: QueryParams) -> dict[str, Any]:
    """Return what is said beside a body that is not JSON.

    Raises:
        DataError: an unknown option, or a value that cannot be.
    """
    return _told(params, PREDICT)


def stream_options(params: QueryParams) -> dict[str, Any]:
    """Return the arguments of `Run.live` that an address names.

    Raises:
        DataError: an unknown option, or a value that cannot be.
    """
    told = _told(params, STREAM)
    told.pop("name", None)
    delay_s = told.get("max_delay_s", 2.0)
    if not 0 <= delay_s <= MOST_DELAY_S:
        raise DataError(f"max_delay_s: is {delay_s:g}; allowed are 0 to {MOST_DELAY_S:g} s")
    return told


def _told(params: QueryParams, known: tuple[str, ...]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, text in params.multi_items():
        if name not in known:
            raise DataError(f"option '{name:.60}' is unknown; {nearest(name[:60], known)}")
        if name == "resample":
            check_name(name, text)
            out["resample"] = (*out.get("resample", ()), text)
            continue
        out[name] = _value(name, option(params, name))
    return out


def _value(name: str, text: str) -> Any:
    if name in ("in_order", "keep_unusable"):
        if text not in ("true", "false"):
            raise DataError(f"{name}: is '{text:.60}'; allowed are true and false")
        return text == "true"
    if name == "zone" and text:
        known_zone(text)
    if name not in ("abstain", "sets", "origin_unix_s", "max_delay_s"):
        return text
    try:
        value = float(text)
    except ValueError:
        raise DataError(f"{name}: is '{text:.60}'; a number is needed") from None
    return origin_of(value) if name == "origin_unix_s" else value
