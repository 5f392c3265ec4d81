"""`crossl pretrain`: one fold's training subjects, without labels, to a run folder."""

from __future__ import annotations

from pathlib import Path

from crossl.config import RunConfig
from crossl.data.store import Store
from crossl.experiment.fold import (
    FoldRunner,
    FoldTask,
    Progress,
    fold_numbers,
    folds_of,
    named,
    quiet,
)
from crossl.files import working_in
from crossl.run_folder import begin, forgotten_if_refused
from crossl.train.processes import Processes


def pretrain_run(
    store_path: Path,
    config: RunConfig,
    out: Path,
    *,
    fold: int = 0,
    processes: Processes | None = None,
    progress: Progress = quiet,
) -> None:
    """Pretrain on one fold's training subjects into a run folder.

    Of several processes each calls this alike, and the first writes.

    Raises:
        DataError: the folder holds another run.
        ConfigError: no such fold.
    """
    store = Store.open(store_path)
    fold_numbers(str(fold), len(folds_of(store, config)))
    processes = processes or Processes()
    task = FoldTask(store_path, config, out, fold, processes)
    if not processes.writes:
        FoldRunner(task).pretrained()
        return
    command = f"crossl pretrain {store_path} --out {out} --fold {fold}"
    # a fold's pretraining is its first half, and here it is all
    told = named(lambda what, share: progress(what, min(1.0, 2 * share)), task)
    with working_in(out, "is training in this folder"):
        begin(store, config, out, command=command, fold=fold)
        with forgotten_if_refused(out):
            FoldRunner(task, told).pretrained()
