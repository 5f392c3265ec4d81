"""`crossl pretrain`, `probe`, `evaluate` and `embed`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crossl.cli import launch, show
from crossl.cli.options import (
    AddressOption,
    ConfigOption,
    FoldOption,
    RecipeOption,
    RunArgument,
    RunToReadArgument,
    SameNamesOption,
    SeedOption,
    SetOption,
    StoreArgument,
    StoreOption,
    load_settings,
    run_here,
)


def pretrain(
    store: StoreArgument,
    out: Annotated[Path, typer.Option(help="Run folder to make, or to resume.")],
    fold: FoldOption = 0,
    recipe: RecipeOption = "crossl",
    config: ConfigOption = None,
    overrides: SetOption = None,
    seed: SeedOption = None,
    devices: Annotated[
        int, typer.Option(min=1, help="Processes on this machine, one per GPU if it has any.")
    ] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Machines; see docs/distributed.md.")] = 1,
) -> None:
    """Learn from unlabelled windows.

    Started again, it resumes where it stopped. Ctrl-C finishes the current step and saves it.

    Example: crossl pretrain stores/sp_sw_har --out runs/first --set schedule.steps=200
    """
    launch.follow_launcher()
    settings = load_settings(config, recipe, overrides, seed)
    if launch.must_launch(devices, nodes):
        launch.launch(devices, nodes)
        return
    from crossl.commands.pretrain import pretrain_run
    from crossl.train.processes import Processes

    processes = Processes(*launch.told_by_environment(devices, nodes))
    if not processes.writes:
        pretrain_run(store, settings, out, fold=fold, processes=processes)
        return
    with show.progress("pretrain") as tell:
        pretrain_run(store, settings, out, fold=fold, processes=processes, progress=tell)
    typer.echo(f"{out}: pretrained; next: crossl probe {out} --store {store}")


def probe(
    run: RunArgument,
    store: StoreOption,
    label_fraction: Annotated[
        float, typer.Option(help="Share of the training windows whose labels may be used.")
    ] = 0.1,
    head: Annotated[
        str, typer.Option(help="What it reads: aggregator or encoders.")
    ] = "aggregator",
    label_seed: Annotated[int, typer.Option(help="Seed of the draw of labels.")] = 0,
    pretrained_elsewhere: Annotated[
        bool,
        typer.Option("--pretrained-elsewhere", help="The run was pretrained on another store."),
    ] = False,
    fold: Annotated[
        int | None, typer.Option(help="With --pretrained-elsewhere: fold of the store. Default: 0.")
    ] = None,
    same_names: SameNamesOption = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Learn another task than the run file's: task.KEY=VALUE."),
    ] = None,
) -> None:
    """Fit a linear classifier on frozen embeddings.

    It is trained with sensors missing and kept in the run. It learns the task of the run file, or
    another that --set names. With --pretrained-elsewhere the store may be another than the run's
    and may lack sensors; people who trained the run are not tested.

    Example: crossl probe runs/first --store stores/sp_sw_har --label-fraction 0.05

    Example: crossl probe runs/first --store stores/noneeg --set "task={kind: numbers, target: age}"
    """
    from crossl.commands.other_store import Elsewhere
    from crossl.commands.probe import probe_run
    from crossl.errors import ConfigError, counted
    from crossl.report.confidence import load_reliability

    if fold is not None and not pretrained_elsewhere:
        raise ConfigError(f"--fold: got {fold}; a run has its fold, it is for another store "
                          "(--pretrained-elsewhere)")  # fmt: skip
    elsewhere = Elsewhere(fold or 0, same_names) if pretrained_elsewhere else None
    with show.progress("probe") as tell:
        tell("windows: encoding and fitting", 0.0)
        task, score = probe_run(
            run, store, label_fraction=label_fraction, head=head, label_seed=label_seed,
            elsewhere=elsewhere, overrides=overrides or (), note=show.note,
        )  # fmt: skip
    told = f" {score.told()} (95% interval)" if score.told() else ""
    typer.echo(f"{run}: probe kept; {task.told()} {score.value:.3f}{told} on "
               f"{counted(score.n, 'test subject')}; labels of validation subjects chose its "
               "regularisation; `crossl evaluate` first scores one without them")  # fmt: skip
    found = load_reliability(run)
    if found is not None:
        whole = found["sets"][0]
        typer.echo(f"calibration error {whole['calibrated']['ece']:.3f} with temperatures, "
                   f"{whole['as_it_was']['ece']:.3f} without")  # fmt: skip


def evaluate(
    run: RunArgument,
    store: StoreOption,
    same_names: SameNamesOption = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Damages of sensors to score, too: evaluation.damages=[...]."),
    ] = None,
) -> None:
    """Score the classifier of a run under every set of sensors.

    Writes results.jsonl, summary.json and figures.npz into the run; `crossl report` draws them.
    On another store, which may lack sensors, it scores everybody that nothing was learned from,
    into RUN/elsewhere, and prints the table.

    Example: crossl evaluate runs/first --store stores/sp_sw_har

    Example: crossl evaluate runs/first --store stores/sp_sw_har --set
    "evaluation.damages=[{kind: gap, severity: [0.1, 0.3, 0.5]}]"
    """
    from crossl.commands.evaluate import evaluate_run
    from crossl.report import summary_table, summary_title, whose_scores

    with show.progress("evaluate") as tell:
        scored = evaluate_run(
            run, store, same_names=same_names, overrides=overrides or (), progress=tell
        )
    if scored is None:
        typer.echo(f"{summary_title(run)}\n")
        show.table(summary_table(run))
        typer.echo("\n" + "\n".join(whose_scores(run)))
        typer.echo(f"\n{run}: scored; next: crossl report {run}")
        return
    for sentence in scored.notes:
        show.note(sentence)
    show.table(scored.rows)
    typer.echo(f"\n{scored.folder}: results.jsonl, summary.json (no report page)")


def embed(
    run: RunToReadArgument,
    store: StoreOption,
    out: Annotated[Path, typer.Option(help="File to write, .npz.")],
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Threads, or tasks of Ray, at once; default: one per core."),
    ] = None,
    address: AddressOption = None,
) -> None:
    """Embed every window of a store.

    With a classifier in the run (`crossl probe`) windows are classified too. The file holds
    embedding (n, D); present (n, M) and modalities, the names of its columns; subject, session,
    start_s; start_unix_s, start_time (UTC) and zone, where the recordings tell them; label, where
    the store has classes; and, with a classifier, probability, classes and predicted (of other
    tasks labels, or numbers with their units). A store may lack sensors of the run: they are
    absent. If interrupted, give the same command again to resume.
    While it runs it needs up to twice the disk space of the finished file.

    Example: crossl embed runs/first --store stores/new --out new.npz
    """
    from crossl.commands.embed import embed_store
    from crossl.errors import counted

    with show.progress("embed") as tell:
        count = embed_store(run_here(run), store, out, workers=workers, address=address,
                            progress=tell, note=show.note)  # fmt: skip
    typer.echo(f"{out}: {counted(count, 'window')} embedded")
