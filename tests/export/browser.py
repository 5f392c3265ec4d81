"""A page in headless Chromium, by the browser's own protocol."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PLACES = ("chromium", "chromium-browser", "google-chrome")


class Page:
    """One page.

    Args:
        socket: to the browser.
    """

    def __init__(self, socket: Any) -> None:
        self._socket, self._numbers = socket, itertools.count(1)
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, **values: Any) -> dict[str, Any]:
        """Ask the browser for something."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": values}))
        while True:
            told = json.loads(self._socket.recv(timeout=60))
            if told.get("id") == number:
                assert "error" not in told, told
                found: dict[str, Any] = told["result"]
                return found
            self.events.append(told)

    def ask(self, expression: str) -> Any:
        """Evaluate JavaScript."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True)
        return found["result"].get("value")

    def wait(self, expression: str, *, seconds: float = 90) -> Any:
        """Wait until an expression is true."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found = self.ask(expression)
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"{expression} never was true: {self.ask('document.body.innerText')}")

    def picture(self, path: Path) -> None:
        """Save what the page looks like."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


@contextmanager
def opened(page: Path, folder: Path, *, size: str = "1200,900") -> Iterator[Page]:
    """Open a file in Chromium, or skip where there is none."""
    sync = pytest.importorskip("websockets.sync.client")
    place = next(filter(None, map(shutil.which, PLACES)), None)
    if place is None:
        pytest.skip("Chromium is not here")
    command = [
        place, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
        "--remote-debugging-port=0", f"--user-data-dir={folder}", f"--window-size={size}",
        "--disable-background-timer-throttling", "--disable-renderer-backgrounding",
        "--disable-backgrounding-occluded-windows", "--host-resolver-rules=MAP * ~NOTFOUND",
        "about:blank",
    ]  # fmt: skip
    browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        told = folder / "DevToolsActivePort"
        until = time.monotonic() + 60
        while not (told.is_file() and told.read_text().count("\n")) and time.monotonic() < until:
            time.sleep(0.05)
        port = told.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
            target = next(one for one in json.load(answer) if one["type"] == "page")
        with sync.connect(target["webSocketDebuggerUrl"], max_size=2**27) as socket:
            found = Page(socket)
            found.call("Runtime.enable")
            found.call("Network.enable")
            found.call("Page.enable")
            found.call("Page.navigate", url=page.as_uri())
            yield found
    finally:
        browser.terminate()
        browser.wait(timeout=30)
