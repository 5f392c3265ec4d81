"""`crossl export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossl.cli import show
from crossl.cli.options import RunArgument

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crossl.commands.export import Variant


def export(
    run: RunArgument,
    out: Annotated[Path, typer.Option(help="The model, such as model.onnx.")],
    subset: Annotated[
        str | None,
        typer.Option(help="Sensors that the device has, such as acc,gyro; others are left out."),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(help="Store whose windows the model is compared with the run on."),
    ] = None,
    int8: Annotated[
        bool,
        typer.Option("--int8", help="Integers of 8 bits; needs the run's own store, by --store."),
    ] = False,
    max_drop: Annotated[
        float, typer.Option(help="How far --int8 may lower the score of validation subjects.")
    ] = 0.01,
    form: Annotated[
        str, typer.Option("--format", help='onnx, or pte for ExecuTorch ("crossl[edge]").')
    ] = "onnx",
    page: Annotated[
        Path | None,
        typer.Option(help="HTML file that runs the model in a browser, such as demo.html."),
    ] = None,
    web: Annotated[
        Path | None,
        typer.Option(help="Folder of the npm package onnxruntime-web; default: npm fetches it."),
    ] = None,
    licence: Annotated[
        str | None, typer.Option(help="Terms of the data, where the run does not know them.")
    ] = None,
) -> None:
    """Write a run as one ONNX file that runs without torch.

    From windows in SI units, and which sensors are there, to the embedding, logits and calibrated
    probabilities. The file carries what it expects. It is compared with the run for every set of
    sensors before it is written. A README beside it shows how to use it from Python, C++ and
    JavaScript; in Python by `crossl.runtime`, which needs numpy and onnxruntime alone. Needs pip
    install "crossl[export]".

    Example: crossl export runs/first --out model.onnx --store store
    """
    from crossl.commands.export import Wanted, export_run
    from crossl.errors import ConfigError

    names = tuple(filter(None, (subset or "").split(",")))
    if subset is not None and not names:
        raise ConfigError("--subset: names no sensor; name some, or leave the option out for all")
    with show.progress("export") as tell:
        wanted = Wanted(names, store, licence, int8, max_drop, form, page, web)
        done = export_run(run, out, wanted=wanted, progress=tell, note=show.note)
    _show(done.variants, done.contract)
    opset = f"opset {done.contract['opset']}" if form == "onnx" else "ExecuTorch, XNNPACK"
    typer.echo(f"{out}: {opset}; how to use it: {done.files[1]}")
    if page is not None:
        typer.echo(f"{page}: open it in a browser; it needs no network")


def _show(variants: Sequence[Variant], contract: Mapping[str, Any]) -> None:
    """Show size and latency of what was written, and how far it differs from the run."""
    from crossl.errors import counted

    rows = [["model", "size", "one window, p50", "p99"]]
    for one in variants:
        times = ["-", "-"] if one.latency is None else [f"{one.latency.p50_ms:.3f} ms",
                                                        f"{one.latency.p99_ms:.3f} ms"]  # fmt: skip
        rows.append([one.name, f"{one.size / 1e6:.2f} MB", *times])
    show.table(rows)
    parity = contract["parity"]
    worst = max(parity["largest_difference"].values())
    sets = "every set" if parity["every_subset"] else f"{parity['subsets']} sets"
    typer.echo(f"\ncompared with the run under {sets} of sensors, in batches of 1, 7 and 64, on "
               f"{parity['windows']}: differs by at most {worst:.1g}")  # fmt: skip
    if contract["int8"]:
        told = contract["int8"]["validation"]
        (a, b), (c, d) = told["all_sensors"], told["mean_over_sets"]
        typer.echo(
            f"{told['metric']} of {counted(told['windows'], 'window')} of "
            f"{counted(told['people'], 'validation subject')}, float32 to int8: "
            f"{a:.3f} to {b:.3f} with all sensors, {c:.3f} to {d:.3f} over sets of them"
        )
