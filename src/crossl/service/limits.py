"""Limits: how much one request, one stream and all of them together may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What is refused above.

    Attributes:
        body_bytes: of a request, as it comes over the wire.
        bodies_bytes: of all requests that are under way, together.
        lists: of one body of JSON; each takes far more room than the bytes that say it.
        body_s: that sending a request may take.
        samples: of all sensors of one recording, gaps included.
        windows: of one recording, the stretches between its sensors included.
        waiting: predictions that may wait; more are sent away.
        files: of an upload.
        upload_s: that reading uploaded files may take.
        upload_bytes: of memory for that.
        uploads: read at the same time; more wait.
        message_bytes: of a message on a WebSocket.
        streams: open at the same time.
        watchers: pages that watch at the same time.
        silent_s: after so long without a message a stream is closed.
        connections: of all kinds.
        header_s: that sending the head of a request may take.
    """

    body_bytes: int = 32 * 2**20
    bodies_bytes: int = 256 * 2**20
    lists: int = 3_000_000
    body_s: float = 30.0
    samples: int = 8_000_000
    windows: int = 50_000
    waiting: int = 128
    files: int = 64
    upload_s: float = 60.0
    upload_bytes: int = 2**30
    uploads: int = 2
    message_bytes: int = 2**20
    streams: int = 32
    watchers: int = 16
    silent_s: float = 60.0
    connections: int = 256
    header_s: float = 10.0
