"""`crossl benchmark STUDY.yaml`: the protocol on several data sets, then what they say together."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crossl.cluster import Cluster
from crossl.commands.benchmark import check_experiment, run_experiment
from crossl.config.study import Study
from crossl.errors import CrosslError
from crossl.experiment.fold import Progress, quiet
from crossl.experiment.joint import write_joint
from crossl.files import working_in
from crossl.report import build_report, build_study


def run_study(
    study: Study,
    out: Path,
    *,
    workers: int | None = None,
    cluster: Cluster | None = None,
    command: str = "",
    progress: Progress = quiet,
) -> Path:
    """Run every data set's experiment, one after the other, and join them.

    What stands is not computed again; an interrupted study is resumed by the same call.

    Args:
        study: what to run.
        out: folder of the study; each data set has a folder in it.
        workers: folds computed at the same time; default: one per core.
        cluster: where folds are computed instead.
        command: how to remake it, for the page.
        progress: called with what each fold does.

    Returns:
        The page.

    Raises:
        CrosslError: a data set cannot be run as it is asked for; nothing is computed then.
    """
    for one in study.data:
        try:
            check_experiment(one.store, one.config, out / one.name, one.folds)
        except CrosslError as error:
            raise type(error)(f"data.{one.name}: {error}") from error
    facts: dict[str, Any] = {
        "title": study.title,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "families": {one.name: one.family for one in study.data if one.family},
    }
    with working_in(out, "is running a study in this folder"):
        done: dict[str, Path] = {}
        for one in study.data:
            run_experiment(one.store, one.config, out / one.name, folds=one.folds, workers=workers,
                           cluster=cluster, command=command,
                           progress=_named(progress, one.name))  # fmt: skip
            build_report(out / one.name)
            done[one.name] = out / one.name
            write_joint(done, out, facts)
    return build_study(out)


def _named(progress: Progress, name: str) -> Progress:
    """Put the data set before what progress shows."""
    return lambda what, share: progress(f"{name}, {what}", share)
