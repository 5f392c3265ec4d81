"""Every command on tiny data, from store to report."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .conftest import without_progress

Crossl = Callable[..., Any]
COMMANDS = (
    "demo", "benchmark", "prepare", "inspect", "pretrain", "probe", "evaluate", "report", "embed",
    "predict", "adapt", "export", "distil", "card", "serve", "stream", "sweep",
)  # fmt: skip
COMMAND = (sys.executable, "-m", "crossl.cli.main")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def shell(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *(str(word) for word in words)],
        check=False, capture_output=True, text=True, env=ENVIRONMENT,
    )  # fmt: skip


@pytest.fixture(scope="session")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in recordings, few windows of them."""
    needs_seglearn()
    out = tmp_path_factory.mktemp("watch") / "store"
    done = shell("prepare", "seglearn_watch", "--out", out, "--stride-s", 20)
    assert done.returncode == 0, done.stderr
    assert without_progress(done.stderr) == ""
    return out


def needs_seglearn() -> None:
    try:
        version("seglearn")
    except PackageNotFoundError:
        pytest.skip("seglearn is not installed")


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.endswith(".partial")]


def test_help_lists_the_commands_and_imports_nothing_slow() -> None:
    code = (
        "import sys\nfrom crossl.cli.main import run\nsys.argv = ['crossl', '--help']\n"
        "try:\n    run()\nexcept SystemExit as end:\n    assert not end.code\n"
        "slow = {'torch', 'numpy', 'pydantic', 'sklearn'} & set(sys.modules)\n"
        "assert not slow, slow\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout


def test_help_of_a_command_imports_neither_torch_nor_ray() -> None:
    code = (
        "import sys\nfrom crossl.cli.main import run\nsys.argv = ['crossl', 'sweep', '--help']\n"
        "try:\n    run()\nexcept SystemExit as end:\n    assert not end.code\n"
        "slow = {'torch', 'numpy', 'ray', 'sklearn'} & set(sys.modules)\n"
        "assert not slow, slow\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--grid" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str, crossl: Crossl) -> None:
    done = crossl(name, "--help")
    assert done.code == 0
    assert f"Example: crossl {name}" in " ".join(done.out.split())


def test_every_command_is_listed_here() -> None:
    from crossl.cli.main import app

    assert [command.callback.__name__ for command in app.registered_commands] != []
    names = {command.callback.__name__ for command in app.registered_commands if command.callback}
    assert names == set(COMMANDS)


def test_the_version_is_shown(crossl: Crossl) -> None:
    import crossl as package

    done = crossl("--version")
    assert (done.code, done.out.strip()) == (0, f"crossl {package.__version__}")


def test_prepared_recordings_can_be_inspected(watch: Path) -> None:
    done = shell("inspect", watch, "--verify")
    assert done.returncode == 0
    assert "10 subjects" in done.stdout
    assert "watch_gyro" in done.stdout
    assert not leftovers(watch.parent)


def test_a_run_is_pretrained_probed_evaluated_reported_and_embeds(
    watch: Path, tmp_path: Path, crossl: Crossl, settings: Sequence[str]
) -> None:
    run = tmp_path / "run"
    done = crossl("pretrain", watch, "--out", run, *settings)
    assert done.code == 0
    assert f"next: crossl probe {run}" in done.out
    done = crossl("probe", run, "--store", watch, "--label-fraction", 0.5)
    assert done.code == 0
    found = re.search(r"macro-F1 ([\d.]+) \[([\d.]+), ([\d.]+)\]", done.out)
    assert found is not None, done.out
    score, low, high = map(float, found.groups())
    assert 0 <= low <= score <= high <= 1
    lost = "evaluation.damages=[{kind: gap, severity: 0.5}]"
    done = crossl("evaluate", run, "--store", watch, "--set", lost)
    assert done.code == 0
    rows = [json.loads(line) for line in (run / "results.jsonl").read_text().splitlines()]
    assert {row["damaged"][0] for row in rows if row.get("damage") == "gap"} == {
        "watch_acc", "watch_gyro"
    }  # fmt: skip
    alike = [r["value"] for r in rows if r["method"] == "crossl" and r["metric"] == "macro_f1"]
    assert any(abs(value - score) < 5e-4 for value in alike)
    done = crossl("report", run)
    assert done.code == 0
    assert f"{score:.3f}" in (run / "report.html").read_text(encoding="utf-8")
    done = crossl("embed", run, "--store", watch, "--out", tmp_path / "z.npz")
    assert done.code == 0
    with np.load(tmp_path / "z.npz") as z:
        n = len(z["embedding"])
        assert z["embedding"].shape == (n, 160)
        assert z["probability"].shape == (n, len(z["classes"]))
        np.testing.assert_allclose(z["probability"].sum(axis=1), 1, rtol=1e-5)
        np.testing.assert_array_equal(z["predicted"], z["classes"][z["probability"].argmax(axis=1)])
        for name in ("present", "subject", "session", "start_s"):
            assert len(z[name]) == n
    assert not leftovers(tmp_path)


@pytest.mark.slow
def test_a_demo_runs_and_started_again_is_done_at_once_with_the_same_results(
    watch: Path, tmp_path: Path, crossl: Crossl, settings: Sequence[str]
) -> None:
    from crossl.cli import experiment
    from crossl.commands.benchmark import run_experiment
    from crossl.config import load_config

    out = tmp_path / "demo"
    settings = [*settings, "--set", "evaluation.methods=[crossl,untrained]"]
    shutil.copytree(watch, out / "store")
    asked = ("demo", "--out", out, "--workers", 1, "--fold-count", 2, *settings)
    first = shell(*asked)
    assert first.returncode == 0, first.stderr
    assert without_progress(first.stderr) == ""
    assert "report: " in first.stdout
    assert "With all sensors, crossl is " in " ".join(first.stdout.split())
    results, weights = out / "results.jsonl", out / "fold-1" / "weights.safetensors"
    before = results.read_bytes(), results.stat().st_mtime_ns, weights.stat().st_mtime_ns
    again = crossl(*asked)
    assert again.code == 0
    assert "training" not in again.out
    assert (results.read_bytes(), results.stat().st_mtime_ns, weights.stat().st_mtime_ns) == before
    # what a fold has finished is not computed again, and what is lost is computed alike
    (out / "fold-0" / "scores-untrained.npz").unlink()
    config = load_config(overrides=[*experiment.QUICK, *settings[1::2]])
    run_experiment(out / "store", config, out, folds="0,1", workers=1)
    assert results.read_bytes() == before[0]
    assert weights.stat().st_mtime_ns == before[2]
    # fewer folds are another summary
    run_experiment(out / "store", config, out, folds="0", workers=1)
    assert json.loads((out / "summary.json").read_text())["folds_run"] == [0]
    assert not leftovers(out)


@pytest.mark.slow
def test_ctrl_c_while_pretraining_leaves_nothing_half_written_and_can_be_gone_on_with(
    stores: Callable[..., Path], tmp_path: Path, crossl: Crossl, settings: Sequence[str]
) -> None:
    asked = ("pretrain", stores(), *settings, "--set", "schedule.steps=30")
    words = [str(word) for word in (*asked, "--out", tmp_path / "cut")]
    # a shell's background jobs, CI among them, ignore Ctrl-C and pass that on
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    start = f"{listen}; from crossl.cli.main import run; run()"
    process = subprocess.Popen(
        [sys.executable, "-c", start, *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    metrics, patience = tmp_path / "cut" / "metrics.jsonl", time.monotonic() + 200
    while not (metrics.is_file() and metrics.read_bytes().count(b"\n") >= 2):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < patience
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=100)
    assert process.returncode == 130
    kept = f"work so far is kept in {tmp_path / 'cut'}"
    assert without_progress(told) == f"crossl: interrupted; {kept}, give the same command again\n"
    assert not (tmp_path / "cut" / "model.json").exists()
    assert not leftovers(tmp_path)
    assert crossl(*words).code == 0
    assert crossl(*asked, "--out", tmp_path / "whole").code == 0
    for name in ("weights.safetensors", "config.yaml", "metrics.jsonl"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_ctrl_c_in_any_command_ends_with_130_and_one_line(
    crossl: Crossl, stores: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crossl.cli import data

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(data, "_describe", interrupt)
    done = crossl("inspect", stores())
    assert done.code == 130
    assert done.err == "crossl: interrupted; nothing is half-written, give the same command again\n"


def test_a_finished_run_is_not_trained_again(
    run: Path, stores: Callable[..., Path], crossl: Crossl, settings: Sequence[str]
) -> None:
    before = (run / "weights.safetensors").stat().st_mtime_ns
    assert crossl("pretrain", stores(), "--out", run, *settings).code == 0
    assert (run / "weights.safetensors").stat().st_mtime_ns == before


def test_a_new_probe_makes_old_scores_void(
    run: Path, stores: Callable[..., Path], crossl: Crossl
) -> None:
    stale = run / "scores-crossl.npz"
    stale.write_bytes(b"")
    assert crossl("probe", run, "--store", stores(), "--head", "encoders").code == 0
    assert not stale.exists()
    assert json.loads((run / "probe.json").read_text())["head"] == "encoders"
    done = crossl("embed", run, "--store", stores(), "--out", run / "z.npz")
    assert done.code == 0


def test_a_subject_who_lacks_a_sensor_does_not_stop_an_evaluation(
    stores: Callable[..., Path], tmp_path: Path, crossl: Crossl, settings: Sequence[str]
) -> None:
    store = stores("lacking", subjects=5, lacking="ecg")
    only = ("--set", "evaluation.methods=[crossl,untrained]")
    for fold in range(5):
        run = tmp_path / f"run-{fold}"
        asked = ("pretrain", store, "--out", run, "--fold", fold, *settings, *only)
        assert crossl(*asked).code == 0
        if "S4" in json.loads((run / "model.json").read_text())["subjects"]["test"]:
            break
    else:
        pytest.fail("nobody tested S4")
    probed = crossl("probe", run, "--store", store, "--label-fraction", 0.5)
    assert "; labels of validation subjects chose its regularisation; `crossl eval" in probed.out
    (kept,) = re.findall(r"macro-F1 (\d\.\d+)", probed.out)
    done = crossl("evaluate", run, "--store", store)
    assert (done.code, done.err) == (0, "")
    people = len(json.loads((run / "model.json").read_text())["subjects"]["test"])
    whom = f"on the {people} test subject{'s' * (people > 1)} of fold {fold}"
    assert f"{whom}; no label of a validation subject was used\n" in done.out
    assert f"as in the classifier that `crossl probe` kept: {kept}\n" in done.out
    records = [json.loads(line) for line in (run / "results.jsonl").read_text().splitlines()]
    assert not [record for record in records if record["present"] == ["ecg"]]
    assert crossl("report", run).code == 0
    # scores are those of the classifier that is kept
    assert crossl("probe", run, "--store", store, "--label-fraction", 1).code == 0
    done = crossl("report", run)
    assert (done.code, "summary.json" in done.err) == (2, True)


def test_a_score_without_a_sensor_is_compared_with_that_of_the_same_people(
    stores: Callable[..., Path], tmp_path: Path, crossl: Crossl, settings: Sequence[str]
) -> None:
    from crossl.contenders.contender import latent_table
    from crossl.data.store import Store
    from crossl.run_folder import load_probe, load_run
    from crossl.tasks.confusion import macro_f1

    store = Store.open(stores("lacking-quiet", lacking="ecg", louder=1.3))
    for fold in range(2):
        run = tmp_path / f"run-{fold}"
        only = ("--set", "evaluation.methods=[crossl]", "--set", "evaluation.folds=2")
        assert (
            crossl("pretrain", store.path, "--out", run, "--fold", fold, *settings, *only).code == 0
        )
        tested = json.loads((run / "model.json").read_text())["subjects"]["test"]
        if "S5" in tested:
            break
    assert crossl("probe", run, "--store", store.path, "--label-fraction", 0.5).code == 0
    done = crossl("evaluate", run, "--store", store.path)
    assert "(n=2)" in done.out
    rows = np.flatnonzero(np.isin(store.subject, [one for one in tested if one != "S5"]))
    table, (probe, _) = latent_table(load_run(run).model, store, rows), load_probe(run)

    def score(*subset: int) -> float:
        counts = np.zeros((2, 2))
        np.add.at(counts, (table.label, probe.predict(table.embed("aggregator", subset))), 1)
        return float(macro_f1(counts))

    records = [json.loads(line) for line in (run / "results.jsonl").read_text().splitlines()]
    found = {(r["metric"], *r["present"]): r for r in records if r["fold"] is None}
    for column, name in enumerate(("acc", "ecg")):
        assert found["macro_f1", name]["n"] == found["macro_f1_kept", name]["n"] == 2
        np.testing.assert_allclose(found["macro_f1", name]["value"], score(column))
        np.testing.assert_allclose(found["macro_f1_with_all", name]["value"], score(0, 1))
        kept = score(column) / score(0, 1)
        np.testing.assert_allclose(found["macro_f1_kept", name]["value"], kept)
    assert found["macro_f1", "acc", "ecg"]["n"] == 3


def test_quick_settings_of_the_demo_give_way_to_a_run_file(
    tmp_path: Path, crossl: Crossl, monkeypatch: pytest.MonkeyPatch, stores: Callable[..., Path]
) -> None:
    from crossl.cli import experiment
    from crossl.commands import benchmark
    from crossl.config import load_config

    asked: list[Any] = []
    monkeypatch.setattr(benchmark, "run_experiment", lambda *a, **_: asked.append(a[1]))
    monkeypatch.setattr(experiment, "make_demo_store", lambda *_: None)
    monkeypatch.setattr(experiment, "report", lambda *_: None)
    (tmp_path / "run.yaml").write_text("schedule: {steps: 7}\n")
    assert crossl("demo", "--out", tmp_path, "--config", tmp_path / "run.yaml").code == 0
    assert crossl("demo", "--out", tmp_path).code == 0
    given, quick = asked
    assert given == load_config(overrides=["schedule.steps=7"])
    assert quick == load_config(overrides=experiment.QUICK)
    assert quick != load_config()
    # only label draws are fewer: who reads the report reads what the default recipe does
    assert quick.model_copy(update={"evaluation": None}) == load_config().model_copy(
        update={"evaluation": None}
    )


def test_the_protocol_runs_on_a_prepared_store(
    stores: Callable[..., Path], tmp_path: Path, crossl: Crossl, settings: Sequence[str]
) -> None:
    out, only = tmp_path / "results", ("--set", "evaluation.methods=[crossl,supervised]")
    asked = ("benchmark", stores(), "--out", out, "--seed", 3, "--workers", 1, *settings, *only)
    done = crossl(*asked, "--fold-numbers", "1,4")
    assert done.code == 0, done.err
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["folds_run"], summary["n_folds"], summary["seed"]) == ([1, 4], 5, 3)
    assert summary["command"].startswith(f"crossl benchmark {stores()} --out {out} --seed 3")
    assert (
        summary["hashes"]["store"] == json.loads((stores() / "manifest.json").read_text())["sha256"]
    )
    assert (out / "report.html").stat().st_size > 10_000
    assert not (out / "store").exists()
    assert "crossl, 1 sensor missing" in done.out
    assert "Only 2 of 5 folds were run" in done.out
    assert not leftovers(out)


def test_progress_without_a_terminal_is_a_line_every_few_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from crossl.cli import show

    monkeypatch.setattr(show, "EVERY_S", 0.02)
    with show.progress("demo") as tell:
        tell("fold 0: pretraining", 0.25)
        tell("fold 1: done", 1.0)
        deadline, told = time.monotonic() + 20, ""
        while told.count("demo: fold 0: pretraining, 25% (0 s)\n") < 2:
            told += capsys.readouterr().err
            assert time.monotonic() < deadline
            time.sleep(0.01)
    capsys.readouterr()
    time.sleep(0.05)
    assert capsys.readouterr() == ("", "")


LONG = ("demo", "benchmark", "prepare", "pretrain", "probe", "evaluate", "embed", "sweep", "fetch",
        "doctor", "report", "init", "inspect")  # fmt: skip


@pytest.mark.parametrize("name", LONG)
def test_every_long_verb_shows_progress(name: str) -> None:
    import inspect

    from crossl.cli import data, datasets, experiment, sweep, train

    inner = {"demo": experiment._run_protocol, "benchmark": experiment._run_protocol,
             "prepare": data.make_store, "sweep": sweep.sweep, "fetch": datasets.fetch,
             "doctor": datasets._diagnose, "report": experiment.report, "init": datasets.init,
             "inspect": data._describe}  # fmt: skip
    verb = inner[name] if name in inner else getattr(train, name)
    assert "show.progress(" in inspect.getsource(verb)
