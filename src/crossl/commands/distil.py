"""`crossl distil`: a run's knowledge of all sensors, into a run of some of them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crossl.config import RunConfig, build_method, build_model, with_overrides
from crossl.data.contract import fit_store
from crossl.data.damaged import TrainingDamage
from crossl.data.recording import Modality
from crossl.data.splits import Fold, fold_from_subjects
from crossl.data.store import Store
from crossl.embedding.teacher import (
    Lesson,
    draw_pairs,
    embed_as_teacher,
    forget_lesson,
    keep_lesson,
    kept_lesson,
    lesson_of,
)
from crossl.embedding.teacher_file import check_file, read_teacher
from crossl.errors import ConfigError, ContractError, counted, nearest
from crossl.experiment.fold import Progress, quiet
from crossl.files import file_sha256, working_in
from crossl.methods import CrosslMethodConfig, DistilConfig, DistilMethod
from crossl.nn.narrowed import begin_as
from crossl.run_folder import Run, begin, forgotten_if_refused, load_run, run_facts, save_run
from crossl.stored import learned_from
from crossl.train.pretrain import pretrain

logger = logging.getLogger(__name__)

TEACHERS_OWN = ("keep", "teacher", "teacher_dim")
"""Settings of the method that the command fills in."""


TURNED = TrainingDamage(share=1.0, gap=0.0, noise=0.3, rotation=45.0)
"""How a student's windows are changed, so that it does not learn its people by heart."""


@dataclass(frozen=True)
class Distilled:
    """What was done.

    Attributes:
        paired: training windows that had a teacher.
        windows: training windows.
        dim: width of the teacher's embeddings.
    """

    paired: int
    windows: int
    dim: int


@dataclass(frozen=True)
class _Class:
    """Teacher, student and windows."""

    run: Run
    store: Store
    seen: Store
    fold: Fold
    train: Any
    validation: Any
    teacher: Path | None

    @property
    def rows(self) -> Any:
        return np.union1d(self.train, self.validation)

    @property
    def sha256(self) -> str:
        """Name the teacher for good."""
        return (
            str(self.run.contract["sha256"]) if self.teacher is None else file_sha256(self.teacher)
        )

    def says(self) -> Any:
        """Return what the teacher says, (W, D), of training and validation windows."""
        if self.teacher is None:
            return embed_as_teacher(self.run, self.store, self.rows)
        return read_teacher(self.teacher, self.store)


def distil_run(
    run_path: Path,
    store_path: Path,
    out: Path,
    *,
    keep: Sequence[str],
    teacher: Path | None = None,
    overrides: Sequence[str] = (),
    command: str = "",
    progress: Progress = quiet,
) -> Distilled:
    """Train a student of some of a run's sensors into a run folder of its own.

    It learns on the run's training subjects, and no label is read. Given again, the same call
    resumes, to the bytes of a training that never stopped.

    Args:
        run_path: the run that teaches, and whose settings, people and sensors the student has.
        store_path: the store that it was trained on.
        out: the student's run folder.
        keep: names of the student's sensors.
        teacher: a file of embeddings, which teaches instead; see `read_teacher`.
        overrides: settings of the student, `key=value`; those of the method are `method.key`.
        command: how to remake it, for the run folder.
        progress: called with what is being done, and the share of all.

    Returns:
        How many windows had a teacher.

    Raises:
        ConfigError: unknown sensors or settings.
        ContractError: another store than the run's.
        DataError: too few windows, a file that teaches none, or `out` holds something else.
    """
    run, store = load_run(run_path), Store.open(store_path)
    lesson_room = _class_of(run, store, _kept(run, keep), teacher)
    if out.resolve() == run_path.resolve():
        raise ConfigError(f"--out: is {out}, the teacher; name a new folder for the student")
    config = _student(run, tuple(m.name for m in lesson_room.seen.modalities),
                      lesson_room.sha256, overrides, file=teacher is not None)  # fmt: skip
    with working_in(out, "is training in this folder"):
        if (out / "model.json").is_file():
            return _done(load_run(out), config, out)
        return _taught(lesson_room, config, out, command, progress)


def _kept(run: Run, keep: Sequence[str]) -> list[Modality]:
    """Return the modalities that a student has, in the order of its teacher."""
    known = {m.name: m for m in run.model.modalities}
    for name in keep:
        if name not in known:
            raise ConfigError(f"--keep: got '{name}'; {nearest(name, known)}")
    if not keep:
        raise ConfigError(f"--keep: names no sensor; the run has {', '.join(known)}")
    return [m for name, m in known.items() if name in keep]


def _class_of(
    run: Run, store: Store, modalities: Sequence[Modality], teacher: Path | None
) -> _Class:
    """Find the windows of training and validation subjects that the student sees."""
    told = run.contract.get("store_sha256", "arrays in memory")
    if teacher is not None:
        check_file(teacher)
    if told != store.hash:
        raise ContractError(
            f"{store.path}: is not the store that {run.path} was trained on ({told[:16]}, got "
            f"{store.hash[:16]}); a student learns on the people of its teacher"
        )
    if run.config.own_encoders:
        raise ConfigError(
            f"{run.path}: '{run.config.own_encoders[0]}' is encoded by a custom module, "
            "which no student can be built from"
        )
    seen = fit_store(
        store, modalities, window_s=run.model.window_s, calibration=run.calibration
    ).store
    fold = fold_from_subjects(store.subject, **run.contract["subjects"])
    some = np.asarray(seen.present.any(axis=1))
    train, validation = (rows[some[rows]] for rows in (fold.train, fold.validation))
    return _Class(run, store, seen, fold, train, validation, teacher)


