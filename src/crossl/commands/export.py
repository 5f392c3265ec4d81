"""`crossl export`: a run as one file that runs without torch, checked against the run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from crossl.data.contract import fit_store
from crossl.data.splits import Fold
from crossl.data.store import Store
from crossl.decode import Decoder
from crossl.errors import ConfigError, nearest
from crossl.evaluate.confidence import Temperatures
from crossl.export.contract import check_exportable, columns_of, contract_of
from crossl.export.graph import ExportedGraph, Reading
from crossl.export.int8 import (
    MAX_DROP,
    MOST_WINDOWS,
    OPERATORS,
    calibration_feeds,
    check_drop,
    compare_scores,
    quantise,
)
from crossl.export.latency import Latency, measure
from crossl.export.onnx_model import (
    OPSET,
    check_packages,
    onnx_bytes,
    open_session,
    run_session,
    with_metadata,
)
from crossl.export.page import page_of, rows_to_replay
from crossl.export.parity import Runner, Sample, Signals, check_parity, expected, sample_of
from crossl.export.pte import NEEDS as PTE_NEEDS
from crossl.export.pte import contract_json, pte_bytes, pte_readme, pte_runner
from crossl.export.readme import readme_of
from crossl.export.web import Web, open_web
from crossl.files import read_json, write_whole
from crossl.predict.manner import UNCALIBRATED
from crossl.run_folder import Run, load_probe, load_run

FORMATS = {"onnx": ".onnx", "pte": ".pte"}
"""Formats, and the ending of their files."""

Note: TypeAlias = Callable[[str], None]
Progress: TypeAlias = Callable[[str, float], None]


@dataclass(frozen=True)
class Wanted:
    """What to export of a run.

    Attributes:
        subset: names of sensors that may come; none for all.
        store: windows to check on; None for the run's own if it lies beside it, or made ones.
        licence: of the data; None for what is known.
        int8: with integers of 8 bits.
        max_drop: how far the main metric may fall on validation subjects by that.
        format: `onnx` or `pte`, for ExecuTorch.
        page: an HTML file that runs the model in a browser; None for none.
        web: folder of the npm package onnxruntime-web; None to fetch it.
    """

    subset: tuple[str, ...] = ()
    store: Path | None = None
    licence: str | None = None
    int8: bool = False
    max_drop: float = MAX_DROP
    format: str = "onnx"
    page: Path | None = None
    web: Path | None = None


@dataclass(frozen=True)
class Variant:
    """One row of the table: a model, its size and how long one window takes."""

    name: str
    size: int
    latency: Latency | None


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        files: the model first.
        contract: what it carries.
        variants: sizes and latencies.
    """

    files: list[Path]
    contract: dict[str, Any]
    variants: list[Variant]


def export_run(
    run_path: Path,
    out: Path,
    *,
    wanted: Wanted | None = None,
    progress: Progress = lambda _what, _share: None,
    note: Note = lambda _sentence: None,
) -> Exported:
    """Write a run as a model, and a README beside it, once it gives what the run gives.

    Args:
        run_path: the run folder; without a classifier the embedding alone is exported.
        out: the file.
        wanted: what of it.
        progress: called with what is being done, and the share of all.
        note: called with what a user should know, a sentence each.

    Raises:
        ConfigError: no such sensor, or nobody whom 8 bits could be judged by.
        ContractError: the run cannot be exported, or the store does not fit it.
        CrosslError: the model gives something else than the run; nothing is written then.
        PackageError: what exporting needs is not installed.
    """
    wanted = wanted or Wanted()
    if wanted.format not in FORMATS:
        raise ConfigError(f"--format: got '{wanted.format}'; {nearest(wanted.format, FORMATS)}")
    check_name_of(out, FORMATS[wanted.format])
    check_packages(*((PTE_NEEDS, "edge") if wanted.format == "pte" else ()))
    made = _Making.of(run_path, wanted, note)
    if wanted.format == "pte":
        return _export_pte(made, out, wanted, progress)
    fold = made.fold() if wanted.int8 else None
    web = made.web(wanted) if wanted.page is not None else None
    progress("model: tracing", 0.05)
    model = onnx_bytes(made.graph)
    progress("model: comparing with the run", 0.5)
    run = _runner(model)
    contract = {**made.contract, "opset": OPSET, "int8": None, "parity": made.compare(run)}
    variants = [Variant("float32", len(model), made.latency(run))]
    if fold is not None:
        progress("model: quantising", 0.6)
        model, contract["int8"] = _quantised(made, model, fold, wanted.max_drop, note)
        contract["int8"]["difference"] = made.compare(_runner(model), exact=False)
        variants.append(Variant("int8", len(model), made.latency(_runner(model))))
    model = with_metadata(model, contract)
    files: dict[Path, bytes | str] = {out: model}
    files[out.with_name(f"{out.stem}.README.md")] = readme_of(out.name, contract)
    if web is not None and wanted.page is not None:
        progress("model: making the page", 0.9)
        files[wanted.page] = made.page(model, contract, web)
    _write(files)
    progress("model: done", 1.0)
    return Exported(list(files), contract, variants)


