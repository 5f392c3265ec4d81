"""Who was learned from, as a run remembers it: nobody of them may be tested later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.api.inputs import Given
from crossl.data.calibrated import calibration_facts
from crossl.data.contract import how_read, window_rules
from crossl.data.targets import LABEL
from crossl.errors import SplitError
from crossl.names import check_name
from crossl.stored import learned_from


def facts_of(
    given: Given,
    train: NDArray[np.int64],
    validation: NDArray[np.int64],
    *,
    known: set[str] | None = None,
) -> dict[str, Any]:
    """Say who was learned from, and how windows were cut; everybody else may be tested.

    Args:
        given: windows of people.
        train: rows that were learned from.
        validation: rows that chose something.
        known: people that were learned from before.

    Raises:
        DataError: a subject has no name that a file could hold.
    """
    whose = given.whose
    learned, chose = (np.unique(whose[rows]).tolist() for rows in (train, validation))
    test = sorted(set(whose.tolist()) - {*learned, *chose} - (known or set()))
    for name in (*learned, *chose, *test):
        check_name("subject", name)
    facts: dict[str, Any] = {}
    if given.store is not None:
        facts = {"dataset": given.store.manifest["dataset"], **window_rules(given.store),
                 **how_read(given.store), **calibration_facts(given.store)}  # fmt: skip
    return {
        **facts,
        "classes": [c for t in given.source.targets if t.name == LABEL for c in t.names],
        "statistics": "channel mean and standard deviation of the training subjects",
        "subjects": {"train": learned, "validation": chose, "test": test},
    }


def with_people_before(
    facts: Mapping[str, Any], before: Mapping[str, Any], given: Given, *, same_names: bool
) -> dict[str, Any]:
    """Add whom a model learned from before it was trained on.

    Args:
        facts: of this training.
        before: the contract of the run that is trained on.
        given: the windows of this training.
        same_names: people of the same name are others.

    Raises:
        SplitError: the fold of a store tests one of them.
    """
    known = learned_from(before)
    if same_names and given.subject is not None:
        known -= set(given.subject.tolist())
    if not known:
        return dict(facts)
    found = dict(facts)
    if "subjects" in found:
        people = found["subjects"]
        tested = sorted(known & set(people["test"]))
        if tested and "fold" in found:
            raise SplitError(
                f"pretrain: fold {found['fold']} tests subject '{tested[0]}', whom the run learned "
                "from before; choose another fold, name train and validation, or say "
                "same_names=True if these are others"
            )
        left = [name for name in people["test"] if name not in known]
        found["subjects"] = {**people, "test": left}
    return {**found, "learned_before": sorted(known)}
