"""One self-contained page from a finished folder."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from crossl.files import working_in, write_whole
from crossl.report import sections
from crossl.report.blocks import Card, Section
from crossl.report.confidence import confidence
from crossl.report.damage import damaged
from crossl.report.load import Inputs, Row, load_inputs
from crossl.report.predictions import predictions
from crossl.report.rows import (
    Subset,
    all_series,
    curve,
    main_series,
    people,
    point,
    shares,
    subsets,
)
from crossl.report.style import percent
from crossl.report.tables import fold_notes, interval

PAGE = "report.html"
# of two devices with a sensor each, losing one and keeping one are the same number
PAIR = 2


def build_report(folder: Path) -> Path:
    """Write `report.html` into a finished folder.

    The same folder gives the same bytes. The page needs no network.

    Args:
        folder: Holds results.jsonl, summary.json, figures.npz and fold-*/metrics.jsonl.

    Returns:
        The page that was written.

    Raises:
        FormatError: A file or key is missing or has the wrong shape; no page is written then.
    """
    inputs = load_inputs(folder)
    with working_in(folder, "is writing into this folder"):
        write_whole(folder / PAGE, render(inputs).encode())
    return folder / PAGE


def render(inputs: Inputs) -> str:
    """The page as text."""
    template = environment().get_template("template.html.j2")
    return template.render(
        summary=inputs.summary,
        cards=cards(inputs),
        notes=[*inputs.summary["notes"], *fold_notes(inputs.summary)],
        sections=all_sections(inputs),
    )


def environment() -> Environment:
    """Where pages find their template."""
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def all_sections(inputs: Inputs) -> list[Section]:
    """The sections in their order."""
    builders = (
        sections.recorded,
        sections.pretraining,
        sections.label_efficiency,
        sections.missing,
        sections.worth,
        sections.embedding,
        predictions,
    )
    found = [build(inputs) for build in builders]
    place = builders.index(sections.missing) + 1
    return [*found[:place], *damaged(inputs), *found[place:], *confidence(inputs),
            sections.remake(inputs)]  # fmt: skip


def cards(inputs: Inputs) -> list[Card]:
    """The headline numbers that the folder has; none is made up for one it lacks."""
    fractions = sorted(inputs.summary["label_fractions"])
    every = [subset for subset in subsets(inputs) if subset.share is not None]
    found = [_device_card(inputs, every), _single_card(inputs, every)]
    found += [_score_card(inputs, fraction) for fraction in dict.fromkeys((fractions[0],
              fractions[-1]))]  # fmt: skip
    return [card for card in found if card is not None]


def _score_card(inputs: Inputs, fraction: float) -> Card | None:
    rows = {row["label_fraction"]: row for row in curve(inputs, main_series(inputs))}
    if fraction not in rows:
        return None
    told = inputs.task.told
    label = f"{told} with all labels" if fraction == 1 else f"{told} with {percent(fraction)}"
    label += "" if fraction == 1 else " of the labels"
    twin = point(inputs, "supervised", fraction)
    return Card(f"{rows[fraction]['value']:.3f}", label, _details(rows[fraction], twin))


def _details(row: Row, twin: Row | None) -> list[str]:
    lines = [f"supervised twin {twin['value']:.3f}"] if twin else []
    told = f"95% interval {interval(row)}, " if interval(row) else ""
    return [*lines, f"{told}{people(row['n'])}"]


def _device_card(inputs: Inputs, every: list[Subset]) -> Card | None:
    sensors: dict[str, list[str]] = {}
    for modality in inputs.summary["modalities"]:
        sensors.setdefault(modality["device"], []).append(modality["name"])
    gone = {
        tuple(name for name in inputs.modalities if name not in names): device
        for device, names in sensors.items()
    }
    worst = min((s for s in every if s.present in gone), key=_share, default=None)
    if worst is None:
        return None
    label = f"with {'any one' if len(sensors) > 1 else 'the'} device off"
    return _kept_card(inputs, worst, label, f"{gone[worst.present]} off")


def _single_card(inputs: Inputs, every: list[Subset]) -> Card | None:
    alone = [subset for subset in every if len(subset.present) == 1]
    devices = {modality["device"] for modality in inputs.summary["modalities"]}
    if not alone or len(inputs.modalities) == len(devices) == PAIR:
        return None
    worst = min(alone, key=_share)
    return _kept_card(inputs, worst, "with only one sensor left", f"{worst.present[0]} alone")


def _kept_card(inputs: Inputs, worst: Subset, label: str, what: str) -> Card:
    """Say which share of a score is kept at worst, or how many times as large an error becomes."""
    share, details = _share(worst), _worst(inputs, worst, what)
    if inputs.task.lower_is_better:
        value = f"{1 / share:.2f}\u00d7" if share else "\u2013"
        return Card(value, f"the error at worst {label}", details)
    return Card(f"{100 * share:.0f}%", f"of the score is kept {label}", details)


def _share(subset: Subset) -> float:
    return 0.0 if subset.share is None else subset.share


def _worst(inputs: Inputs, worst: Subset, what: str) -> list[str]:
    fraction = percent(inputs.summary["main"]["label_fraction"])
    of = "" if worst.whole is None else f" of {worst.whole:.3f}"
    lines = [f"worst: {what}, {worst.row['value']:.3f}{of}"]
    twin = next((s for s in all_series(inputs) if s.method == "supervised"), None)
    kept = None if twin is None else shares(inputs, twin).get(worst.present)
    if kept and inputs.task.lower_is_better:
        lines.append(f"supervised twin {1 / kept:.2f}\u00d7")
    elif kept is not None:
        lines.append(f"supervised twin keeps {100 * kept:.0f}%")
    return [*lines, f"{fraction} of labels, {people(worst.row['n'])}, nothing retrained"]
