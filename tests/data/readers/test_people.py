"""People: what published files tell of those who were recorded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossl.data.formats import open_file
from crossl.data.prepare import plan_for, prepare_store
from crossl.data.readers import open_dataset
from crossl.data.readers.people import BODY, person_of, read_comments, read_people, units_of
from crossl.data.readers.sleep_edf import AGE
from crossl.data.target_entries import read_targets

CONFIGS = Path(__file__).resolve().parents[3] / "configs"


def test_numbers_of_a_table_are_si_and_what_is_no_number_is_left_out(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text("\ufeffid,age,height,weight\nS1,34,181,70\nS2,?,nan,\n,1,2,3\n", "utf-8")
    people = read_people(path, "id", BODY)
    assert people["S1"] == pytest.approx({"age": 34, "height": 1.81, "weight": 70})
    assert people["S2"] == {}
    assert set(people) == {"S1", "S2"}


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\x01", b"a,b\n1,2\n", b"id\nS1\n"])
def test_a_table_that_is_not_as_published_tells_nothing(tmp_path, content):
    path = tmp_path / "people.csv"
    path.write_bytes(content)
    assert not any(read_people(path, "id", BODY).values())
    assert read_people(tmp_path / "none.csv", "id", BODY) == {}


def test_comments_and_headers_tell_an_age():
    told = read_comments(["age: 30", "gender: M", "height/cm: 177", "nothing"])
    assert person_of(told, {"age": ("age", "year"), "height": ("height/cm", "cm")}) == {
        "age": 30.0, "height": pytest.approx(1.77)
    }  # fmt: skip
    assert AGE.search("X F X Female_33yr")[1] == "33"
    assert AGE.search("X X X X") is None
    assert units_of(BODY) == {"age": "year", "height": "m", "weight": "kg"}


@pytest.mark.parametrize(
    ("name", "folder", "count", "ages"),
    [("noneeg", "noneeg", 20, (19, 33)), ("eegmat", "eegmat", 3, (16, 26)),
     ("wesad", "wesad_wrist", 15, (24, 35))],
)  # fmt: skip
def test_the_published_ages_are_those_of_the_recordings(real_data, name, folder, count, ages):
    with open_dataset(name, real_data(folder)) as dataset:
        told = {r.subject: r.person["age"] for r in dataset.read()}
    assert len(told) == count
    assert ages[0] <= min(told.values()) <= max(told.values()) <= ages[1]


def test_the_headers_of_sleep_edf_tell_an_age(real_data):
    path = next((real_data("sleep_edf") / "sleep-cassette").glob("SC4001*-Hypnogram.edf"))
    assert AGE.search(open_file(path).about["patient"])[1] == "33"


def test_ages_of_sp_sw_har_are_those_of_its_table(real_data):
    with open_dataset("sp_sw_har", real_data("sp_sw_har")) as dataset:
        first = dataset.parts[0]
        assert next(iter(first.read())).person == pytest.approx(
            {"age": 54, "height": 1.90, "weight": 83}
        )


def test_the_shipped_targets_of_noneeg_are_told_of_its_recordings(real_data, tmp_path):
    with open_dataset("noneeg", real_data("noneeg")) as whole:
        block = read_targets(CONFIGS / "targets" / "noneeg.yaml")
        dataset = replace(whole, parts=whole.parts[:2], targets=block)
        recordings = list(dataset.read())
        store = prepare_store(dataset, tmp_path / "store", plan_for(dataset, "noneeg"))
    assert "finger_heart_rate" not in [m.name for m in store.modalities]
    rate = store.target_values("heart_rate")[:, 0]
    for row in (0, 100, len(store) - 1):
        one = next(r for r in recordings if r.subject == store.subject[row])
        begin = round(store.start_s[row])
        samples = one.signals["finger_heart_rate"].values[begin : begin + 30, 0]
        assert rate[row] == pytest.approx(samples.mean(), rel=1e-5)
    assert 0.7 < np.nanmedian(rate) < 2
    state, label = store.target_values("state"), store.label
    assert (state[label == -1] == -1).all()
    assert (state[label == store.classes.index("PhysicalStress")] == [1, 1]).all()
    assert (state[label == store.classes.index("Relax")] == [0, 0]).all()
