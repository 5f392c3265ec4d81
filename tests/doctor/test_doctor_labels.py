"""Faults of labels, of files, and of what stands under two names."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from crossl.data.readers.dataset import Part
from crossl.data.recording import LabelInterval
from crossl.doctor import as_text, examine_recordings
from crossl.doctor.finding import Collector, Finding, amount_text, one
from crossl.errors import DataError


def labelled(clinic, subject, *parts, seed=0, session="a"):
    """Make a recording with labels (name, start, end)."""
    labels = [LabelInterval(start, end, name) for name, start, end in parts]
    return replace(clinic.sound(subject, seed=seed, session=session), labels=labels)


BOTH = ("rest", 0, 60), ("walk", 60, 120)


def test_recordings_without_labels_are_noted(clinic):
    diagnosis = clinic.examine(labelled(clinic, "S1"), labelled(clinic, "S2", seed=1))
    assert clinic.told(diagnosis) == {("labels", "", "note")}
    assert diagnosis.findings[0].sentence == "no window is labelled"


def test_a_subject_without_labels_is_named(clinic):
    diagnosis = clinic.examine(
        labelled(clinic, "S1", *BOTH),
        labelled(clinic, "S2", *BOTH, seed=1),
        labelled(clinic, "S3", seed=2),
    )
    assert clinic.told(diagnosis) == {("labels", "", "note")}
    assert diagnosis.findings[0].place(diagnosis.counts) == "in subject S3"


def test_a_class_without_a_window_is_named(clinic):
    recordings = [labelled(clinic, f"S{i}", *BOTH, seed=i) for i in (1, 2)]
    diagnosis = clinic.examine(*recordings, classes=("rest", "walk", "run"))
    assert clinic.told(diagnosis) == {("labels", "run", "warning")}
    assert diagnosis.findings[0].sentence == "has no window"
    assert diagnosis.labels.classes == ("rest", "walk", "run")
    assert np.array(diagnosis.labels.amount).tolist() == [[23, 23, 0], [23, 23, 0]]


def test_a_class_that_one_subject_holds_cannot_be_tested(clinic):
    diagnosis = clinic.examine(
        labelled(clinic, "S1", *BOTH), labelled(clinic, "S2", ("rest", 0, 120), seed=1)
    )
    assert clinic.told(diagnosis) == {("labels", "walk", "warning")}
    assert diagnosis.findings[0].sentence == "only one of 2 subjects has it"
    assert diagnosis.findings[0].example == "subject S1"


@pytest.mark.parametrize(("end", "severity"), [(114.0, "note"), (60.0, None)])
def test_a_rare_class_is_measured(clinic, end, severity):
    parts = ("rest", 0, end), ("walk", end, 120)
    diagnosis = clinic.examine(*(labelled(clinic, f"S{i}", *parts, seed=i) for i in (1, 2)))
    assert clinic.told(diagnosis) == ({("labels", "walk", severity)} if severity else set())
    if severity:
        assert diagnosis.findings[0].sentence == "has 4 windows, 'rest' has 22.5 times as many"


def test_a_label_that_is_no_class_is_told_with_its_time(clinic):
    parts = ("rest", 0, 40), ("walk", 40, 80), ("Walk", 80, 120)
    diagnosis = clinic.examine(*(labelled(clinic, f"S{i}", *parts, seed=i) for i in (1, 2)))
    assert clinic.told(diagnosis) == {("labels", "Walk", "warning"), ("labels", "walk", "note")}
    assert "is a label of 80 s" in diagnosis.findings[0].sentence


def test_a_class_that_is_a_whole_recording_is_confounded(clinic):
    recordings = [
        labelled(clinic, f"S{i}", (name, 0, 120), seed=2 * i + j, session=name)
        for i in (1, 2)
        for j, name in enumerate(clinic.classes)
    ]
    diagnosis = clinic.examine(*recordings)
    assert clinic.told(diagnosis) == {("labels", "", "warning")}
    assert "each class of a subject is one whole recording" in diagnosis.findings[0].sentence
    again = replace(recordings[0], session="again")
    values = clinic.sound(seed=50).signals
    more = clinic.examine(*recordings, replace(again, signals=values))
    assert more.findings == ()


def test_a_sensor_that_some_subjects_lack_is_noted_and_one_that_nobody_has_warns(clinic):
    def lacking(subject, seed, *names):
        recording = clinic.sound(subject, seed=seed)
        signals = {k: v for k, v in recording.signals.items() if k not in names}
        return replace(recording, signals=signals)

    diagnosis = clinic.examine(
        lacking("S1", 1, "eda"), lacking("S2", 2, "eda", "ecg"), lacking("S3", 3, "eda")
    )
    assert clinic.told(diagnosis) == {("coverage", "eda", "warning"), ("coverage", "ecg", "note")}
    assert "was recorded by nobody" in diagnosis.findings[0].sentence
    assert diagnosis.findings[1].place(diagnosis.counts) == "in subject S2"


def test_the_same_samples_under_two_subjects_are_an_error(clinic):
    copy = replace(clinic.sound("S1"), subject="S9")
    diagnosis = clinic.examine(clinic.sound("S1"), clinic.sound("S2", seed=1), copy)
    every = "wrist_acc, wrist_gyro, chest_acc, ecg, skin_temp and 3 more"
    assert clinic.told(diagnosis) == {("copies", every, "error"), ("leakage", "", "error")}
    assert diagnosis.findings[1].amount == (94.0, 94.0)
    place = diagnosis.findings[0].place(diagnosis.counts)
    assert place == "in subject S9, session a: as in subject S1, session a"


def test_a_stretch_of_one_subject_in_another_leaks(clinic):
    stranger = clinic.sound("S2", seed=1)
    signals = {}
    for name, signal in clinic.sound("S1").signals.items():
        values = stranger.signals[name].values.copy()
        piece = slice(round(40 * signal.rate_hz), round(61 * signal.rate_hz))
        values[piece] = signal.values[piece] * np.float32(1.0001)
        signals[name] = replace(signal, values=values)
    diagnosis = clinic.examine(clinic.sound("S1"), replace(stranger, signals=signals))
    assert clinic.told(diagnosis) == {("leakage", "", "error")}
    (finding,) = diagnosis.findings
    # 40 to 61 s holds seven windows of 5 s every 2.5 s, each under both subjects
    assert finding.amount == (14.0, 14.0)
    assert finding.example == ("subject S1, session a, at 40 s and subject S2, session a, at 40 s")


def test_prints_of_long_recordings_are_thinned_alike(clinic, monkeypatch):
    monkeypatch.setattr("crossl.doctor.fingerprints.MAX_PRINTS", 60)
    copy = replace(clinic.sound("S1"), subject="S9")
    diagnosis = clinic.examine(clinic.sound("S1"), clinic.sound("S2", seed=1), copy)
    leaks = [f for f in diagnosis.findings if f.check == "leakage"]
    assert [f.amount for f in leaks] == [(24.0, 24.0)]
    assert diagnosis.limits == ("Copies were looked for among one in 4 windows of each recording.",)


def broken(sentence):
    raise DataError(sentence)
    yield


def test_a_part_that_cannot_be_read_is_a_finding_and_the_rest_is_examined(clinic):
    parts = [Part(f"bad{i}", partial(broken, f"f{i}.csv: is empty; export it")) for i in (1, 2)]
    dataset = clinic.dataset(clinic.sound(), parts=parts)
    told = []
    diagnosis = examine_recordings(dataset, lambda what, share: told.append((what, share)))
    assert clinic.told(diagnosis) == {("readable", "", "error")}
    assert diagnosis.findings[0].what == "f1.csv: is empty; export it"
    assert diagnosis.findings[0].count == 2
    assert diagnosis.counts["recordings"] == 1
    assert [share for _, share in told] == pytest.approx([1 / 3, 2 / 3, 1])


def test_nothing_readable_is_a_diagnosis_too(clinic):
    parts = [Part("bad", partial(broken, "f.csv: is empty; export it"))]
    diagnosis = examine_recordings(clinic.dataset(parts=parts))
    assert clinic.told(diagnosis) == {("readable", "", "error")}
    assert diagnosis.coverage.subjects == []


def test_alike_findings_become_one_with_the_worst_as_example():
    found = Collector()
    for number, (severity, amount) in enumerate([("note", 2.0), ("warning", 9.0), ("note", 3.0)]):
        finding = Finding("gaps", severity, "acc", "a gap of {}", amount=one(amount), unit="s")
        found.add([finding], f"subject S{number}")
    found.add([Finding("gaps", "note", "ecg", "a gap of {}", amount=one(1.0), unit="s")], "S7")
    first, second = found.findings()
    assert (first.severity, first.count, first.amount) == ("warning", 3, (2.0, 9.0))
    assert first.sentence == "a gap of 2 to 9 s"
    assert first.place({"recordings": 5}) == "in 3 of 5 recordings, e.g. subject S1"
    assert second.where == "ecg"


@pytest.mark.parametrize(
    ("amount", "unit", "text"),
    [
        ((0.1, 0.25), "%", "10 to 25%"),
        ((51.2, 51.2), "Hz", "51.2 Hz"),
        ((3.0, 12_345.6), "", "3 to 12,346"),
    ],
)
def test_amounts_read_well(amount, unit, text):
    assert amount_text(amount, unit) == text


def test_text_names_what_was_found_what_to_do_and_what_was_quiet(clinic):
    recording = clinic.sound()
    values = recording.signals["skin_temp"].values - 273.15
    diagnosis = clinic.examine(clinic.put(recording, "skin_temp", values))
    lines = as_text(diagnosis, name="folder")
    text = "\n".join(lines)
    assert lines[:3] == [
        "folder: Made up",
        "1 recording, 1 subject, 8 modalities, 2 minutes",
        "1 error, no warnings, no notes",
    ]
    assert "error   skin_temp: its median size is" in text
    assert "-> Declare the unit that the file has (perhaps degC)" in " ".join(text.split())
    assert "nothing found in: readable, copies, range" in text
    assert max(map(len, lines)) <= 100
