"""The tables: those of the page, and the one that the command line prints."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from crossl.errors import counted
from crossl.report.blocks import Cell, Table
from crossl.report.load import Inputs, Row, budget_of, load_inputs, load_summary
from crossl.report.rows import (
    Missing,
    Series,
    Subset,
    all_series,
    curve,
    difference_series,
    main_series,
    missing_means,
)
from crossl.report.style import percent, pretty, unit_text
from crossl.report.task import TaskFacts, task_facts

TALL_ROWS = 20
NOTHING = "\u2013"


def interval(row: Row, sign: str = "") -> str:
    """A row's interval as text, empty when it has none."""
    if row["ci_low"] is None or row["ci_high"] is None:
        return ""
    return f"[{row['ci_low']:{sign}.3f}, {row['ci_high']:{sign}.3f}]"


def label_table(inputs: Inputs) -> Table:
    """The main metric by method and label fraction."""
    table = _metric_table(inputs, inputs.task.metric, all_series(inputs))
    caption = (
        f"{inputs.task.capital} on test subjects with its 95% interval, by share of labels; best in"
        " bold"
    )
    return Table(caption, table.header, table.rows)


BUDGETS = {
    "strict": "no label of validation subjects is used",
    "validation": "validation subjects, with all their labels, choose",
}


def budget_table(inputs: Inputs) -> list[Table]:
    """The main metric under the other label budget, when that was scored."""
    other = replace(inputs, rows=inputs.other_rows)
    every = all_series(other)
    if not every:
        return []
    budget = budget_of(inputs.other_rows[0])
    table = _metric_table(other, inputs.task.metric, every)
    caption = f"The other label budget: {BUDGETS[budget]}. {inputs.task.capital}"
    return [Table(caption, table.header, table.rows)]


def metric_tables(inputs: Inputs) -> list[Table]:
    """The other metrics that were stored, one table each."""
    tables = []
    for metric, name in inputs.task.metrics.items():
        if metric == inputs.task.metric:
            continue
        every = all_series(inputs, metric)
        if every:
            table = _metric_table(inputs, metric, every)
            rows = [[Cell(cell.text, kind=cell.kind) for cell in row] for row in table.rows]
            tables.append(
                Table(f"{name[:1].upper()}{name[1:]}, by share of labels", table.header, rows)
            )
    return tables


def difference_table(inputs: Inputs) -> list[Table]:
    """The paired differences, when they were stored."""
    every = difference_series(inputs)
    if not every:
        return []
    fractions = inputs.summary["label_fractions"]
    rows = []
    for series in every:
        metric = f"{inputs.task.metric}_difference"
        found = {r["label_fraction"]: r for r in curve(inputs, series, metric)}
        cells = (_difference(found.get(f), inputs.task) for f in fractions)
        rows.append([Cell(series.label), *cells])
    where = "below or above" if inputs.task.lower_is_better else "above or below"
    caption = (
        f"Difference in {inputs.task.told} paired by subject; green and red where the whole 95%"
        f" interval lies {where} zero"
    )
    return [Table(caption, _header("difference", fractions), rows)]


def _difference(row: Row | None, task: TaskFacts) -> Cell:
    if row is None:
        return Cell(NOTHING, kind="num")
    kind, ends = "num", (row["ci_low"], row["ci_high"])
    if None not in ends and (min(ends) > 0 or max(ends) < 0):
        kind = "num up" if task.better(row["value"]) else "num down"
    return Cell(f"{row['value']:+.3f}", interval(row, "+"), kind)


def _header(first: str, fractions: Sequence[float]) -> list[Cell]:
    return [Cell(first), *(Cell(percent(f), kind="num") for f in fractions)]


def _metric_table(inputs: Inputs, metric: str, every: Sequence[Series]) -> Table:
    fractions = inputs.summary["label_fractions"]
    found = [{r["label_fraction"]: r for r in curve(inputs, s, metric)} for s in every]
    by_fraction = {f: [rows[f]["value"] for rows in found if f in rows] for f in fractions}
    best = {
        f: inputs.task.best(values, metric) if values else 0 for f, values in by_fraction.items()
    }
    rows = [
        [Cell(series.label), *(_score(line.get(f), best[f]) for f in fractions)]
        for series, line in zip(every, found, strict=True)
    ]
    return Table("", _header("method", fractions), rows)


