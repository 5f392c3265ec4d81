"""Pick the rows a section shows; the only arithmetic is a plain mean and a ratio."""

from dataclasses import dataclass
from typing import Any

from crossl.errors import FormatError, counted
from crossl.report.load import Inputs, Row

NAMES = {
    "supervised": "supervised twin",
    "untrained": "untrained network",
    "finetuned": "fine-tuned",
    "paper": "paper recipe",
}
ORDER = ("supervised", "untrained", "finetuned", "paper")


@dataclass(frozen=True)
class Series:
    """One curve: a method, with the recipe and head it was run with."""

    method: str
    recipe: str | None
    head: str | None
    label: str


@dataclass(frozen=True)
class Subset:
    """The score of the main method with one set of sensors present, and its reference.

    `whole` is the score of the same windows of the same people with all their sensors, and `share`
    what is left of it; None where the results do not tell.
    """

    present: tuple[str, ...]
    row: Row
    reference: Row | None
    whole: float | None
    share: float | None

    @property
    def ratio(self) -> float | None:
        """The score over that of a probe trained for exactly this subset."""
        return None if self.reference is None else quotient(self.row, self.reference)


@dataclass(frozen=True)
class Missing:
    """The subsets that lack the same number of sensors.

    `whole` is the mean score of the same windows with all sensors, `people` the fewest and the most
    who had what was taken away.
    """

    n_missing: int
    n_subsets: int
    mean: float
    worst: float
    whole: float | None
    people: tuple[int, int]

    @property
    def people_text(self) -> str:
        """How many people the scores are of."""
        low, high = self.people
        return people(low) if low == high else f"{low} to {high} people"


def people(n: int) -> str:
    """Say how many people."""
    return counted(n, "person", "people")


def quotient(row: Row, whole: Row) -> float:
    """One score as a share of another; 0 where the other is not positive."""
    return float(row["value"] / whole["value"]) if whole["value"] > 0 else 0.0


def all_series(inputs: Inputs, metric: str = "") -> list[Series]:
    """Every curve of a metric (the main one) with all sensors present: the main method first."""
    metric = metric or inputs.task.metric
    rows = [row for row in inputs.rows if row["metric"] == metric and _is_full(inputs, row)]
    reference = reference_method(inputs)
    keys = {key_of(row) for row in rows if row["method"] != reference}
    main = inputs.summary["main"]
    ordered = sorted(keys, key=lambda key: _rank(key, main))
    return [Series(*key, label=_label(key, keys)) for key in ordered]


def main_series(inputs: Inputs) -> Series:
    """The curve the summary calls main.

    Raises:
        FormatError: No row, or rows of several recipes of which none is the summary's.
    """
    main = inputs.summary["main"]
    every = all_series(inputs)
    found = [s for s in every if (s.method, s.head) == (main["method"], main["head"])]
    if len(found) > 1:
        found = [series for series in found if series.recipe == inputs.summary["recipe"]]
    if len(found) != 1:
        got = [(series.method, series.recipe, series.head) for series in every]
        raise FormatError(
            f"{inputs.folder / 'results.jsonl'}: no {inputs.task.metric} row of the main method"
            f" ({main['method']}, {inputs.summary['recipe']}, {main['head']}) with every sensor"
            f" present, got (method, recipe, head) {got}; one of these is allowed"
        )
    return found[0]


def curve(inputs: Inputs, series: Series, metric: str = "") -> list[Row]:
    """The rows of one curve with every sensor present, by label fraction."""
    rows = [
        row for row in _of(inputs, series, metric or inputs.task.metric) if _is_full(inputs, row)
    ]
    return sorted(rows, key=lambda row: float(row["label_fraction"]))


def point(inputs: Inputs, method: str, fraction: float) -> Row | None:
    """The main score of a method at one label fraction, when there is exactly one."""
    rows = [row for s in all_series(inputs) if s.method == method for row in curve(inputs, s)]
    rows = [row for row in rows if row["label_fraction"] == fraction]
    return rows[0] if len(rows) == 1 else None


def subsets(inputs: Inputs) -> list[Subset]:
    """The main method with every stored set of sensors: fewest missing first, then best first."""
    series = main_series(inputs)
    found = subset_rows(inputs, series)
    if tuple(inputs.modalities) not in found or len(found) == 1:
        return []
    references, compared = _reference_rows(inputs), _compared(inputs, series, found)
    every = [Subset(present, row, references.get(present), *compared.get(present, (None, None)))
             for present, row in found.items()]  # fmt: skip
    sign = 1 if inputs.task.lower_is_better else -1
    return sorted(every, key=lambda s: (-len(s.present), sign * s.row["value"], s.present))


def subset_rows(
    inputs: Inputs, series: Series, fraction: float | None = None, metric: str = ""
) -> dict[tuple[str, ...], Row]:
    """The rows of one curve at a label fraction (the main one), by sensors present."""
    wanted = inputs.summary["main"]["label_fraction"] if fraction is None else fraction
    rows = _of(inputs, series, metric or inputs.task.metric)
    return {row["present"]: row for row in rows if row["label_fraction"] == wanted}


