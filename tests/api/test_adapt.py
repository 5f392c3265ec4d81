"""`crossl adapt`: a run for one person, from recordings and labels of that person."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import crossl
from crossl.cli.main import app
from crossl.commands.adapt import Adapting, adapt_run
from crossl.data.store import Store
from crossl.data.write import write_store
from crossl.errors import ConfigError, ContractError, DataError, FormatError, SplitError
from crossl.files import file_sha256, read_json

from .conftest import ACC, CLASSES, ECG, recording


@pytest.fixture(scope="module")
def person(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of somebody new, dated."""
    one = replace(recording(11), subject="ann", origin_unix_s=1717236000.0, zone="Europe/Madrid")
    out = tmp_path_factory.mktemp("person") / "ann"
    write_store([one], out, modalities=(ACC, ECG), classes=CLASSES, spec=store.spec, about={})
    return out


def asked(tmp_path: Path, text: str, **options: object) -> Adapting:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    return Adapting(path, **options)  # type: ignore[arg-type]


LABELS = "start,end,label\n0,10,rest\n20,30,run\n"


def test_a_run_is_made_for_one_person(
    trained: Path, store: Store, person: Path, tmp_path: Path
) -> None:
    notes: list[str] = []
    done = adapt_run(trained, [person], tmp_path / "ann", store_path=store.path,
                     asked=asked(tmp_path, LABELS, share=0.5), note=notes.append)  # fmt: skip
    assert (done.subject, done.windows, done.share) == ("ann", {"rest": 5, "run": 5}, 0.5)
    assert done.minutes == pytest.approx(20 / 60)
    assert done.people >= 1
    run, old = crossl.load_run(tmp_path / "ann"), crossl.load_run(trained)
    for name in ("weights.safetensors", "model.json", "config.yaml"):
        assert file_sha256(tmp_path / "ann" / name) == file_sha256(trained / name)
    assert run.classes == old.classes
    x = Store.open(person)
    assert not np.allclose(run.predict_proba(x), old.predict_proba(x))
    kept = read_json(tmp_path / "ann/probe.json", cure="")
    assert kept["adapted"]["subject"] == "ann"
    assert kept["learned_before"] == ["ann"]
    assert kept["label_fraction"] == 0.5
    assert "temperatures" in kept
    assert "usable" in kept
    line = run.timeline(recording(12))
    assert (line["label"] != "").all()
    # nobody is tested by a classifier that learned from that person
    done_again = CliRunner().invoke(
        app, ["evaluate", str(tmp_path / "ann"), "--store", str(person)]
    )
    assert isinstance(done_again.exception, SplitError)


def test_validation_people_choose_the_share_and_labels_may_be_in_the_recordings(
    trained: Path, store: Store, person: Path, tmp_path: Path
) -> None:
    notes: list[str] = []
    done = adapt_run(trained, [person], tmp_path / "ann", store_path=store.path,
                     asked=Adapting(), note=notes.append)  # fmt: skip
    assert sum(done.windows.values()) == 20
    assert done.gain >= 0
    assert bool(notes) == (done.share == 0)


def test_dates_and_sessions_of_labels_are_understood(
    trained: Path, store: Store, person: Path, tmp_path: Path
) -> None:
    text = ("\ufeffStart;End;Label;session\n2024-06-01T12:00:00;2024-06-01T12:00:06;rest;only\n"
            "2024-06-01T10:00:04+00:00;2024-06-01T10:00:10+00:00;rest;only\n"
            "20;30;run;only\n1;2;run;other\n3;4;;only\n")  # fmt: skip
    done = adapt_run(trained, [person], tmp_path / "ann", store_path=store.path,
                     asked=asked(tmp_path, text, share=0.25))  # fmt: skip
    assert done.windows == {"rest": 5, "run": 5}


REFUSED = [
    ("begin,end,label\n0,1,rest\n", "has columns begin, end, label; start, end and label"),
    ("start,end,label\n0,10,swim\n", "line 2: label 'swim' is unknown .*it knows rest, run"),
    ("start,end,label\n5,5,rest\n", "line 2: ends at 5 and starts at 5; the end must come later"),
    ("start,end,label\nsoon,5,rest\n", "line 2: 'soon' is not a time; seconds or a date"),
    ("start,end,label\nnan,5,rest\n", "line 2: 'nan' is not a time"),
    ("start,end,label\n0,9,rest\n8,12,run\n", "line 3: 'run' begins before 'rest' ends"),
    ("start,end,label\n0,9,\n", "has no row with a label"),
    ("", "is empty; a CSV file"),
    ("start,end,label\n500,600,rest\n", "no window has a label .*labels.csv has none"),
    pytest.param(
        f"start,end,label\n0,5,{'r' * 140_000}\n",
        "labels.csv: line .: is not CSV",
        id="a cell of 140,000 letters",
    ),
]


@pytest.mark.parametrize(("text", "why"), REFUSED)
def test_labels_that_cannot_be_used_are_refused(
    trained: Path, store: Store, person: Path, tmp_path: Path, text: str, why: str
) -> None:
    with pytest.raises(DataError, match=why):
        adapt_run(trained, [person], tmp_path / "x", store_path=store.path,
                  asked=asked(tmp_path, text))  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["labels.csv"]


def test_what_does_not_fit_is_refused(
    trained: Path, store: Store, person: Path, tmp_path: Path
) -> None:
    def adapt(paths: list[Path], what: Adapting, **options: Path) -> None:
        adapt_run(options.get("run", trained), paths, options.get("out", tmp_path / "x"),
                  store_path=options.get("store", store.path), asked=what)  # fmt: skip

    good = asked(tmp_path, LABELS)
    with pytest.raises(DataError, match="exists already"):
        adapt([person], good, out=tmp_path)
    with pytest.raises(ConfigError, match="--share: got 1; a number from 0 to below 1"):
        adapt([person], replace(good, share=1.0))
    with pytest.raises(ContractError, match="is not the store that the classifier of"):
        adapt([person], good, store=person)
    with pytest.raises(DataError, match=r"recordings of 6 people .*name them by --subject"):
        adapt([store.path], Adapting())
    with pytest.raises(DataError, match=r"--subject: got 'eva'.*known are S0"):
        adapt([store.path], Adapting(subject="eva"))
    train = crossl.load_run(trained).contract["subjects"]["train"][0]
    with pytest.raises(SplitError, match=f"subject '{train}': the run learned from this person"):
        adapt([store.path], Adapting(subject=train))
    with pytest.raises(DataError, match="does not exist; a CSV file"):
        adapt([person], Adapting(tmp_path / "nowhere.csv"))
    old = tmp_path / "old"
    crossl.load_run(trained).save(old)
    head = json.loads((old / "probe.json").read_text())
    assert "seed" in head
    (old / "probe.json").unlink()
    with pytest.raises(FormatError, match="run `crossl probe`"):
        adapt([person], good, run=old)


def test_the_command_line_says_what_was_done(
    trained: Path, store: Store, person: Path, tmp_path: Path
) -> None:
    path = asked(tmp_path, LABELS).labels
    done = CliRunner().invoke(app, [
        "adapt", str(trained), str(person), "--labels", str(path), "--store", str(store.path),
        "--out", str(tmp_path / "ann"), "--share", "0.25",
    ])  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "for ann; 0.3 labelled minutes (rest 5, run 5 windows)" in done.stdout
    assert "share 0.25" in done.stdout