def _score(row: Row | None, best: float) -> Cell:
    if row is None:
        return Cell(NOTHING, kind="num")
    kind = "num best" if row["value"] == best else "num"
    return Cell(f"{row['value']:.3f}", interval(row), kind)


def subset_table(inputs: Inputs, found: Sequence[Subset]) -> Table:
    """Every set of sensors: dots for those present, the score, its share and the reference."""
    names = inputs.modalities
    compared = any(subset.reference for subset in found)
    header = [Cell("missing", kind="num"), *(Cell(name, kind="turned") for name in names)]
    share = "error with all / error" if inputs.task.lower_is_better else "share kept"
    header += [Cell(inputs.task.short, kind="num"), Cell("with all they have", kind="num"),
               Cell(share, kind="bar"), Cell("people", kind="num")]  # fmt: skip
    if compared:
        header += [Cell("probe per subset", kind="num"), Cell("ratio to it", kind="num")]
    rows = [_subset_cells(subset, names, compared=compared) for subset in found]
    sizes = [len(subset.present) for subset in found]
    breaks = frozenset(i for i in range(1, len(sizes)) if sizes[i] != sizes[i - 1])
    caption = (
        "Every set of sensors: a filled dot is a sensor that was present; fewest missing first,"
        " then best first. Each is compared with the same windows of the same people, those who"
        " have what is missing, with all that they have"
    )
    tall = len(rows) > TALL_ROWS
    if tall:
        caption += f"; {len(rows)} rows, which scroll inside the box"
    return Table(caption, header, rows, breaks, tall)


def _subset_cells(subset: Subset, names: Sequence[str], *, compared: bool) -> list[Cell]:
    cells = [Cell(str(len(names) - len(subset.present)), kind="num")]
    for name in names:
        here = name in subset.present
        cells.append(Cell(f"{name} present" if here else f"{name} missing", "", "on" if here
                          else "off"))  # fmt: skip
    cells.append(Cell(f"{subset.row['value']:.3f}", interval(subset.row), "num"))
    whole, share = subset.whole, subset.share
    cells.append(Cell(NOTHING if whole is None else f"{whole:.3f}", kind="num"))
    cells.append(Cell(NOTHING, kind="num") if share is None
                 else Cell(f"{100 * share:.1f}%", kind="bar", share=share))  # fmt: skip
    cells.append(Cell(str(subset.row["n"]), kind="num"))
    if compared:
        reference, ratio = subset.reference, subset.ratio
        cells.append(Cell(NOTHING if reference is None else f"{reference['value']:.3f}", "", "num"))
        cells.append(Cell(NOTHING if ratio is None else f"{100 * ratio:.1f}%", kind="num"))
    return cells


def missing_table(inputs: Inputs, every: Sequence[Series]) -> list[Table]:
    """The mean score by method and number of missing sensors, when there are methods to compare."""
    if len(every) <= 1:
        return []
    levels = range(len(inputs.modalities))
    header = [Cell("method"), *(Cell(f"{n} missing", kind="num") for n in levels)]
    rows = []
    for series in every:
        found = {level.n_missing: level for level in missing_means(inputs, series)}
        cells = [Cell(NOTHING, kind="num")] * len(levels)
        for n, level in found.items():
            cells[n] = Cell(f"{level.mean:.3f}", _level_text(level), "num")
        rows.append([Cell(series.label), *cells])
    caption = (
        f"{inputs.task.capital}, averaged over the sets with as many sensors missing, and what the"
        " same people score with all that they have"
    )
    return [Table(caption, header, rows)]


def _level_text(level: Missing) -> str:
    if not level.n_missing:
        return level.people_text
    whole = "" if level.whole is None else f"of {level.whole:.3f}, "
    return f"{whole}worst {level.worst:.3f}, {level.people_text}"


def modality_table(modalities: Sequence[Mapping[str, Any]]) -> Table:
    """The sensors: device, channels, unit and rate."""
    header = [Cell("sensor"), Cell("device"), Cell("channels"), Cell("unit")]
    rows = [
        [
            Cell(m["name"]),
            Cell(m["device"]),
            Cell(", ".join(str(channel) for channel in m["channels"])),
            Cell(unit_text(m["unit"])),
            Cell(f"{m['rate_hz']:g} Hz", kind="num"),
        ]
        for m in modalities
    ]
    return Table("The sensors", [*header, Cell("rate", kind="num")], rows)


