"""A model card: what a run folder says of itself, in Markdown behind Hugging Face's front matter.

Nothing is invented: what is not known is left out, or the card says that it is not known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crossl.config import differences
from crossl.data.readers.card import Card
from crossl.errors import counted
from crossl.registry import kind_of
from crossl.report.load import Inputs, Row
from crossl.report.rows import main_series, subset_rows
from crossl.report.tables import fold_notes
from crossl.run_folder import Run
from crossl.sharing.markdown import code, plain, table
from crossl.yaml_text import dump_yaml

MOST_SUBSETS = 20
FEWEST_PEOPLE = 6
"""Of fewer no comparison can be significant at 5%."""
USUAL = {"macro_f1": "f1", "accuracy": "accuracy"}
"""Metrics that Hugging Face has a name for."""


@dataclass(frozen=True)
class Facts:
    """What a card is made of.

    Attributes:
        run: the model, its settings and its contract.
        probe: what `probe.json` says; None without a classifier.
        inputs: what `crossl evaluate` left; None where it left nothing.
        reliability: how far its probabilities can be trusted; None where nobody measured.
        data: card of the reader of its recordings; None where that is not known.
        licence: of the weights, as whoever shares them says; empty where nobody said.
        name: of the model.
    """

    run: Run
    probe: Mapping[str, Any] | None
    inputs: Inputs | None
    reliability: Mapping[str, Any] | None
    data: Card | None
    licence: str
    name: str


def card_text(facts: Facts) -> str:
    """Write a model card."""
    head = [f"# {plain(facts.name)}", "", *_what(facts)]
    rest = (_use, _intended, _data, _numbers, _made, _limits)
    parts = [_front(facts), head, *(part(facts) for part in rest)]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def scores_by_subset(inputs: Inputs) -> list[Row]:
    """Return the main method's rows at the main share of labels, all sensors first."""
    found = subset_rows(inputs, main_series(inputs))
    sign = 1 if inputs.task.lower_is_better else -1
    return sorted(found.values(), key=lambda row: (-len(row["present"]), sign * row["value"]))


def _front(facts: Facts) -> list[str]:
    """Return what Hugging Face reads of a card; keys of which nothing is known are left out."""
    values: dict[str, Any] = {"library_name": "crossl"}
    if facts.licence:
        values["license"] = facts.licence
    values["tags"] = ["crossl", "time-series", "sensors", "self-supervised-learning"]
    if facts.inputs is not None:
        values["model-index"] = [{"name": facts.name, "results": [_result(facts.inputs)]}]
    return ["---", dump_yaml(values).rstrip("\n"), "---"]


def _result(inputs: Inputs) -> dict[str, Any]:
    row, task = scores_by_subset(inputs)[0], inputs.task
    metric = {
        "type": USUAL.get(task.metric, task.metric),
        "value": round(float(row["value"]), 4),
        "name": f"{task.label}, people never seen, {row['label_fraction']:.0%} of the labels",
    }
    return {
        "task": {"type": "time-series-classification" if task.kind == "classes" else "other"},
        "dataset": {"name": inputs.summary["dataset"], "type": inputs.summary["dataset"]},
        "metrics": [metric],
    }


def _what(facts: Facts) -> list[str]:
    run, model = facts.run, facts.run.model
    numbers = sum(p.numel() for p in model.parameters())
    sensors = [
        [code(m.name), plain(m.device) or "not said", code(", ".join(m.channels)),
         plain(m.unit) or "not said", f"{m.rate_hz:g} Hz"]
        for m in model.modalities
    ]  # fmt: skip
    missing = "; any of the sensors may be missing" if len(sensors) > 1 else ""
    lines = [
        f"A [crossl](https://arxiv.org/abs/2307.16847) model of {_sensors(len(sensors))}. It turns "
        f"a window of {run.model.window_s:g} s into {model.whole_dim} numbers{missing}. It has "
        f"{numbers:,} weights.",
        "",
        *table(["sensor", "device", "channels", "unit", "rate"], sensors),
    ]
    if facts.probe is None:
        return [*lines, "", "It has no classifier: what its numbers mean is for you to learn."]
    return [
        *lines,
        "",
        f"Its classifier predicts {_names(facts.probe['classes'])}. {_labels(facts)}",
    ]


