"""`crossl distil`: what a run of all sensors says, into a run of one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossl.api.run import load_run
from crossl.commands.distil import TURNED, distil_run
from crossl.commands.pretrain import pretrain_run
from crossl.config import load_config
from crossl.data.contract import StoreView
from crossl.data.store import Store
from crossl.embedding.teacher import FILE, HEAD
from tests.cli.conftest import TINY, make_store

Crossl = Callable[..., Any]
Stores = Callable[..., Path]


def weights(run: Path) -> bytes:
    return (run / "weights.safetensors").read_bytes()


@pytest.fixture(scope="module")
def student(trained: Path, stores: Stores, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student of the accelerometer; copy it before changing it."""
    out = tmp_path_factory.mktemp("students") / "watch"
    distil_run(trained, stores(), out, keep=["acc"], overrides=["encoder.width=4"])
    return out


def test_a_student_is_a_run_like_any_other(
    trained: Path, stores: Stores, crossl: Crossl, tmp_path: Path
) -> None:
    out, store = tmp_path / "watch", stores()
    asked = ("distil", trained, "--store", store, "--keep", "acc", "--out", out)
    done = crossl(*asked, "--loss", "queue", "--loss", "cosine", "--paired", "0.5")
    assert done.code == 0, done.err
    first = done.out
    begun = json.loads((out / "experiment.json").read_text(encoding="utf-8"))
    assert begun["command"].endswith("--loss queue --loss cosine --paired 0.5")
    assert "for each of 30 windows (of 60)" in first
    facts = json.loads((out / "model.json").read_text(encoding="utf-8"))
    assert [m["name"] for m in facts["modalities"]] == ["acc"]
    teacher = json.loads((trained / "model.json").read_text(encoding="utf-8"))
    assert facts["teacher"]["sha256"] == teacher["sha256"]
    assert (facts["teacher"]["paired"], facts["teacher"]["modalities"]) == (30, ["acc", "ecg"])
    assert facts["subjects"] == teacher["subjects"]
    assert not (out / FILE).exists()
    assert not (out / HEAD).exists()
    for verb in (
        ("probe", out, "--store", store, "--label-fraction", "0.5"),
        ("evaluate", out, "--store", store),
        ("embed", out, "--store", store, "--out", tmp_path / "z.npz"),
        ("predict", out, store, "--out", tmp_path / "lines", "--format", "csv"),
    ):
        done = crossl(*verb)
        assert done.code == 0, done.err
    with np.load(tmp_path / "z.npz") as archive:
        assert archive["modalities"].tolist() == ["acc"]
        assert np.isfinite(archive["embedding"]).all()
    again = crossl(*asked, "--loss", "queue", "--loss", "cosine", "--paired", "0.5")
    assert (again.code, again.out) == (0, first)


def test_a_student_that_was_interrupted_ends_with_the_same_bytes(
    trained: Path, stores: Stores, tmp_path: Path
) -> None:
    given: dict[str, Any] = {
        "keep": ["acc"],
        "overrides": ["schedule.steps=6", "method.losses=[queue, info_nce]"],
    }
    distil_run(trained, stores(), tmp_path / "whole", **given)
    told = []

    def stop(what: str, share: float) -> None:
        told.append((what, share))
        if len(told) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distil_run(trained, stores(), tmp_path / "cut", **given, progress=stop)
    kept = tmp_path / "cut" / FILE
    stamp = kept.stat().st_mtime_ns
    told.clear()
    seen = []
    distil_run(trained, stores(), tmp_path / "cut", **given,
               progress=lambda *_: seen.append(kept.stat().st_mtime_ns))  # fmt: skip
    assert set(seen) == {stamp}  # the teacher was asked once
    assert len(seen) == 6  # the first line, and five epochs of six
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


