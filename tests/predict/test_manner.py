"""How a classifier's outputs are read: context, sets, and what cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from crossl.api.run import Run
from crossl.api.timelines import timeline_columns
from crossl.api.training import fit_probe
from crossl.data.recording import LabelInterval, Recording, Signal
from crossl.data.write import write_store
from crossl.decode import Decoder
from crossl.errors import ConfigError, FormatError
from crossl.predict.manner import UNCALIBRATED, Asked, manner_of, notes_of
from crossl.predict.records import record_of
from crossl.predict.sight import Sight
from crossl.predict.tables import csv_pieces
from crossl.predict.timeline import NOTHING, NOTHING_USABLE, timeline_of

from .conftest import ACC, ECG, SPEC

Recorded = Callable[..., Recording]


@pytest.fixture(scope="module")
def fitted(run: Run, recorded: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A classifier of people who change between rest and run often enough to learn from."""

    def person(name: str, seed: int) -> Recording:
        rng = np.random.default_rng(seed)
        signals = {}
        for m in (ACC, ECG):
            t = np.arange(round(80 * m.rate_hz)) / m.rate_hz
            loud = np.where(t % 20 >= 10, 2.0, 1.0)[:, None]
            values = loud * rng.normal(size=(len(t), len(m.channels)))
            signals[m.name] = Signal(values.astype(np.float32), m.rate_hz)
        labels = [LabelInterval(10 * i, 10 * i + 10, ("rest", "run")[i % 2]) for i in range(8)]
        return Recording(name, "1", {"acc": ACC, "ecg": ECG}, signals, labels)

    store = write_store(
        [person(name, seed) for seed, name in enumerate(("bob", "cem", "dee", "eva", "fay"))],
        tmp_path_factory.mktemp("stores") / "five", modalities=(ACC, ECG),
        classes=("rest", "run"), spec=SPEC, about={},
    )  # fmt: skip
    made = fit_probe(run, store, train=["bob", "cem"], validation=["dee", "eva", "fay"])
    return replace(made, contract={**made.contract, "window": SPEC.as_dict()})


def about_of(run: Run) -> dict[str, Any]:
    assert run.classifier is not None
    return dict(run.classifier.about)


def test_context_changes_labels_and_probabilities_as_the_decoder_says(
    fitted: Run, recorded: Recorded
) -> None:
    one = recorded(gap_s=(10.0, 14.0))
    plain = fitted.timeline(one, context="off")
    decoder = Decoder.from_dict(about_of(fitted)["context"])
    window = plain["reason"] == ""
    alone = np.stack([plain[f"probability_{name}"] for name in fitted.classes], axis=1)[window]
    start_s = plain["start_s"][window]
    for context in ("causal", "whole", "path"):
        line = fitted.timeline(one, context=context)
        found = np.stack([line[f"probability_{name}"] for name in fitted.classes], axis=1)[window]
        form = "causal" if context == "causal" else "whole"
        wanted = decoder.probabilities(alone, start_s, form)
        np.testing.assert_allclose(found, wanted, atol=1e-6)
        said = decoder.path(alone, start_s) if context == "path" else found.argmax(axis=1)
        assert line["label"][window].tolist() == np.array(fitted.classes)[said].tolist()
        assert (line["label"][~window] == "").all()
        unsure = fitted.timeline(one, context=context, abstain=1.0)
        assert (unsure["label"][window] != "").sum() <= (found.max(axis=1) >= 1).sum()
    usual = fitted.timeline(one)
    helps = "whole" if decoder.helps["whole"] else "off"
    assert usual["label"].tolist() == fitted.timeline(one, context=helps)["label"].tolist()