def _export_pte(made: _Making, out: Path, wanted: Wanted, progress: Progress) -> Exported:
    """Write an ExecuTorch program, its contract and a README beside it."""
    if wanted.int8 or wanted.page is not None:
        raise ConfigError("--format pte: has no --int8 and no --page; leave them out")
    progress("model: tracing and lowering", 0.05)
    model = pte_bytes(made.graph)
    progress("model: comparing with the run", 0.6)
    run = pte_runner(model, made.graph)
    contract = {**made.contract, "opset": None, "int8": None, "parity": made.compare(run)}
    variants = [Variant("float32", len(model), made.latency(run))]
    beside = out.with_name(f"{out.stem}.README.md")
    files: dict[Path, bytes | str] = {out: model, beside: pte_readme(out.name, contract)}
    files[out.with_name(f"{out.name}.json")] = contract_json(contract)
    _write(files)
    progress("model: done", 1.0)
    return Exported(list(files), contract, variants)


def _write(files: dict[Path, bytes | str]) -> None:
    """Write files; the model, which is the first, comes last and vouches for the others."""
    for path, content in reversed(files.items()):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content.encode() if isinstance(content, str) else content)


def _runner(model: bytes) -> Runner:
    session = open_session(model)
    return lambda signals, present: run_session(session, signals, present)


def _quantised(
    made: _Making, model: bytes, fold: Fold, max_drop: float, note: Note
) -> tuple[bytes, dict[str, Any]]:
    """Quantise a model, and refuse it where that costs too much."""
    graph, store, reading = made.graph, made.store, made.reading
    assert store is not None  # noqa: S101 - whoever has a fold has both
    assert reading is not None  # noqa: S101
    smaller = quantise(model, calibration_feeds(graph, store, fold))
    runners = _runner(model), _runner(smaller)
    scores = compare_scores(runners, graph, reading, store, fold)
    check_drop(scores, max_drop)
    if scores.warning:
        note(f"--int8: {scores.warning}")
    facts = {
        "how": "static, weights by channel and activations of 8 bits, QDQ",
        "operators": list(OPERATORS),
        "calibrated_on": f"{min(len(fold.train), MOST_WINDOWS)} windows of training subjects",
        "max_drop": max_drop,
        "validation": scores.as_dict(),
        "warning": scores.warning,
    }
    return smaller, facts