def _student(
    run: Run, keep: tuple[str, ...], teacher: str, overrides: Sequence[str], *, file: bool
) -> RunConfig:
    """Return the settings of a student: its teacher's, but for what names other sensors."""
    for override in overrides:
        key = override.split("=")[0].strip()
        if key.removeprefix("method.") in TEACHERS_OWN or key == "method":
            raise ConfigError(
                f"--set {override}: the command says that itself; allowed are settings as "
                "method.temperature=0.07 and encoder.width=24"
            )
    old = run.config
    usual = _usual(old, keep)
    shared = tuple(
        group for group in (tuple(n for n in g if n in keep) for g in old.shared_encoders)
        if len(group) > 1
    )  # fmt: skip
    start = old.model_copy(update={
        "encoders": {n: e for n, e in old.encoders.items() if n in keep},
        "shared_encoders": shared,
        "frozen_encoders": tuple(n for n in old.frozen_encoders if n in keep),
        "contenders": {},
        "method": DistilConfig(keep=keep, teacher=teacher, usual=usual),
        "schedule": old.schedule.model_copy(update={"damage": old.schedule.damage or TURNED}),
    })  # fmt: skip
    found = with_overrides(start, overrides)
    asked = any(one.strip().startswith("method.usual") for one in overrides)
    assert isinstance(found.method, DistilConfig)  # noqa: S101 - overrides cannot change its kind
    if found.method.paired < 1 or file or asked:
        return found
    # every window has a teacher: none is left to the usual objective
    return found.model_copy(update={"method": found.method.model_copy(update={"usual": None})})


def _usual(config: RunConfig, keep: Collection[str]) -> CrosslMethodConfig | None:
    """Return the usual objective of a student: the run's own if that is the default method's."""
    usual = config.method if isinstance(config.method, CrosslMethodConfig) else CrosslMethodConfig()
    rates = {}
    for name in ("keep_rate", "final_keep_rate"):
        rate = getattr(usual, name)
        if isinstance(rate, dict):
            left = {n: r for n, r in rate.items() if n in keep}
            rates[name] = left or CrosslMethodConfig.model_fields[name].default
    usual = usual.model_copy(update=rates)
    return None if usual.refuses(config.aggregator) else usual


def _taught(
    room: _Class, config: RunConfig, out: Path, command: str, progress: Progress
) -> Distilled:
    """Train the student and keep it."""
    assert isinstance(config.method, DistilConfig)  # noqa: S101 - made here
    begin(room.store, config, out, command=command, fold=room.fold.index)
    with forgotten_if_refused(out):
        progress("teacher: embedding", 0.0)
        lesson = _lesson(room, config, out)
        told = with_dim(config, lesson.dim)
        model = build_model(config, room.seen.modalities, window_s=room.seen.window_s,
                            seed=config.seed)  # fmt: skip
        if config.method.start == "teacher":
            begin_as(model, room.run.model)
        method = build_method(told, model, seed=config.seed)
        assert isinstance(method, DistilMethod)  # noqa: S101 - what the config says
        method.remember(torch.from_numpy(np.array(lesson.targets[lesson.paired])))
        trained = pretrain(
            method,
            room.seen,
            train=room.train,
            validation=room.validation,
            schedule=config.schedule,
            seed=config.seed,
            out=out,
            resume=True,
            progress=lambda done, total, _: progress("distilling", done / total),
            targets=lesson.targets,
        )
    about = run_facts(room.seen, room.fold)
    before = sorted(learned_from(room.run.contract) - set(about["subjects"]["train"])
                    - set(about["subjects"]["validation"]))  # fmt: skip
    by = {"sha256": room.sha256, "paired": len(lesson.paired), "windows": len(room.train),
            "file": None if room.teacher is None else room.teacher.name,
            "modalities": None if room.teacher else [m.name for m in room.run.model.modalities],
            "dim": lesson.dim}  # fmt: skip
    about |= {"teacher": by, **({"learned_before": before} if before else {})}
    save_run(out, trained, told, about=about)
    forget_lesson(out)
    return Distilled(len(lesson.paired), len(room.train), lesson.dim)


def with_dim(config: RunConfig, dim: int) -> RunConfig:
    """Say in a student's settings how wide its teacher's embeddings are."""
    method = config.method.model_copy(update={"teacher_dim": dim})
    return config.model_copy(update={"method": method})


def _lesson(room: _Class, config: RunConfig, out: Path) -> Lesson:
    """Return what the teacher says, as it was kept, or asked now."""
    assert isinstance(config.method, DistilConfig)  # noqa: S101 - made here
    of = {"teacher": room.sha256, "store": room.store.hash, "paired": config.method.paired,
          "keep": list(config.method.keep), "seed": config.seed}  # fmt: skip
    kept = kept_lesson(out, of)
    if kept is not None:
        return kept
    says = room.says()
    paired = draw_pairs(says, room.train, share=config.method.paired, seed=config.seed)
    lesson = lesson_of(says, room.train, room.validation, paired)
    keep_lesson(out, lesson, of)
    return lesson


def _done(student: Run, config: RunConfig, out: Path) -> Distilled:
    """Return what is known of a student that is trained already.

    Raises:
        ConfigError: it is another.
    """
    told = student.contract.get("teacher")
    if told is None or with_dim(config, told["dim"]) != student.config:
        raise ConfigError(
            f"{out}: holds another run, or a student of another teacher or other settings; name a "
            "new folder"
        )
    logger.info("%s: is trained already, on %s", out, counted(told["windows"], "window"))
    return Distilled(told["paired"], told["windows"], told["dim"])