def _compared(
    inputs: Inputs, series: Series, found: dict[tuple[str, ...], Row], fraction: float | None = None
) -> dict[tuple[str, ...], tuple[float, float]]:
    """For each subset the score of the same windows with all sensors, and the share left of it."""
    full = tuple(inputs.modalities)
    whole = subset_rows(inputs, series, fraction, f"{inputs.task.metric}_with_all")
    kept = subset_rows(inputs, series, fraction, f"{inputs.task.metric}_kept")
    out = {p: (whole[p]["value"], kept[p]["value"]) for p in found if p in whole and p in kept}
    if full in found:
        out[full] = (found[full]["value"], 1.0)
        # results of before: comparable where everybody has every sensor
        if not whole and len({row["n"] for row in found.values()}) == 1:
            out |= {p: (found[full]["value"], quotient(r, found[full])) for p, r in found.items()}
    return out


def shares(inputs: Inputs, series: Series) -> dict[tuple[str, ...], float]:
    """What is left of a curve's score under each subset, at the main fraction."""
    found = subset_rows(inputs, series)
    return {present: share for present, (_, share) in _compared(inputs, series, found).items()}


def missing_means(inputs: Inputs, series: Series, fraction: float | None = None) -> list[Missing]:
    """The mean and the worst score for each number of missing sensors."""
    found = subset_rows(inputs, series, fraction)
    compared = _compared(inputs, series, found, fraction)
    levels: dict[int, list[tuple[str, ...]]] = {}
    for present in found:
        levels.setdefault(len(inputs.modalities) - len(present), []).append(present)
    out = []
    for n_missing, group in sorted(levels.items()):
        scores = [found[present]["value"] for present in group]
        wholes = [compared[present][0] for present in group if present in compared]
        whole = sum(wholes) / len(wholes) if len(wholes) == len(group) else None
        counts = [found[present]["n"] for present in group]
        out.append(Missing(n_missing, len(group), sum(scores) / len(scores),
                           inputs.task.worst(scores), whole,
                           (min(counts), max(counts))))  # fmt: skip
    return out


def shapley_rows(inputs: Inputs) -> list[Row]:
    """The worth of each sensor to the main method, largest first."""
    main = inputs.summary["main"]
    rows = [
        row
        for row in inputs.rows
        if row["metric"] == "shapley"
        and row["method"] == main["method"]
        and len(row["present"]) == 1
        and row["label_fraction"] == main["label_fraction"]
    ]
    exact = [row for row in rows if row["head"] == main["head"]]
    return sorted(exact or rows, key=lambda row: -float(row["value"]))


def difference_series(inputs: Inputs) -> list[Series]:
    """The paired differences that were stored."""
    return all_series(inputs, f"{inputs.task.metric}_difference")


def reference_method(inputs: Inputs) -> str:
    """The name of the reference: a probe trained for exactly one set of sensors."""
    return f"{inputs.summary['main']['method']}, probe per subset"


def key_of(row: Row) -> tuple[str, str | None, str | None]:
    """What makes two rows points of one curve."""
    return (row["method"], row["recipe"], row["head"])


def _of(inputs: Inputs, series: Series, metric: str) -> list[Row]:
    key = (series.method, series.recipe, series.head)
    return [row for row in inputs.rows if row["metric"] == metric and key_of(row) == key]


def _is_full(inputs: Inputs, row: Row) -> bool:
    return len(row["present"]) == len(inputs.modalities)


def _reference_rows(inputs: Inputs) -> dict[tuple[str, ...], Row]:
    main, name = inputs.summary["main"], reference_method(inputs)
    metric = inputs.task.metric
    rows = [row for row in inputs.rows if row["method"] == name and row["metric"] == metric]
    rows = [row for row in rows if row["label_fraction"] == main["label_fraction"]]
    exact = [row for row in rows if row["head"] == main["head"]]
    return {row["present"]: row for row in exact or rows}


def _rank(key: tuple[str, str | None, str | None], main: dict[str, Any]) -> tuple[Any, ...]:
    method, recipe, head = key
    place = ORDER.index(method) if method in ORDER else len(ORDER)
    return (method != main["method"], place, method, head != main["head"], recipe or "", head or "")


def _label(
    key: tuple[str, str | None, str | None], keys: set[tuple[str, str | None, str | None]]
) -> str:
    method, recipe, head = key
    twins = [other for other in keys if other[0] == method]
    parts = []
    if len({other[1] for other in twins}) > 1:
        parts.append(recipe or "no recipe")
    if len({other[2] for other in twins}) > 1:
        parts.append(head or "no head")
    name = " \u2212 ".join(NAMES.get(part, part) for part in method.split(" - "))
    return f"{name} ({', '.join(parts)})" if parts else name
