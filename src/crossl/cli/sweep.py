"""`crossl sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from crossl.cli import show
from crossl.cli.interrupt import stopped_by_signals
from crossl.cli.options import (
    AddressOption,
    ConfigOption,
    FoldOption,
    RecipeOption,
    SeedOption,
    SetOption,
    StoreArgument,
    load_settings,
)


def sweep(
    store: StoreArgument,
    out: Annotated[Path, typer.Option(help="Folder of the sweep; every trial has a run in it.")],
    grid: Annotated[
        list[str], typer.Option(help="Setting and values, KEY=VALUE,VALUE; repeatable, crossed.")
    ],
    samples: Annotated[
        int | None, typer.Option(min=1, help="Try only so many points, drawn by the seed.")
    ] = None,
    fold: FoldOption = 0,
    address: AddressOption = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Trials at once on Ray; default: as cores allow.")
    ] = None,
    cpus: Annotated[
        int, typer.Option(min=1, help="Threads of a trial; they change its last bits.")
    ] = 1,
    recipe: RecipeOption = "crossl",
    config: ConfigOption = None,
    overrides: SetOption = None,
    seed: SeedOption = None,
) -> None:
    """Try settings and rank them on validation subjects.

    Test subjects are not looked at. Without --address trials run here, one after another. If
    interrupted, give the same command again to resume; finished trials are kept. Results, the best
    first, are in sweep.jsonl.

    Example: crossl sweep stores/har --out sweeps/lr --grid schedule.lr=1e-3,2e-3 --address local
    """
    from crossl.cluster import Cluster
    from crossl.commands.sweep import plan_trials
    from crossl.commands.sweep import sweep as run_sweep
    from crossl.errors import ConfigError

    if workers and not address:
        raise ConfigError("--workers: got it without --address; trials here run one by one")
    base = load_settings(config, recipe, overrides, seed)
    trials = plan_trials(
        grid, lambda point: load_settings(config, recipe, [*(overrides or []), *point], seed),
        fold=fold, samples=samples, seed=base.seed,
    )  # fmt: skip
    cluster = Cluster(address, workers, cpus) if address else None
    with show.progress("sweep") as tell, stopped_by_signals():
        records = run_sweep(store, out, trials, cpus=cpus, cluster=cluster, progress=tell)
    metric = next((r["metric"].split(" of ")[0] for r in records if "metric" in r), "score")
    show.table([["trial", f"validation {metric}", *records[0]["settings"]],
                *(_row(record) for record in records)])  # fmt: skip
    for record in records:
        if record["score"] is None:
            typer.echo(f"{record['trial']}: {record['error']}")
    typer.echo(f"\nbest: {out / records[0]['trial']}; all: {out / 'sweep.jsonl'}")


def _row(record: dict[str, Any]) -> list[str]:
    score = "none" if record["score"] is None else f"{record['score']:.4f}"
    return [record["trial"], score, *record["settings"].values()]
