"""`crossl serve` as a user starts it, and as a terminal or a scheduler ends it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.service.conftest import as_json, recording


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly_while_all_is_in_use(folder: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "crossl.cli.start", "serve", str(folder / "run"),
               "--store", str(folder / "store"), "--port", "0"]  # fmt: skip
    environment = {**os.environ, "CROSSL_TOKEN": "a-token-of-28-letters-or-so."}
    process = subprocess.Popen(command, env=environment, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://(127\.0\.0\.1:\d+)/; it asks for the token", line)
        assert found is not None, line
        shown = {"authorization": "Bearer a-token-of-28-letters-or-so."}
        assert httpx.get(f"http://{found[1]}/contract").status_code == 401
        answer = httpx.post(f"http://{found[1]}/predict", json=as_json(recording(4)),
                            headers=shown, timeout=60)  # fmt: skip
        assert answer.status_code == 200
        with (
            connect(f"ws://{found[1]}/ws", additional_headers=shown) as sender,
            connect(f"ws://{found[1]}/watch", additional_headers=shown) as page,
        ):
            sender.send('{"ignore": []}')
            assert json.loads(sender.recv(timeout=30)) == {"rows": []}
            assert len(json.loads(page.recv(timeout=30))["hello"]["map"]["points"]) == 57
            process.send_signal(number)
            for link in (sender, page):
                with pytest.raises(ConnectionClosed, match="1012"):  # the service goes
                    link.recv(timeout=30)
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0
        assert err == "computing the map of training windows; this takes some seconds\n"
        assert out.endswith("stopped\n")
    finally:
        process.kill()
        process.communicate()
