"""A page that runs the exported model in a browser."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import shutil

import numpy as np
import pytest
import torch

from crossl.commands.export import Wanted, export_run
from crossl.errors import ConfigError, PackageError
from crossl.export import web as module
from crossl.export.graph import ExportedGraph, Reading
from crossl.export.page import page_of, rows_to_replay
from crossl.export.web import FILES, Web, open_web
from crossl.run_folder import load_probe, load_run
from crossl.runtime import Runtime

from .browser import opened
from .test_readme_programs import node_modules

pytest.importorskip("onnx")


def block(page, name):
    found = re.search(rf'<script [^>]*id="{name}">(.*?)</script>', page, re.S)
    assert found is not None
    return found[1]


def test_a_page_holds_model_recording_and_runtime(published, store):
    run = load_run(published)
    reading = Reading(load_probe(published)[0])
    graph = ExportedGraph(run.model, reading, (0, 1)).eval()

    def in_torch(signals, present):
        with torch.inference_mode():
            found = graph({n: torch.from_numpy(x) for n, x in signals.items()},
                          torch.from_numpy(present))  # fmt: skip
        return {name: x.numpy() for name, x in zip(graph.outputs, found, strict=True)}

    rows = rows_to_replay(store, run.contract["subjects"])
    assert set(store.subject[rows]) <= set(run.contract["subjects"]["test"])
    assert len(set(store.label[rows].tolist()) - {-1}) == 2
    contract = {"crossl": "0", "data_licence": "</p><script>", "int8": None,
                "run": {"dataset": "@WASM@</script>"}, "parity": {"by_rounding": None}}  # fmt: skip
    web = Web("let a = '</script>';", b"loader", b"compiled", "1.0")
    page = page_of(b"a model", graph, reading, contract, store=store, rows=rows, run=in_torch,
                   web=web)  # fmt: skip
    facts = json.loads(block(page, "facts"))
    assert facts["names"] == ["rest", "run"]
    assert [one["name"] for one in facts["sensors"]] == ["acc", "ecg"]
    assert facts["present"] == store.present[rows].tolist()
    assert {tuple(one["plugged"]) for one in facts["expected"]} == {
        (True, True), (True, False), (False, True)}  # fmt: skip
    largest = max(x for one in facts["expected"] for x in one["numbers"])
    assert facts["within"] == pytest.approx(1e-4 * largest)
    assert not any(one["by_rounding"] for one in facts["expected"])
    for name, wanted in (("model", b"a model"), ("wasm", b"compiled"), ("loader", b"loader")):
        assert gzip.decompress(base64.b64decode(block(page, name))) == wanted
    samples = np.frombuffer(gzip.decompress(base64.b64decode(block(page, "signals"))), "<f4")
    acc = store.gather_zeroed(rows)["acc"]
    assert np.array_equal(samples[: acc.size], acc.ravel())
    assert "A classifier of @WASM@&lt;/script&gt;" in page
    assert page.count("</script>") == 7
    assert "http" not in re.sub(r'http-equiv="Content', "", page)


@pytest.mark.parametrize("share", [None, 0.0])
def test_a_page_excuses_the_windows_that_the_command_excuses(published, store, share):
    """Of which rounding of the samples decides, in runs with untrained features."""
    run = load_run(published)
    reading = Reading(load_probe(published)[0])
    graph = ExportedGraph(run.model, reading, (0, 1)).eval()
    rows = rows_to_replay(store, run.contract["subjects"])
    edge = store.gather_zeroed(rows)["acc"][:, 0, 0]

    def decides(signals, present):
        """Say of every second window on which side of a level a sample lies that is on it."""
        window = np.abs(signals["acc"][:, :1, 0] - edge).argmin(axis=1)
        up = (signals["acc"][:, 0, 0] > edge[window]) & (window % 2 == 0) & present[:, 0]
        return {"probabilities": np.column_stack([up, ~up]).astype(np.float32)}

    contract = {"crossl": "0", "data_licence": "", "int8": None, "run": {"dataset": ""},
                "parity": {"by_rounding": share}}  # fmt: skip
    page = page_of(b"", graph, reading, contract, store=store, rows=rows, run=decides,
                   web=Web("", b"", b"", "1.0"))  # fmt: skip
    facts = json.loads(block(page, "facts"))
    marked = [one["by_rounding"] for one in facts["expected"]]
    wanted = [one["window"] % 2 == 0 and one["plugged"][0] for one in facts["expected"]]
    assert marked == [share is not None and one for one in wanted]
    assert 0 < sum(wanted) < len(wanted)
    assert facts["flipped"] == 0.25


def test_what_a_page_cannot_be_made_of_is_refused(published, store, tmp_path, monkeypatch):
    run = shutil.copytree(published, tmp_path / "run")
    page, out = tmp_path / "demo.html", tmp_path / "m.onnx"
    with pytest.raises(ConfigError, match="--page: replays a recording; give a store by --store"):
        export_run(run, out, wanted=Wanted(page=page))
    with pytest.raises(ConfigError, match=r"--page: got 'demo.txt'; a name that ends in .html"):
        export_run(run, out, wanted=Wanted(page=tmp_path / "demo.txt"))
    with pytest.raises(ConfigError, match=r"--web: .* has no package.json; give the folder of"):
        export_run(run, out, wanted=Wanted(page=page, web=tmp_path, store=store.path))
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(PackageError, match=r"npm is not installed; npm install onnxruntime-web@"):
        export_run(run, out, wanted=Wanted(page=page, store=store.path))
    (run / "probe.json").unlink()
    with pytest.raises(ConfigError, match="--page: shows classes, and the run has no classifier"):
        export_run(run, out, wanted=Wanted(page=page, store=store.path))
    assert not page.exists()
    assert not out.exists()


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """A stand-in for npm, which packs a small package and notes what it was asked."""
    made = tmp_path / "npm"
    (made / "package" / "dist").mkdir(parents=True)
    (made / "package" / "package.json").write_text('{"version": "1.22.0"}')
    for name in FILES:
        (made / "package" / "dist" / name).write_text(name)
    npm = made / "npm"
    npm.write_text(
        "#!/bin/sh\n"
        f'echo "$@" >> {made}/asked\n'
        'while [ "$1" != "--pack-destination" ]; do shift; done\n'
        f'tar czf "$2/onnxruntime-web.tgz" -C {made} package\n'
    )
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{made}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return npm


@pytest.fixture
def cached(tmp_path):
    return tmp_path / "cache" / "crossl" / "onnxruntime-web-1.22.0"


def test_the_runtime_is_fetched_once_and_whole(tmp_path, npm):
    for _ in range(2):
        found = open_web(None)
        assert (found.script, found.version) == ("ort.wasm.min.js", "1.22.0")
        assert found.wasm == b"ort-wasm-simd-threaded.wasm"
    asked = (npm.parent / "asked").read_text().splitlines()
    assert len(asked) == 1
    assert asked[0].startswith("pack onnxruntime-web@1.22.0")
    npm.write_text("#!/bin/sh\necho 'no network' >&2\nexit 1\n")
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(PackageError, match=r"npm cannot fetch 'onnxruntime-web' \(no network\)"):
        open_web(None)
    npm.write_text("#!/bin/sh\n")
    with pytest.raises(PackageError, match=r"npm cannot fetch .* \(it is not whole\)"):
        open_web(None)
    assert list((tmp_path / "cache" / "crossl").iterdir()) == []


def test_another_process_that_fetched_the_runtime_meanwhile_is_no_fault(npm, cached):
    npm.write_text(f"{npm.read_text()}mkdir -p {cached}\ncp -r {npm.parent}/package/* {cached}\n")
    assert open_web(None).script == "ort.wasm.min.js"
    assert [one.name for one in cached.parent.iterdir()] == [cached.name]


@pytest.mark.parametrize("told", [None, "{", "[]", "{}"])
def test_a_kept_runtime_that_is_not_whole_is_fetched_anew(npm, cached, told):
    open_web(None)
    if told is None:
        (cached / "package.json").unlink()
    else:
        (cached / "package.json").write_text(told)
    assert open_web(None).version == "1.22.0"
    (cached / "dist" / FILES[0]).unlink()
    assert open_web(None).script == "ort.wasm.min.js"
    assert len((npm.parent / "asked").read_text().splitlines()) == 3
    assert [one.name for one in cached.parent.iterdir()] == [cached.name]


def test_a_runtime_that_cannot_be_read_or_kept_is_refused_in_a_sentence(npm, tmp_path):
    (npm.parent / "package" / "package.json").write_text("{")
    with pytest.raises(ConfigError, match=r"--web: .* is damaged, its files cannot be read"):
        open_web(npm.parent / "package")
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(PackageError, match=r"cannot be kept in .* \(Not a directory\); npm inst"):
        open_web(None)


@pytest.mark.slow
def test_the_model_runs_in_a_browser_and_a_sensor_is_unplugged(
    exported, published, store, tmp_path, monkeypatch
):
    package = node_modules("onnxruntime-web") / "onnxruntime-web"
    page, out = tmp_path / "demo.html", tmp_path / "model.onnx"
    # the model itself is made already
    monkeypatch.setattr("crossl.commands.export.onnx_bytes",
                        lambda graph: exported.files[0].read_bytes())  # fmt: skip
    export_run(published, out, wanted=Wanted(page=page, web=package))
    rows = rows_to_replay(store, load_run(published).contract["subjects"])
    with opened(page, tmp_path / "browser", size="390,800") as browser:
        browser.wait("document.body && document.body.dataset.state")
        assert browser.ask("document.body.dataset.state") == "running"
        assert float(browser.ask("document.body.dataset.difference")) < 1e-4
        browser.wait("Number(document.body.dataset.window) >= 2")
        browser.ask("document.getElementById('play').click()")
        browser.ask("document.getElementById('sensor1').click()")
        browser.wait("document.body.dataset.plugged === '10'")
        assert browser.ask("document.getElementById('sensor1').ariaPressed") == "false"
        row = rows[int(browser.ask("document.body.dataset.window"))]
        said = Runtime(out)({"acc": store.gather_zeroed(np.array([row]))["acc"]})
        assert browser.ask("document.getElementById('label').textContent") == said.label[0]
        sure = float(browser.ask("document.body.dataset.sure"))
        assert sure == pytest.approx(said.probabilities.max(), abs=1e-4)
        browser.ask("document.getElementById('sensor0').click()")
        browser.wait("document.body.dataset.plugged === '00'")
        assert browser.ask("document.getElementById('label').textContent") == "no sensor"
        # nothing is wider than a phone, and nothing was asked of the network
        assert browser.ask("document.documentElement.scrollWidth <= window.innerWidth")
        asked = [one["params"]["request"]["url"] for one in browser.events
                 if one["method"] == "Network.requestWillBeSent"]  # fmt: skip
        assert {url.split(":")[0] for url in asked} <= {"file", "blob"}
        failed = [one for one in browser.events if one["method"] == "Runtime.exceptionThrown"]
        assert failed == []