def test_no_label_is_read(
    trained: Path, stores: Stores, student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a label was read")

    for kind in (Store, StoreView):
        monkeypatch.setattr(kind, "label", property(refuse))
        monkeypatch.setattr(kind, "target_values", refuse)
    out = tmp_path / "blind"
    distil_run(trained, stores(), out, keep=["acc"], overrides=["encoder.width=4"])
    assert weights(out) == weights(student)


def test_what_test_people_recorded_changes_nothing(
    trained: Path, stores: Stores, student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.open(stores())
    tested = np.isin(store.subject, load_run(trained).contract["subjects"]["test"])
    gather = Store._gather_modality

    def refuse(self: Store, column: int, rows: np.ndarray) -> np.ndarray:
        assert not tested[rows].any()
        return gather(self, column, rows)

    monkeypatch.setattr(Store, "_gather_modality", refuse)
    out = tmp_path / "fair"
    distil_run(trained, stores(), out, keep=["acc"], overrides=["encoder.width=4"])
    assert weights(out) == weights(student)


def test_a_file_of_embeddings_teaches_by_recording_and_time(
    trained: Path, stores: Stores, crossl: Crossl, tmp_path: Path
) -> None:
    file = tmp_path / "teacher.npz"
    assert crossl("embed", trained, "--store", stores(), "--out", file).code == 0
    with np.load(file) as archive:
        held = {name: archive[name] for name in ("subject", "session", "start_s", "embedding")}
    kept = np.random.default_rng(0).permutation(len(held["start_s"]))[:100]
    held = {name: x[kept] for name, x in held.items()}
    held["start_s"] = held["start_s"] + 0.3  # below half a stride
    np.savez(file, **held)
    out = tmp_path / "watch"
    asked = ("distil", trained, "--store", stores(), "--out", out, "--keep", "acc,ecg")
    done = crossl(*asked, "--teacher", file)
    assert done.code == 0, done.err
    facts = load_run(out).contract
    store = Store.open(stores())
    train = np.flatnonzero(np.isin(store.subject, facts["subjects"]["train"]))
    assert facts["teacher"]["paired"] == np.isin(kept, train).sum()
    assert (facts["teacher"]["file"], facts["teacher"]["modalities"]) == (file.name, None)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--keep", "acx"), "--keep: got 'acx'; did you mean 'acc'?"),
        (("--keep", ","), "--keep: names no sensor; the run has acc, ecg"),
        (("--keep", "acc", "--paired", "0"), "method.paired"),
        (("--keep", "acc", "--loss", "mse"), "method.losses.0"),
        (("--keep", "acc", "--paired", "0.001"), "teacher: 0 of 60 training windows would have"),
        (("--keep", "acc", "--set", "method.keep=[ecg]"), "the command says that itself"),
        (("--keep", "acc", "--teacher", "none.npz"), "none.npz: does not exist"),
    ],
)
def test_nonsense_is_refused_in_one_sentence(
    options: tuple[str, ...], told: str, trained: Path, stores: Stores, crossl: Crossl,
    tmp_path: Path,
) -> None:  # fmt: skip
    out = tmp_path / "watch"
    done = crossl("distil", trained, "--store", stores(), "--out", out, *options)
    assert (done.code, done.err.count("\n")) == (2, 1), done
    assert told in done.err
    assert not out.exists()


def test_another_store_and_another_student_are_refused(
    trained: Path, stores: Stores, student: Path, crossl: Crossl, tmp_path: Path
) -> None:
    other = make_store(tmp_path / "other", prefix="T")
    asked = ("distil", trained, "--keep", "acc")
    done = crossl(*asked, "--store", other, "--out", tmp_path / "watch")
    assert done.code == 2
    assert "is not the store that" in done.err
    for out in (trained, shutil.copytree(student, tmp_path / "copy")):
        before = weights(out)
        done = crossl(*asked, "--store", stores(), "--out", out, "--seed", 7)
        assert done.code == 2, out
        assert "name a new folder" in done.err
        assert weights(out) == before


def test_pretrain_says_who_distils(stores: Stores, crossl: Crossl, tmp_path: Path) -> None:
    done = crossl("pretrain", stores(), "--out", tmp_path / "run", "--set", "method.kind=distil")
    assert done.code == 2
    assert "use `crossl distil`" in done.err
    assert not (tmp_path / "run").exists()


def test_the_settings_of_a_student_are_its_teachers(
    trained: Path, stores: Stores, student: Path, tmp_path: Path
) -> None:
    teacher, own = load_run(trained).config, load_run(student).config
    assert own.schedule.model_copy(update={"damage": None}) == teacher.schedule
    assert own.schedule.damage == TURNED
    assert own.method.usual is None  # type: ignore[attr-defined]
    given = ["method.paired=0.5", "schedule.damage=null"]
    distil_run(trained, stores(), tmp_path / "few", keep=["acc"], overrides=given)
    few = load_run(tmp_path / "few").config
    assert few.schedule == teacher.schedule
    assert few.method.usual == teacher.method  # type: ignore[attr-defined]
    assert own.encoder.width == 4  # type: ignore[attr-defined]
    assert own != load_config()


def test_untrained_features_beside_an_embedding_are_not_taught(
    stores: Stores, tmp_path: Path
) -> None:
    config = load_config(overrides=[*TINY, "features={}"])
    pretrain_run(stores(), config, tmp_path / "run")
    run = load_run(tmp_path / "run")
    done = distil_run(tmp_path / "run", stores(), tmp_path / "watch", keep=["acc"])
    assert done.dim == run.model.embedding_dim < run.model.whole_dim
    student = load_run(tmp_path / "watch")
    assert student.model.features is not None
    assert student.embed(Store.open(stores())).shape[1] == student.model.whole_dim
