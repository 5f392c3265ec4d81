"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from crossl.config import RunConfig

StoreArgument: TypeAlias = Annotated[Path, typer.Argument(help="Store made by `crossl prepare`.")]
RunArgument: TypeAlias = Annotated[Path, typer.Argument(help="Run folder of `crossl pretrain`.")]
RunToReadArgument: TypeAlias = Annotated[
    Path, typer.Argument(help="Run folder of `crossl pretrain`, or hf://USER/REPO[@REVISION].")
]
StoreOption: TypeAlias = Annotated[
    Path, typer.Option("--store", help="Store made by `crossl prepare`.")
]
SameNamesOption: TypeAlias = Annotated[
    bool,
    typer.Option("--same-names", help="People with the same names as the run's are other people."),
]
MappingOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="Mapping that says what the files hold; default: the training's."),
]
ReaderOption: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Reader of the files, as in `crossl prepare`; default: the training's."),
]
ReaderChoicesOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(help="Choice of the reader, KEY=VALUE; see `crossl data card`. Repeatable."),
]
ResampleOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(help="Sensor that may have another rate, which is changed; repeatable."),
]
AbstainOption: TypeAlias = Annotated[
    float | None,
    typer.Option(help="No label where the most probable class has less, such as 0.6."),
]
SetsOption: TypeAlias = Annotated[
    float | None,
    typer.Option(help="Add the labels of which one is true in this share of windows, as 0.9."),
]
KeepUnusableOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--keep-unusable",
        help="Classify sensors that stand still, are at their limit or are not worn, too.",
    ),
]
FoldOption: TypeAlias = Annotated[
    int, typer.Option(help="Which fold's training subjects to learn from.")
]
RecipeOption: TypeAlias = Annotated[
    str, typer.Option(help="Where settings start from: crossl (the default), or paper.")
]
ConfigOption: TypeAlias = Annotated[
    Path | None, typer.Option("--config", help="YAML run file; it overrides the recipe.")
]
SetOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--set", help="One setting, such as schedule.steps=100; may be repeated."),
]
AddressOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Compute on Ray: local starts it here for this command, auto and ray://HOST:PORT use "
        'a cluster. Needs pip install "crossl[ray]".'
    ),
]
SeedOption: TypeAlias = Annotated[
    int | None, typer.Option(help="Seed of weights, masks and batches; default: of the run file.")
]


def run_here(run: Path) -> Path:
    """Return the folder of a run, which is fetched first if it lies at Hugging Face.

    Args:
        run: as it was given; of `hf://USER/REPO` a path has one slash less.
    """
    told = run.as_posix()
    if not told.startswith("hf:/") or run.is_dir():
        return run
    from crossl.sharing.hub import SCHEME, fetch_run

    return fetch_run(SCHEME + told.removeprefix("hf:/").lstrip("/"))


def load_settings(
    config: Path | None, recipe: str, overrides: list[str] | None, seed: int | None
) -> RunConfig:
    """Join recipe, run file, `--set` and `--seed`."""
    from crossl.config import load_config

    every = [*(overrides or []), *([] if seed is None else [f"seed={seed}"])]
    return load_config(config, base=recipe, overrides=every)
