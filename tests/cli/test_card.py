"""`crossl card`: what a run folder says of itself, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crossl.commands.card import write_card
from crossl.data.readers import get_reader
from crossl.files import write_signed_json
from crossl.yaml_text import parse_yaml

Crossl = Callable[..., Any]
Stores = Callable[..., Path]


def front_of(text: str) -> dict[str, Any]:
    assert text.startswith("---\n")
    return parse_yaml(text.split("---\n")[1])


def tell(run: Path, **facts: Any) -> None:
    """Change what a run says of itself."""
    told = json.loads((run / "model.json").read_text(encoding="utf-8"))
    write_signed_json(run / "model.json", {**told, **facts})


def rows_of(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_a_run_without_scores_says_so(run: Path, crossl: Crossl) -> None:
    done = crossl("card", run)
    assert (done.code, done.out) == (0, f"{run / 'README.md'}: written\n")
    text = (run / "README.md").read_text(encoding="utf-8")
    front = front_of(text)
    assert front["library_name"] == "crossl"
    assert not {"license", "model-index", "datasets"} & front.keys()
    assert "It was not evaluated" in text
    assert "Nothing here says how good it is." in text
    assert "Its classifier predicts `rest`, `run`. It was fitted on 50% of the labels" in text
    assert "Recordings that are called `tiny`. Their licence is not known to this folder" in text
    assert ["`acc`", "wrist", "`x, y, z`", "m/s^2", "20 Hz"] in rows_of(text)
    for one in ("schedule.steps=4", "encoder.width=8", "method.expander_dim=16"):
        assert one in text


def test_scores_are_those_of_the_results_with_their_intervals(
    run: Path, stores: Stores, crossl: Crossl
) -> None:
    assert crossl("evaluate", run, "--store", stores()).code == 0
    text = write_card(run, licence="apache-2.0", name="Watch & chest").read_text(encoding="utf-8")
    records = [json.loads(line) for line in (run / "results.jsonl").read_text().splitlines()]
    wanted = {
        tuple(r["present"]): r
        for r in records
        if r["metric"] == "macro_f1" and r["method"] == "crossl" and r["budget"] == "strict"
        and r["fold"] is r["seed"] is r["subject"] is None
    }  # fmt: skip
    assert len(wanted) == 3
    found = {row[0]: row[1:] for row in rows_of(text)}
    for present, record in wanted.items():
        name = ", ".join(f"`{one}`" for one in present)
        low, high = record["ci_low"], record["ci_high"]
        interval = "none" if low is None else f"{low:.3f} to {high:.3f}"
        assert found[name] == [f"{record['value']:.3f}", interval, str(record["n"])]
    front = front_of(text)
    (result,) = front["model-index"][0]["results"]
    assert result["metrics"][0]["value"] == round(wanted["acc", "ecg"]["value"], 4)
    assert (result["metrics"][0]["type"], front["license"]) == ("f1", "apache-2.0")
    hub = pytest.importorskip("huggingface_hub")
    read = hub.ModelCard(text).data  # as Hugging Face reads it
    assert (read.library_name, read.license) == ("crossl", "apache-2.0")
    assert read.eval_results[0].metric_type == "f1"
    assert "Only 1 of 5 folds was run" in text
    assert "too few for a difference" in text
    assert not re.search(r"\bS\d\b", text)  # nobody is named


def test_the_licence_and_the_traps_of_recordings_are_those_of_their_reader(run: Path) -> None:
    tell(run, reading={"reader": "wesad", "options": {}})
    text, card = write_card(run).read_text(encoding="utf-8"), get_reader("wesad").CARD
    assert f"Licence of the recordings: {card.licence}" in text.replace("\\", "")
    assert card.citation in text.replace("\\", "")
    assert ("forbid commercial use" in text) == (not card.commercial_use)
    assert text.count("- Of the recordings: ") == len(card.traps)
    tell(run, reading={"reader": "folder", "options": {}})
    assert "licence is not known" in write_card(run).read_text(encoding="utf-8")


def test_names_of_others_are_text_and_nothing_else(run: Path) -> None:
    tell(run, dataset="a|b <img src=x> `c`\n# d")
    text = write_card(run, name="<script>|*x*").read_text(encoding="utf-8")
    assert "# \\<script\\>\\|\\*x\\*\n" in text
    assert "``a\\|b <img src=x> `c` # d``" in text
    assert "\n# d" not in text


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--licence", "My own!"), "--licence: got 'My own!'"),
        (("--store", "nowhere"), "nowhere: is not a store"),
    ],
)
def test_nonsense_is_refused(
    options: tuple[str, ...], told: str, run: Path, crossl: Crossl
) -> None:
    done = crossl("card", run, *options)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert told in done.err
    assert not (run / "README.md").exists()


def test_a_student_says_who_taught_it(run: Path, stores: Stores, tmp_path: Path) -> None:
    from crossl.commands.distil import distil_run

    distil_run(run, stores(), tmp_path / "watch", keep=["acc"], overrides=["method.paired=0.5"])
    text = write_card(tmp_path / "watch").read_text(encoding="utf-8")
    assert "Taught by a crossl run of `acc`, `ecg`, of 30 of 60 training windows" in text
    assert "It has no classifier" in text