def test_a_window_is_decided_by_the_past_alone_where_context_is_causal(
    fitted: Run, recorded: Recorded
) -> None:
    whole, half = recorded(), recorded()
    cut = {name: replace(one, values=one.values[: len(one.values) // 2])
           for name, one in half.signals.items()}  # fmt: skip
    part = fitted.timeline(replace(half, signals=cut, labels=()), context="causal")
    line = fitted.timeline(whole, context="causal")
    np.testing.assert_allclose(
        line["probability_run"][: len(part["label"])], part["probability_run"], atol=1e-5
    )


def test_sets_hold_the_label_and_more_where_it_is_unsure(fitted: Run, recorded: Recorded) -> None:
    line = fitted.timeline(recorded(gap_s=(10.0, 14.0)), sets=0.9, context="off")
    assert list(line).index("set") == list(line).index("truth") + 1
    for label, labels in zip(line["label"], line["set"], strict=True):
        assert label in labels.split(" | ")
    assert (line["set"][line["label"] == ""] == "").all()
    wide = fitted.timeline(recorded(), sets=0.99, context="off")["set"]
    narrow = fitted.timeline(recorded(), sets=0.5, context="off")["set"]
    assert sum(map(len, wide)) >= sum(map(len, narrow))
    assert "set" in fitted.timeline(recorded(), sets=0.9, context="whole")
    assert "set" not in fitted.timeline(recorded())


def test_what_cannot_be_used_is_told_and_not_classified(
    fitted: Run, recorded: Recorded, sight: Sight
) -> None:
    one = recorded(seconds=60)
    signals = {name: replace(signal, values=signal.values.copy())
               for name, signal in one.signals.items()}  # fmt: skip
    # windows of 2 s are too short to call a slow sensor stuck; these are out of any range
    signals["acc"].values[200:600] = 1000.0
    stuck = replace(one, signals=signals)
    line = fitted.timeline(stuck)
    inside = (line["start_s"] >= 10) & (line["end_s"] <= 30)
    assert set(line["unusable"][inside].tolist()) == {"acc: values that cannot be"}
    assert not line["present_acc"][inside].any()
    assert (line["label"][inside] != "").all()  # the chest still tells
    outside = (line["end_s"] <= 10) | (line["start_s"] >= 30)
    assert set(line["unusable"][outside].tolist()) == {""}
    del signals["ecg"]
    alone = replace(one, signals={"acc": signals["acc"]}, modalities={"acc": ACC})
    line = fitted.timeline(alone)
    assert set(line["label"][inside].tolist()) == {""}
    assert set(line["reason"][inside].tolist()) == {f"{NOTHING_USABLE}: acc: values that cannot be"}
    seen = sight.see(alone)
    assert fitted.classifier is not None
    probe = fitted.classifier.probe
    manner = manner_of(about_of(fitted), probe, fitted.modalities, Asked())
    table = timeline_of(fitted.model, probe, seen, manner)
    record = record_of(seen, table)
    assert record["unusable"]["acc: values that cannot be"] == inside.sum()
    rows = b"".join(csv_pieces(table)).decode().splitlines()
    assert rows[0].endswith("present_ecg,unusable,reason")
    assert NOTHING not in table.reason.tolist()


def test_unusable_stretches_are_classified_if_asked(fitted: Run, recorded: Recorded) -> None:
    one = recorded()
    signals = {name: replace(signal, values=signal.values.copy())
               for name, signal in one.signals.items()}  # fmt: skip
    signals["acc"].values[:160] = 240.0
    wrong = replace(one, signals=signals)
    assert "unusable" in fitted.timeline(wrong)
    kept = fitted.timeline(wrong, keep_unusable=True)
    assert "unusable" not in kept
    assert (kept["label"] != "").all()


def test_what_an_older_classifier_does_not_keep_is_told(fitted: Run, recorded: Recorded) -> None:
    assert fitted.classifier is not None
    probe, about = fitted.classifier.probe, {}
    for asked, what in ((Asked(context="whole"), "context: the classifier keeps no transitions"),
                        (Asked(sets=0.9), "sets: the classifier keeps no thresholds")):  # fmt: skip
        with pytest.raises(FormatError, match=f"{what}.*run `crossl probe` again"):
            manner_of(about, probe, fitted.modalities, asked)
    plain = manner_of(about, probe, fitted.modalities, Asked())
    assert (plain.context, plain.temperatures, plain.sets) == ("off", None, None)
    assert plain.usable is not None
    assert plain.usable.off["acc"] == ("range", "contact", "unworn")  # its units are not known


def test_nonsense_is_refused(fitted: Run, recorded: Recorded, sight: Sight) -> None:
    one = recorded()
    with pytest.raises(ConfigError, match=r"context: got 'hole'; .*whole"):
        fitted.timeline(one, context="hole")
    for level in (0.0, 0.3, 1.0):
        with pytest.raises(ConfigError, match=f"sets: got {level:g}; a share of windows from 0.5"):
            fitted.timeline(one, sets=level)
    assert fitted.classifier is not None
    other = {**about_of(fitted), "context": {**about_of(fitted)["context"], "prior": [1.0]}}
    with pytest.raises(FormatError, match="transitions between classes cannot be used"):
        timeline_columns(fitted.model, fitted.classifier.probe, other, sight.see(one),
                         Asked(context="whole"))  # fmt: skip


def test_notes_say_what_was_chosen_and_what_is_not_promised(fitted: Run) -> None:
    assert fitted.classifier is not None
    probe, about = fitted.classifier.probe, about_of(fitted)
    asked = Asked(context="causal", sets=0.9)
    manner = manner_of(about, probe, fitted.modalities, asked)
    (sets,) = notes_of(manner, probe, asked)
    assert sets.startswith("sets: thresholds are of 3 validation subjects, which promises 0.9 of")
    chosen = replace(manner, sets=None, temperatures=None)
    notes = notes_of(chosen, probe, Asked())
    assert notes == [
        "context: causal, as it helped validation subjects; --context off leaves each window to "
        "itself",
        UNCALIBRATED,
    ]
