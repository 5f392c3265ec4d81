"""The live page: one file, handed out with a policy that lets nothing else run in it."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files

BLOCK = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


def live_page() -> tuple[bytes, str]:
    """Return the page, and its Content-Security-Policy.

    Scripts and styles are allowed by their hashes, connections to the service alone.
    """
    text = files("crossl.service").joinpath("live.html").read_text(encoding="utf-8")
    hashes: dict[str, list[str]] = {"script": [], "style": []}
    for kind, body in BLOCK.findall(text):
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        hashes[kind].append(f"'sha256-{digest}'")
    policy = (
        "default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; "
        f"form-action 'none'; frame-ancestors 'none'; script-src {' '.join(hashes['script'])}; "
        f"style-src {' '.join(hashes['style'])}"
    )
    return text.encode(), policy