@dataclass(frozen=True)
class _Making:
    """What making any exported file needs."""

    run: Run
    reading: Reading | None
    columns: list[int]
    graph: ExportedGraph
    contract: dict[str, Any]
    store: Store | None
    sample: Sample

    @classmethod
    def of(cls, run_path: Path, wanted: Wanted, note: Note) -> _Making:
        run = load_run(run_path)
        check_exportable(run)
        reading = reading_of(run, note)
        columns = columns_of(run, wanted.subset)
        stacked = wanted.format == "onnx"
        graph = ExportedGraph(run.model, reading, columns, stacked=stacked).eval()
        store = store_of(run, wanted.store)
        if store is None:
            note("no store is at hand, so the model is compared on generated windows; real ones "
                 "are used with --store STORE")  # fmt: skip
        contract = contract_of(run, graph, reading, licence=wanted.licence, store=store)
        sample = sample_of(run.model, columns, store)
        return cls(run, reading, columns, graph, contract, store, sample)

    def fold(self) -> Fold:
        """Return who was trained on and who chose, where that is known.

        Raises:
            ConfigError: there is no classifier, the run's own store is not at hand, or nobody
                chose.
        """
        if self.reading is None:
            raise ConfigError("--int8: the run has no classifier, so its cost cannot be measured")
        if self.store is None or self.store.hash != self.run.contract.get("store_sha256"):
            raise ConfigError(
                "--int8: needs the store that the run was trained on, whose training windows tell "
                "how large numbers are and whose validation windows what it costs; give it by "
                "--store"
            )
        told = self.run.contract.get("subjects") or {}
        train, validation, test = (
            np.flatnonzero(np.isin(self.store.subject, list(told.get(part, ()))))
            for part in ("train", "validation", "test")
        )
        for part, rows in (("training", train), ("validation", validation)):
            if not len(rows):
                raise ConfigError(
                    f"--int8: the run has no {part} subject in this store, so its cost cannot be "
                    f"measured; needed are {part} subjects, labelled windows of one validation "
                    "subject at least, else export without --int8"
                )
        return Fold(train, validation, test)

    def web(self, wanted: Wanted) -> Web:
        """Return what runs models in browsers, if a page can be made.

        Raises:
            ConfigError: there is no classifier of classes, or no store to replay.
            PackageError: it cannot be fetched.
        """
        check_name_of(wanted.page or Path(), ".html", "--page")
        if self.reading is None or self.reading.kind != "classes":
            raise ConfigError("--page: shows classes, and the run has no classifier of classes")
        if self.store is None:
            raise ConfigError("--page: replays a recording; give a store by --store")
        return open_web(wanted.web)

    def page(self, model: bytes, contract: dict[str, Any], web: Web) -> str:
        """Make a page that runs the model in a browser."""
        assert self.store is not None  # noqa: S101 - `web` has asked
        assert self.reading is not None  # noqa: S101
        rows = rows_to_replay(self.store, self.run.contract.get("subjects", {}))
        return page_of(model, self.graph, self.reading, contract, store=self.store, rows=rows,
                       run=_runner(model), web=web)  # fmt: skip

    def compare(self, run: Runner, *, exact: bool = True) -> dict[str, Any]:
        """Hold an exported model to the run."""

        def right(signals: Signals, present: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
            return expected(self.run.model, self.reading, self.columns, signals, present)

        flips = self.run.model.features is not None
        return check_parity(run, right, self.sample, flips=flips, exact=exact)

    def latency(self, run: Runner) -> Latency:
        """Time one window with every sensor."""
        one = {name: x[:1] for name, x in self.sample.signals.items()}
        present = np.ones((1, len(one)), dtype=np.bool_)
        return measure(lambda: run(one, present))


def reading_of(run: Run, note: Note) -> Reading | None:
    """Return the classifier of a run; None, with a note, where it has none.

    Args:
        run: loaded.
        note: called with what a user should know, a sentence each.
    """
    if not (run.path / "probe.json").is_file():
        note("the run has no classifier, so the embedding alone is exported; fit one by "
             "`crossl probe`")  # fmt: skip
        return None
    probe, _ = load_probe(run.path)
    about = read_json(run.path / "probe.json", cure="run `crossl probe` again")
    kept, context = about.get("temperatures"), about.get("context")
    if kept is None and probe.task.target.kind == "classes":
        note(UNCALIBRATED)
    if len(probe.offsets) > 1:
        note("the classifier reads neighbouring windows, which an exported model does not see: it "
             "reads each window alone")  # fmt: skip
    if context is not None:
        Decoder.from_dict(context)  # refused here rather than on a device
    return Reading(probe, None if kept is None else Temperatures.from_dict(kept), context)


def store_of(run: Run, path: Path | None) -> Store | None:
    """Open windows to check a run on: those asked for, or the run's own beside its folder.

    Args:
        run: loaded.
        path: of a store.

    Returns:
        The store as the run's model sees it; None where none is at hand.

    Raises:
        ContractError: the store does not fit the run.
        FormatError: no such store, or it is damaged.
    """
    if path is None:
        beside = run.path.parent / "store"
        if not (beside / "manifest.json").is_file():
            return None
        store = Store.open(beside)
        if store.hash != run.contract.get("store_sha256"):
            return None
    else:
        store = Store.open(path)
    fitted = fit_store(
        store, run.model.modalities, window_s=run.model.window_s, calibration=run.calibration
    )
    return fitted.store


def check_name_of(out: Path, ending: str, option: str = "--out") -> None:
    """Refuse a name that the file cannot have.

    Args:
        out: the file.
        ending: of its format.
        option: that names it.

    Raises:
        ConfigError: it has another ending, or is a folder.
    """
    if out.suffix != ending:
        raise ConfigError(f"{option}: got '{out.name}'; a name that ends in {ending} is needed")
    if out.is_dir():
        raise ConfigError(f"{option}: {out} is a folder; name a file in it")