def _sensors(count: int) -> str:
    return counted(count, "sensor")


def _labels(facts: Facts) -> str:
    probe = facts.probe or {}
    share, windows = probe.get("label_fraction"), probe.get("windows")
    if share is None:
        return "How many labels it was fitted on is not known."
    of = f", {counted(windows, 'window')}," if windows is not None else ""
    return f"It was fitted on {share:.0%} of the labels{of} of training people."


def _names(names: Sequence[str]) -> str:
    return ", ".join(code(name) for name in names)


def _use(facts: Facts) -> list[str]:
    asked = "run.predict(recording_or_arrays)" if facts.probe else "run.embed(recording_or_arrays)"
    return [
        "## How to use it", "", "```python", "import crossl", "",
        'run = crossl.load_run("FOLDER")  # or "hf://USER/REPO", with pip install "crossl[hub]"',
        f"{asked}  # sensors may be missing: left out, None, or NaN", "```",
    ]  # fmt: skip


def _intended(facts: Facts) -> list[str]:
    these = "this sensor" if len(facts.run.model.modalities) == 1 else "these sensors"
    lines = [
        "## What it is for, and what not", "",
        f"For recordings of {these}, in these units and at these rates, worn and used as in the "
        "recordings that it learned from. crossl refuses another unit or rate.",
    ]  # fmt: skip
    if facts.data is not None and not facts.data.commercial_use:
        lines += ["", "**The terms of the recordings forbid commercial use.**"]
    lines += [
        "",
        "Not for decisions about a person's health or safety: nothing in this folder shows that it "
        "is fit for that."
        + (" What is none of its classes is named as one of them." if _is_classes(facts) else ""),
    ]
    return lines


def _is_classes(facts: Facts) -> bool:
    task = {} if facts.probe is None else facts.probe.get("task", {})
    return facts.probe is not None and task.get("kind", "classes") == "classes"


def _data(facts: Facts) -> list[str]:
    told = facts.run.contract
    lines = ["## What it learned from", ""]
    if facts.data is None:
        lines.append(
            f"Recordings that are called {code(told['dataset'])}. " if "dataset" in told
            else "What recordings these were is not known. "
        )  # fmt: skip
        lines[-1] += "Their licence is not known to this folder: ask who shares it."
    else:
        card = facts.data
        lines += [f"**{plain(card.title)}**. {plain(card.description)}", "",
                  f"- Licence of the recordings: {plain(card.licence)}",
                  f"- Cite: {plain(card.citation)}"]  # fmt: skip
        lines += [f"- Address: <{card.url}>"] if card.url else []
    people = told.get("subjects", {})
    if people:
        lines += ["", f"Weights were trained on {_people(len(people['train']))}, "
                  f"{_people(len(people['validation']))} validated, and "
                  f"{_people(len(people['test']))} were kept for tests. No label was used in "
                  "pretraining."]  # fmt: skip
    if told.get("learned_before"):
        lines += ["", f"Before that it learned from {_people(len(told['learned_before']))}."]
    return lines


def _people(count: int) -> str:
    return counted(count, "person", "people")


def _numbers(facts: Facts) -> list[str]:
    lines = ["## Numbers", ""]
    if facts.inputs is None:
        return [*lines, "It was not evaluated: this folder has no scores (`crossl evaluate` makes "
                "them)."]  # fmt: skip
    inputs, rows = facts.inputs, scores_by_subset(facts.inputs)
    main, task = inputs.summary["main"], inputs.task
    budget = "no label of validation people was used" if main.get("budget") == "strict" else (
        "validation people chose among settings"
    )  # fmt: skip
    cells = [
        [_names(row["present"]), f"{row['value']:.3f}", _interval(row), str(row["n"])]
        for row in rows[:MOST_SUBSETS]
    ]
    lines += [
        f"{task.capital} on people never seen, with {main['label_fraction']:.0%} of the labels; "
        f"{budget}. Intervals (95%) resample people.", "",
        *table(["sensors that are there", task.told, "interval", "people"], cells),
    ]  # fmt: skip
    if len(rows) > MOST_SUBSETS:
        lines += ["", f"{len(rows) - MOST_SUBSETS} more sets of sensors are in `results.jsonl`."]
    lines += [f"\n{plain(note)}" for note in fold_notes(inputs.summary)]
    return [*lines, *_trust(facts.reliability)]


