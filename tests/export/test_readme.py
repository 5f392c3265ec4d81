"""What lies beside a model: names of others are text, and its program is of its own windows."""

from __future__ import annotations

import re

import pytest

from crossl.export.readme import blocks_of, readme_of

RATES = {"mean_and_deviation_of": "the first 60 s"}


def contract(**changed):
    """Of a model of one sensor, whose names are what names may be."""
    acc = {"name": "a|b", "channels": ["<x>"], "unit": "m/s^2", "rate_hz": 20.0}
    told = {
        "crossl": "1", "run": {"recipe": "crossl", "dataset": "<script>alert(1)</script>"},
        "parity": {"subsets": 1, "windows": "real windows", "largest_difference": {"logits": 0.0}},
        "data_licence": "<img src=x>", "int8": None, "window_s": 2.0, "modalities": [acc],
        "standardisation": None, "left_out": ["<b>"], "names": ["<i>run</i>", "a_b_c"],
        "inputs": {"a|b": {"shape": ["batch", 40, 1]}},
        "outputs": {"probabilities": {"shape": ["batch", "2"], "values": "calibrated"}},
    }  # fmt: skip
    return {**told, **changed}


def test_names_of_others_are_text_and_no_html():
    said = re.sub(r"```.*?```", "", readme_of("m.onnx", contract()), flags=re.S)
    assert re.search(r"(?<!\\)<", said) is None
    assert "| `a\\|b` | (batch, 40, 1) | m/s^2 | 20 Hz | \\<x\\> |" in said
    assert "In this order: \\<i\\>run\\</i\\>, a\\_b\\_c." in said


def test_a_quote_in_the_name_of_the_file_ends_no_text():
    for code in blocks_of('a"b.onnx', contract()).values():
        assert '"a\\"b.onnx"' in code


@pytest.mark.parametrize("told", [None, RATES])
def test_the_program_says_that_windows_are_calibrated_where_they_must_be(told):
    code = blocks_of("m.onnx", contract(standardisation=told))["python"]
    compile(code, "README", "exec")
    assert ("runtime(Windows(windows, calibrated=True))" in code) == (told is not None)
    assert ("import Windows" in code) == (told is not None)
