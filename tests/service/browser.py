"""Chromium without a window, told what to do through its own DevTools protocol."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def chromium() -> str:
    """Find the browser, or skip."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no browser is here (looked for {', '.join(NAMES)})")
    return found


class Tab:
    """One tab."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = count(1)
        self.said: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Accessibility"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call the browser; what it says of errors meanwhile is kept."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            told = json.loads(self._socket.recv(timeout=60))
            if told.get("method") == "Runtime.exceptionThrown":
                self.said.append(json.dumps(told["params"]["exceptionDetails"])[:500])
            if (
                told.get("method") == "Log.entryAdded"
                and told["params"]["entry"]["level"] == "error"
            ):
                self.said.append(str(told["params"]["entry"]))
            if told.get("id") == number:
                assert "error" not in told, told
                return dict(told["result"])

    def run(self, script: str) -> Any:
        """Evaluate JavaScript."""
        done = self.call("Runtime.evaluate", expression=script, returnByValue=True,
                         awaitPromise=True)  # fmt: skip
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def until(self, script: str, seconds: float = 40.0) -> Any:
        """Wait until JavaScript says something true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if value := self.run(
                f"(() => {{ try {{ return {script} }} catch {{ return null }} }})()"
            ):
                return value
            time.sleep(0.1)
        raise AssertionError(f"{script} was not true after {seconds} s; {self.said}")

    def size(self, width: int, height: int, *, dark: bool = False) -> None:
        """Be a screen."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=2, mobile=width < 600)  # fmt: skip
        value = "dark" if dark else "light"
        self.call("Emulation.setEmulatedMedia",
                  features=[{"name": "prefers-color-scheme", "value": value}])  # fmt: skip

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """Keep what is seen."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def key(self, name: str, code: int, letter: str = "") -> None:
        """Press a key."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, text=letter,
                      windowsVirtualKeyCode=code)  # fmt: skip


@contextmanager
def browsing(folder: Path) -> Iterator[Callable[[str], Tab]]:
    """Start the browser; yield what opens an address."""
    command = [
        chromium(), "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
        "--remote-debugging-port=0", "--remote-allow-origins=*", "--no-first-run",
        f"--user-data-dir={folder}", "about:blank",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    open_links = ExitStack()
    try:
        told = folder / "DevToolsActivePort"
        end = time.monotonic() + 60
        while not (told.is_file() and told.read_text().count("\n")):
            assert time.monotonic() < end, "the browser did not start"
            time.sleep(0.1)
        port = told.read_text().split("\n")[0]

        def open_tab(address: str) -> Tab:
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/json/new?about:blank", method="PUT"
            )
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - ours
                link = connect(json.load(answer)["webSocketDebuggerUrl"], max_size=2**26)
            tab = Tab(open_links.enter_context(link))
            tab.call("Page.navigate", url=address)
            return tab

        yield open_tab
    finally:
        open_links.close()
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
