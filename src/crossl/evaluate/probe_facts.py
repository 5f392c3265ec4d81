"""What is kept beside a probe: temperatures, transitions between classes, thresholds of sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crossl.decode import FORMS
from crossl.errors import counted
from crossl.evaluate.confidence import fit_temperatures
from crossl.evaluate.context import Timed, fit_decoder
from crossl.evaluate.latents import LatentTable
from crossl.evaluate.probe import Probe
from crossl.evaluate.sets import fit_sets


def probe_facts(
    probe: Probe, train: LatentTable, validation: LatentTable, windows: Timed | None
) -> dict[str, Any]:
    """Return what a probe keeps of how sure it is; nothing without classes.

    Args:
        probe: fitted on `train`.
        train: labelled windows of training subjects.
        validation: windows of validation subjects, who decide all of it.
        windows: of which both are rows, where it is known which recordings they are of.

    Returns:
        JSON values: `temperatures`, `context` (see `crossl.decode`; with `judged`, what validation
        subjects say of it) and `sets`.
    """
    out: dict[str, Any] = {}
    temperatures = fit_temperatures(
        probe, validation, [m.name for m in validation.model.modalities]
    )
    if temperatures is not None:
        out["temperatures"] = temperatures.as_dict()
    found = (
        None if windows is None else fit_decoder(probe, temperatures, train, validation, windows)
    )
    if found is not None:
        decoder, told = found
        judged = {
            form: {"gain": [round(float(x), 4) for x in told[form].gain],
                   "log_loss": [round(told[form].before, 4), round(told[form].loss, 4)]}
            for form in FORMS
        }  # fmt: skip
        out["context"] = {**decoder.as_dict(), "judged": judged}
    sets = fit_sets(probe, temperatures, validation, found[0] if found else None, windows)
    if sets is not None:
        out["sets"] = sets.as_dict()
    return out


def told_of(facts: Mapping[str, Any]) -> list[str]:
    """Say what `probe_facts` found of context, a sentence each; nothing without classes.

    Examples:
        >>> told_of({"temperatures": {}})
        ['context: too little is known of how classes follow each other']
    """
    if "temperatures" not in facts:
        return []
    kept = facts.get("context")
    if kept is None:
        return ["context: too little is known of how classes follow each other"]
    gains = {form: kept["judged"][form]["gain"] for form in FORMS}
    mean = ", ".join(f"{form} {sum(gain) / len(gain):+.3f}" for form, gain in gains.items())
    used = [form for form in FORMS if kept["helps"][form]]
    end = f"used: {', '.join(used)}" if used else "off unless you ask for it"
    people = counted(len(gains["whole"]), "validation subject")
    return [f"context: {mean} in the score of {people}; {end}"]
