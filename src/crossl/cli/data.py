"""`crossl prepare` and `crossl inspect`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crossl.cli import show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crossl.data.recording import Recording
    from crossl.data.windows import WindowSpec


def prepare(
    reader: Annotated[str, typer.Argument(help="seglearn_watch, sp_sw_har or uci_har.")],
    out: Annotated[Path, typer.Option(help="Folder to make; must not exist.")],
    root: Annotated[
        Path | None, typer.Option(help="Folder or archive of the official files.")
    ] = None,
    window_s: Annotated[float | None, typer.Option(help="Length of a window, seconds.")] = None,
    stride_s: Annotated[float | None, typer.Option(help="Step between windows, seconds.")] = None,
    min_coverage: Annotated[
        float | None, typer.Option(help="Recorded share that makes a modality present.")
    ] = None,
    max_gap_s: Annotated[
        float | None, typer.Option(help="Longest gap that is interpolated, seconds.")
    ] = None,
    min_label_share: Annotated[
        float | None, typer.Option(help="Share of a window that its label must fill.")
    ] = None,
) -> None:
    """Read recordings, cut windows, write a store.

    Example: crossl prepare sp_sw_har --root downloads/sp_sw_har --out stores/sp_sw_har
    """
    from crossl.data.readers import get_reader

    spec = get_reader(reader).CARD.spec
    asked = {"window_s": window_s, "stride_s": stride_s, "min_coverage": min_coverage,
             "max_gap_s": max_gap_s, "min_label_share": min_label_share}  # fmt: skip
    spec = dataclasses.replace(spec, **{k: v for k, v in asked.items() if v is not None})
    make_store(reader, root, out, spec)
    _describe(out)


def make_store(reader: str, root: Path | None, out: Path, spec: WindowSpec | None = None) -> None:
    """Write a store, showing each subject as it is read."""
    from crossl.data.readers import get_reader
    from crossl.data.store import write_store

    module = get_reader(reader)
    card = module.CARD
    about = {
        "dataset": card.name,
        "reader": card.name,
        "title": card.title,
        "description": f"{card.description} Licence: {card.licence}. Cite: {card.citation}.",
    }
    with show.progress("prepare") as tell:

        def watched() -> Iterator[Recording]:
            for recording in module.read(root):
                tell(f"{card.name}: subject {recording.subject}", 0.5)
                yield recording

        write_store(watched(), out, modalities=card.modalities, classes=card.classes,
                    spec=spec or card.spec, about=about)  # fmt: skip


def inspect(
    store: Annotated[Path, typer.Argument(help="Store made by `crossl prepare`.")],
    verify: Annotated[bool, typer.Option(help="Hash every file, however large.")] = False,
) -> None:
    """Show what a store holds, after checking that it is whole.

    Example: crossl inspect stores/sp_sw_har --verify
    """
    _describe(store, verify=verify)


def _describe(path: Path, *, verify: bool = False) -> None:
    from crossl.data.store import Store, count_windows

    store = Store.open(path, verify=verify or None)
    counts, spec = count_windows(store), store.spec
    typer.echo(f"{path}: {store.manifest['dataset']}, {counts['windows']} windows of "
               f"{spec.window_s:g} s every {spec.stride_s:g} s, {counts['labelled']} labelled, "
               f"{len(counts['subjects'])} subjects, sha256 {store.hash[:12]}")  # fmt: skip
    rows = [["modality", "device", "channels", "rate", "unit", "present", "interpolated"]]
    for m in store.modalities:
        rows.append([m.name, m.device, " ".join(m.channels), f"{m.rate_hz:g} Hz", m.unit,
                     f"{counts['present'][m.name]:.1%}",
                     str(store.manifest["interpolated"].get(m.name, 0))])  # fmt: skip
    show.table(rows)
    typer.echo("")
    show.table([["class", "windows"], *([k, str(v)] for k, v in counts["classes"].items())])
