"""What is missing or misshapen is refused in one sentence."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from crossl.errors import FormatError
from crossl.report import build_report, load_results


def test_results_are_read_line_by_line(folder: Path) -> None:
    rows = load_results(folder / "results.jsonl")
    assert len(rows) > 100
    assert rows[0]["method"] == "crossl"
    assert rows[0]["value"] == 0.838


@pytest.mark.parametrize("name", ["results.jsonl", "summary.json", "figures.npz"])
def test_missing_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(FormatError, match=rf"{name}: does not exist, and a report needs it"):
        build_report(folder)


@pytest.mark.parametrize("key", ["title", "main", "classes", "hashes", "started"])
def test_missing_summary_key_is_refused(
    folder: Path, edit_summary: Callable[..., None], key: str
) -> None:
    edit_summary(**{key: None})
    with pytest.raises(FormatError, match=rf"summary\.json: .*, {key}: is missing; run `crossl ev"):
        build_report(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"notes": "one"}, r"summary\.json: .*notes: a list is needed, got 'one'"),
        ({"classes": []}, r"summary\.json: .*classes is empty; at least one is needed"),
        ({"main": {"method": "crossl"}}, r"main\.head: is missing"),
        ({"modalities": ["phone"]}, r"modalities\.0: keys and values are needed, got 'phone'"),
        (
            {"examples": [{"class": 5, "subject": "S01", "start_s": 0}]},
            r"examples\[0\]\.class: index out of range, got 5; 0 to 4 is allowed",
        ),
        ({"dataset": "other"}, r"no summary row .* of data set 'other', got \d+ rows"),
        (
            {"main": {"method": "no such", "head": "x", "label_fraction": 0.1}},
            r"no macro_f1 row of the main method \(no such, default, x\)",
        ),
    ],
)
def test_misshapen_summary_is_refused(
    folder: Path, edit_summary: Callable[..., None], change: dict, message: str
) -> None:
    edit_summary(**change)
    with pytest.raises(FormatError, match=message):
        build_report(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"value": "high"},
            r"results\.jsonl:1: .*value: a number is needed, got 'high'; run ",
        ),
        ({"value": float("nan")}, r"results\.jsonl:1: .*value: .*finite number, got nan"),
        ({"ci_low": float("inf")}, r"ci_low: .*finite number, got inf"),
        ({"label_fraction": 0.0}, r"label_fraction: .*greater than 0, got 0\.0"),
        ({"present": ["nose"]}, r"'present' names no known modality, got \['nose'\]; known are"),
        ({"present": []}, r"'present' names no known modality, got \[\]"),
    ],
)
def test_misshapen_result_is_refused(
    folder: Path, edit_results: Callable[..., None], change: dict, message: str
) -> None:
    edit_results(lambda rows: [{**rows[0], **change}, *rows[1:]])
    with pytest.raises(FormatError, match=message):
        build_report(folder)


@pytest.mark.parametrize("key", ["metric", "present", "seed", "n"])
def test_missing_result_key_is_refused(
    folder: Path, edit_results: Callable[..., None], key: str
) -> None:
    edit_results(lambda rows: [*rows[:3], {k: v for k, v in rows[3].items() if k != key}])
    with pytest.raises(FormatError, match=rf"results\.jsonl:4: .*, {key}: is missing"):
        load_results(folder / "results.jsonl")


def test_two_rows_for_one_number_are_refused(
    folder: Path, edit_results: Callable[..., None]
) -> None:
    edit_results(lambda rows: [*rows, rows[0]])
    with pytest.raises(FormatError, match=r"two summary rows for one number, got .*; one is"):
        build_report(folder)


@pytest.mark.parametrize(
    ("line", "message"),
    [("{", r"x\.jsonl:1: not JSON"), ("3", r"x\.jsonl:1: not an object, got '3'")],
)
def test_line_that_is_no_object_is_refused(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(FormatError, match=message):
        load_results(path)


def test_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(FormatError, match="not text, got invalid start byte; UTF-8 is needed"):
        load_results(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"map_label": None}, r"'map_label' has the wrong shape, got nothing; \(900,\) is needed"),
        ({"map_xy": np.zeros((900, 3))}, r"'map_xy' has the wrong shape, got \(900, 3\)"),
        ({"map_label": np.full(900, 5)}, r"map_label: index out of range, got 5; -1 to 4"),
        ({"map_subject": np.full(900, -1)}, r"map_subject: index out of range, got -1; 0 to 22"),
        ({"confusion": np.zeros((4, 5))}, r"'confusion' has the wrong shape, got \(4, 5\)"),
        ({"example/0/phone_acc": np.zeros(9)}, r"'example/0/phone_acc' has the wrong shape"),
    ],
)
def test_misshapen_array_is_refused(
    folder: Path, edit_arrays: Callable[..., None], change: dict, message: str
) -> None:
    edit_arrays(**change)
    with pytest.raises(FormatError, match=message):
        build_report(folder)


def test_arrays_that_are_no_archive_are_refused(folder: Path) -> None:
    (folder / "figures.npz").write_bytes(b"not an archive")
    with pytest.raises(FormatError, match=r"figures\.npz: cannot be read.*an \.npz is"):
        build_report(folder)


def test_epoch_without_its_number_is_refused(folder: Path) -> None:
    path = folder / "fold-1" / "metrics.jsonl"
    path.write_text('{"train/loss": 1.0}\n', encoding="utf-8")
    with pytest.raises(FormatError, match=r"metrics\.jsonl:1: .*epoch: is missing; train again"):
        build_report(folder)