def summary_table(folder: Path) -> list[list[str]]:
    """The table that the command line prints.

    Args:
        folder: A finished run.

    Returns:
        A header and rows of equal length: the main metric with its interval for each method and
        label fraction, then for each number of missing sensors the mean over the sets, and what
        the same people score with all that they have.

    Raises:
        FormatError: A file or key is missing or has the wrong shape.
    """
    inputs = load_inputs(folder)
    table = label_table(inputs)
    header = [cell.text for cell in table.header]
    rows = [[f"{cell.text} {cell.sub}".strip() for cell in row] for row in table.rows]
    return [header, *rows, *_missing_lines(inputs, len(header))]


def summary_title(folder: Path) -> str:
    """Say what the numbers of `summary_table` are."""
    told = task_facts(load_summary(folder / "summary.json")).capital
    return f"{told} on people never seen, with 95% intervals, by share of labels"


def whose_scores(folder: Path) -> list[str]:
    """Say on whom a run was scored, and which labels its classifier had, in a line each."""
    inputs = load_inputs(folder)
    main, series = inputs.summary["main"], main_series(inputs)
    here, other = (
        [row for row in curve(one, series) if row["label_fraction"] == main["label_fraction"]]
        for one in (inputs, replace(inputs, rows=inputs.other_rows))
    )
    folds = ", ".join(map(str, inputs.summary["folds_run"]))
    whom = (
        f"on the {counted(here[0]['n'], 'test subject')} of fold {folds}"
        if here
        else "on test subjects"
    )
    chose = "labels of validation subjects chose the regularisation"
    if main.get("budget") != "strict":
        return [f"{whom}; {chose}"]
    lines = [f"{whom}; no label of a validation subject was used"]
    kept = "as in the classifier that `crossl probe` kept"
    lines += [f"where {chose}, {kept}: {row['value']:.3f}" for row in other]
    return lines


def label_counts_table(inputs: Inputs) -> list[Table]:
    """Each label: how often it was there, said, and its F1 with its interval."""
    if "label_counts" not in inputs.arrays:
        return []
    main, fraction = main_series(inputs), inputs.summary["main"]["label_fraction"]
    rows = []
    for name, counts in zip(inputs.task.names, inputs.arrays["label_counts"], strict=True):
        found = [r for r in curve(inputs, main, f"f1:{name}") if r["label_fraction"] == fraction]
        scores = [Cell(f"{r['value']:.3f}", interval(r), "num") for r in found]
        cells = [Cell(f"{int(n):,}", kind="num") for n in
                 (counts[1].sum(), counts[:, 1].sum(), counts[1, 1])]  # fmt: skip
        rows.append([Cell(pretty(name)), *cells, *(scores or [Cell(NOTHING, kind="num")])])
    header = [Cell("label"), *(Cell(h, kind="num") for h in
              ("windows that have it", "said to have it", "both", "F1"))]  # fmt: skip
    return [Table("Each label, on test subjects", header, rows)]


def summary_notes(folder: Path) -> list[str]:
    """Read the findings in words, in short where there are tables beside them."""
    summary = load_summary(folder / "summary.json")
    return [*summary.get("in_short", summary["notes"]), *fold_notes(summary)]


def fold_notes(summary: Mapping[str, Any]) -> list[str]:
    """Say so where not every fold was run."""
    run, n_folds = len(summary["folds_run"]), summary["n_folds"]
    if run == n_folds:
        return []
    were = "was" if run == 1 else "were"
    return [f"Only {run} of {n_folds} folds {were} run, so not every subject was tested."]


def _missing_lines(inputs: Inputs, width: int) -> list[list[str]]:
    """One line for each method and number of missing sensors."""
    fractions = inputs.summary["label_fractions"]
    lines = []
    for n_missing in range(1, len(inputs.modalities)):
        for series in all_series(inputs):
            line = [f"{series.label}, {n_missing} sensor{'s' * (n_missing > 1)} missing",
                    *[""] * (width - 1)]  # fmt: skip
            for place, fraction in enumerate(fractions, 1):
                for level in missing_means(inputs, series, fraction):
                    if level.n_missing == n_missing:
                        whole = "" if level.whole is None else f" of {level.whole:.3f}"
                        line[place] = f"{level.mean:.3f}{whole} (n={_count(level)})"
            if any(line[1:]):
                lines.append(line)
    return lines


def _count(level: Missing) -> str:
    low, high = level.people
    return str(low) if low == high else f"{low}-{high}"
