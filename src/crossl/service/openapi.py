"""OpenAPI: what each address takes and answers, for `/openapi.json`."""

from __future__ import annotations

from typing import Any

from crossl.predict.manner import CONTEXTS
from crossl.service.answers import ARROW, CSV, JSON, PARQUET

_NUMBER = {"type": "number", "nullable": True}
_VALUES = {
    "description": "(time, channel) in units of the run, or (time) of one channel; null: missing",
    "oneOf": [
        {"type": "array", "items": _NUMBER},
        {"type": "array", "items": {"type": "array", "items": _NUMBER}},
    ],
}
_SIGNAL = {
    "type": "object",
    "required": ["values"],
    "additionalProperties": False,
    "properties": {
        "values": _VALUES,
        "rate_hz": {"type": "number"},
        "start_s": {"type": "number", "default": 0},
        "timestamps_s": {"type": "array", "items": {"type": "number"}},
        "unit": {"type": "string"},
        "channels": {"type": "array", "items": {"type": "string"}},
    },
}
_RECORDING: dict[str, Any] = {
    "type": "object",
    "required": ["modalities"],
    "additionalProperties": False,
    "properties": {
        "modalities": {"type": "object", "additionalProperties": _SIGNAL},
        "subject": {"type": "string"},
        "session": {"type": "string"},
        "origin_unix_s": {"type": "number"},
        "zone": {"type": "string", "example": "Europe/Madrid"},
        "resample": {"type": "array", "items": {"type": "string"}},
        "abstain": {"type": "number"},
        "context": {"enum": list(CONTEXTS)},
        "sets": {"type": "number"},
        "keep_unusable": {"type": "boolean"},
    },
}
_ROW = {
    "type": "object",
    "properties": {
        "start_time": {"type": "string", "nullable": True},
        "end_time": {"type": "string", "nullable": True},
        "start_s": {"type": "number"},
        "end_s": {"type": "number"},
        "label": {"type": "string", "nullable": True},
        "probability": {"type": "object", "additionalProperties": _NUMBER},
        "present": {"type": "object", "additionalProperties": {"type": "boolean"}},
        "reason": {"type": "string", "nullable": True},
    },
}
_ERROR: dict[str, Any] = {
    JSON: {"schema": {"type": "object", "properties": {"error": {"type": "string"}}}}
}
_ANSWER = {
    "type": "object",
    "properties": {
        "recordings": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "subject": {"type": "string"},
                    "session": {"type": "string"},
                    "began": {"type": "string", "nullable": True},
                    "zone": {"type": "string"},
                    "unseen": {"type": "array", "items": {"type": "string"}},
                    "notes": {"type": "array", "items": {"type": "string"}},
                    "rows": {"type": "array", "items": _ROW},
                },
            },
        }
    },
}


def _refusals(codes: dict[int, str]) -> dict[str, Any]:
    return {str(code): {"description": told, "content": _ERROR} for code, told in codes.items()}


def _option(name: str, kind: str, told: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": told, "schema": {"type": kind}}


HEALTH: dict[str, Any] = {}
CONTRACT: dict[str, Any] = {}
PREDICT: dict[str, Any] = {
    "parameters": [
        _option("abstain", "number", "of Arrow and files: no label where no class has so much"),
        _option("context", "string", f"of Arrow and files: {', '.join(CONTEXTS)}"),
        _option("sets", "number", "of Arrow and files: share of sets that hold the true label"),
        _option("keep_unusable", "boolean", "of Arrow and files: classify what is worn by nobody"),
        _option("resample", "string", "of Arrow and files: sensor of another rate; repeatable"),
        _option("subject", "string", "of Arrow"),
        _option("session", "string", "of Arrow"),
        _option("origin_unix_s", "number", "of Arrow: where the clock's 0 lies on the calendar"),
        _option("zone", "string", "of Arrow: IANA name"),
    ],
    "requestBody": {
        "required": True,
        "content": {
            JSON: {"schema": _RECORDING},
            ARROW: {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "files": {"type": "array", "items": {"type": "string", "format": "binary"}}
                    },
                }
            },
        },
    },
    "responses": {
        "200": {
            "description": "a row for each window, and for each stretch of time without one",
            "content": {JSON: {"schema": _ANSWER}, CSV: {}, ARROW: {}, PARQUET: {}},
        },
        **_refusals(
            {
                401: "no token, or another",
                403: "another page asks",
                408: "sent too slowly",
                413: "too large",
                415: "of another kind",
                422: "cannot be used, and why",
                503: "too many wait",
            }
        ),
    },
}