def _interval(row: Row) -> str:
    if row["ci_low"] is None or row["ci_high"] is None:
        return "none"
    return f"{row['ci_low']:.3f} to {row['ci_high']:.3f}"


def _trust(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return []
    whole = found["sets"][0]
    worst = max(found["sets"], key=lambda one: one["calibrated"]["ece"])
    all_there, least = (one["calibrated"]["ece"] for one in (whole, worst))
    return [
        "",
        f"Its probabilities are off by {all_there:.3f} on average with every sensor (expected "
        f"calibration error, {_people(found['people'])}), and by {least:.3f} at worst, with "
        f"{_names(worst['present'])}.",
    ]


def _made(facts: Facts) -> list[str]:
    run, told = facts.run, facts.run.contract
    config, versions = run.config, told.get("versions", {})
    encoders = {kind_of(config.encoder), *(kind_of(one) for one in config.encoders.values())}
    lines = [
        "## How it was made", "",
        f"- Method {code(kind_of(config.method))}, encoder {_names(sorted(encoders))}, aggregator "
        f"{code(kind_of(config.aggregator))}, recipe {code(config.recipe)}, seed {config.seed}",
    ]  # fmt: skip
    lines += list(_teacher(told.get("teacher")))
    changed = {name: value for name, value in differences(config).items()
               if not name.startswith(("method.teacher", "evaluation", "contenders"))}  # fmt: skip
    if changed:
        said = ", ".join(
            f"{name}={value.get('kind', '...') if isinstance(value, dict) else value}"
            for name, value in list(changed.items())[:MOST_SUBSETS]
        )
        lines.append(f"- What differs from the recipe: {code(said)}")
    if versions:
        lines.append("- Versions: " + ", ".join(f"{n} {v}" for n, v in sorted(versions.items())))
    if told.get("commit"):
        lines.append(f"- Commit of crossl: {code(told['commit'])}")
    window = told.get("window")
    if window:
        lines.append(f"- Windows of {window['window_s']:g} s, every {window['stride_s']:g} s")
    return [*lines, "- All settings are in `config.yaml`, the contract with its input is in "
            "`model.json`"]  # fmt: skip


def _teacher(told: Mapping[str, Any] | None) -> Iterator[str]:
    if told is None:
        return
    who = "a file of embeddings, which is not here" if told.get("file") else (
        f"a crossl run of {_names(told.get('modalities') or [])}"
    )  # fmt: skip
    yield (f"- Taught by {who}, of {told['paired']} of {told['windows']} training windows "
           f"(SHA-256 {code(told['sha256'][:16])}...)")  # fmt: skip


def _limits(facts: Facts) -> list[str]:
    lines = ["## Limits", ""]
    people = facts.run.contract.get("subjects", {})
    if people:
        lines.append(f"- It learned from {_people(len(people['train']))}; who differs from them "
                     "in age, health or how a device is worn may be classified worse.")  # fmt: skip
    if facts.inputs is not None:
        rows = scores_by_subset(facts.inputs)
        low = rows[0] if len(rows) == 1 else facts.inputs.task.worst([r["value"] for r in rows])
        if isinstance(low, float):
            where = next(row for row in rows if row["value"] == low)
            lines.append(f"- Weakest with {_names(where['present'])} alone: {low:.3f}.")
        fewest = min(row["n"] for row in rows)
        if fewest < FEWEST_PEOPLE:
            lines.append(f"- {_people(fewest).capitalize()} tested it: too few for a difference "
                         "to be significant.")  # fmt: skip
    else:
        lines.append("- Nothing here says how good it is.")
    traps = facts.data.traps if facts.data is not None else ()
    return [*lines, *(f"- Of the recordings: {plain(trap)}" for trap in traps)]
