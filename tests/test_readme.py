"""The Python of README and docs runs as it stands."""

from __future__ import annotations

import gzip
import inspect
import json
import re
from dataclasses import fields
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import crossl
from crossl.config.schema import _admit_new_parts
from crossl.registry import SORTS

ROOT = Path(__file__).resolve().parents[1]


def python_blocks(path: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


BLOCKS = [
    pytest.param(block, id=f"{path.name}-{i}")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    # whose blocks follow on each other, see test_tutorial.py and below
    if path.name not in ("tutorial.md", "messy.md", "python.md")
    for i, block in enumerate(python_blocks(path))
    if not re.search(r'load_run\("(runs/har|crossl-demo/fold-0)"\)', block)
]


def test_the_readme_has_an_example():
    assert python_blocks(ROOT / "README.md")


@pytest.mark.parametrize("block", BLOCKS)
def test_example_runs(block, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "example", "exec"), {"__name__": "example"})  # noqa: S102 - our own docs
    assert capsys.readouterr().out.strip()


def test_the_classifier_of_the_readme_survives_the_sensor_that_died(capsys):
    block, _ = python_blocks(ROOT / "README.md")
    exec(compile(block, "example", "exec"), {"__name__": "example"})  # noqa: S102 - our own docs
    assert float(capsys.readouterr().out.split()[-1]) > 0.9


def make_run(names, store, folder):
    """Write a store of two sensors, and a run with its classifier."""
    rng = np.random.default_rng(0)
    known = {name: crossl.Modality(name, ("x", "y", "z"), "m/s^2", 20.0) for name in names}
    labels = [crossl.LabelInterval(0, 20, "sit"), crossl.LabelInterval(20, 40, "walk")]
    people = (
        crossl.Recording(
            f"P{person}", "one", known,
            {n: crossl.Signal(rng.normal(size=(800, 3)).astype(np.float32), 20.0) for n in names},
            labels,
        )
        for person in range(5)
    )  # fmt: skip
    store = crossl.write_store(people, store, modalities=list(known.values()),
                               classes=["sit", "walk"], about={},
                               spec=crossl.WindowSpec(window_s=2.0, stride_s=2.0))  # fmt: skip
    run = crossl.build_model(store, settings={"encoder.width": 8})
    who = {"train": ["P0", "P1"], "validation": ["P2"]}
    crossl.fit_probe(run, store, **who).save(folder)


def test_the_readme_predicts_with_a_run_of_the_command_line(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    make_run(("phone_acc", "watch_acc"), "stores/har", "runs/har")
    _, block = python_blocks(ROOT / "README.md")
    exec(compile(block, "example", "exec"), {"__name__": "example"})  # noqa: S102 - our own docs
    told = capsys.readouterr().out
    assert re.search(r"\['(sit|walk)' '(sit|walk)' '(sit|walk)'\] \(100, 2\) \(100, \d+\)", told)


def test_the_quick_start_uses_the_run_of_the_demo(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    make_run(("watch_acc", "watch_gyro"), "crossl-demo/store", "crossl-demo/fold-0")
    (block,) = python_blocks(ROOT / "docs" / "quickstart.md")
    exec(compile(block, "example", "exec"), {"__name__": "example"})  # noqa: S102 - our own docs
    assert re.search(r"'all sensors': .*0\.\d+.*'no gyroscope': .*0\.\d+", capsys.readouterr().out)


@pytest.fixture
def registries():
    """Forget afterwards what an example registers."""
    before = {name: dict(registry._parts) for name, registry in SORTS.items()}
    yield
    for name, parts in before.items():
        SORTS[name]._parts.clear()
        SORTS[name]._parts.update(parts)
    _admit_new_parts()


def test_the_python_page_prints_what_it_says(capsys, monkeypatch, tmp_path, registries):
    monkeypatch.chdir(tmp_path)
    blocks = python_blocks(ROOT / "docs" / "python.md")
    space = {"__name__": "example"}
    for block in blocks:
        exec(compile(block, "python.md", "exec", dont_inherit=True), space)  # noqa: S102 - our own docs
    wanted = re.findall(r"# -> (.*)$", "\n".join(blocks), re.MULTILINE)
    assert capsys.readouterr().out.splitlines() == wanted
    assert len(wanted) == "".join(blocks).count("print(")


def test_every_public_name_has_docs_and_an_example_that_is_executed():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    lines = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    told = [name for line in lines for name in re.findall(r"`(\w+)`", line)]
    assert sorted(told) == sorted(crossl.__all__)
    shown = "".join(python_blocks(ROOT / "docs" / "python.md"))
    for name in crossl.__all__:
        docs = getattr(crossl, name).__doc__
        assert docs, name
        assert ">>>" in docs or f"crossl.{name}(" in shown, name
    assert set(crossl._HOME) == set(crossl.__all__)


def test_the_page_of_what_is_public_names_all_that_a_run_can():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    (row,) = [line for line in page.splitlines() if line.startswith("| `Run` |")]
    told = set(re.findall(r"`(\w+)`", row)) - {"Run"}
    names = {field.name for field in fields(crossl.Run)} | set(vars(crossl.Run))
    assert told == {name for name in names if not name.startswith("_")}


@pytest.mark.parametrize("name", crossl.__all__)
def test_everything_public_of_a_public_class_is_documented(name):
    public = getattr(crossl, name)
    for member, value in vars(public).items() if inspect.isclass(public) else ():
        if not member.startswith("_") and (callable(value) or isinstance(value, property)):
            assert inspect.getdoc(value), f"{name}.{member}"


def tables(text: str) -> list[list[list[str]]]:
    """Read the tables of a page: rows of cells, the header first."""
    found = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    rows = [[[cell.strip() for cell in line.strip("|").split("|")] for line in one.splitlines()]
            for one in found]  # fmt: skip
    return [[one[0], *one[2:]] for one in rows]


def number(cell: str) -> float | None:
    match = re.fullmatch(r"\**(\d*\.\d+)\**", cell)
    return float(match[1]) if match else None


def bold(cell: str) -> bool:
    return "**" in cell


README_TABLES = tables((ROOT / "README.md").read_text(encoding="utf-8"))


def test_the_readme_has_tables_of_scores():
    assert len([t for t in README_TABLES if number(t[1][1]) is not None]) == 5


@pytest.mark.parametrize("rows", README_TABLES, ids=lambda rows: rows[0][0] or rows[0][-1])
def test_what_is_bold_is_the_best_of_its_column(rows):
    for column in range(1, len(rows[0])):
        scores = [number(row[column]) for row in rows[1:]]
        known = [score for score in scores if score is not None]
        for row, score in zip(rows[1:], scores, strict=True):
            if score is not None:
                assert bold(row[column]) == (score == max(known)), (rows[0][column], row)
    for row in rows[1:]:  # a method's name is bold only where all of its scores are
        if bold(row[0]):
            assert all(bold(cell) for cell in row[1:]), row


def test_people_whom_the_readme_speaks_of_were_tested():
    for name, people in (("sp_sw_har", 23), ("uci_har", 30), ("noneeg_rec", 20)):
        assert all(r["n"] == people for r in study(name))
        assert f"{people} people" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", ["README.md", "docs/evidence.md"])
def test_tables_of_the_study_are_made_of_what_is_kept(page, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from evidence import MARKED, filled

    text = (ROOT / page).read_text(encoding="utf-8")
    assert len(MARKED.findall(text)) == text.count("<!-- end -->") >= 3
    assert filled(text, intervals=page != "README.md") == text  # python benchmarks/evidence.py


PRETRAININGS = ("crossl", "crossl_tuned", "simclr", "cmc", "cocoa", "barlow_twins", "focal",
                "ts2vec", "masked_autoencoder", "autoencoder", "vicreg", "untrained")  # fmt: skip
CLASSICAL = ("crossl", "untrained", "impute_minirocket", "impute", "extra_trees", "boosting",
             "catch22", "hydra")  # fmt: skip
SHARES = ("1%", "5%", "10%", "100%")


@pytest.mark.parametrize(("header", "of", "names", "methods"), [
    (["", "1%", "10%", "50%", "100%"], "twin",
     ("sp_sw_har", "uci_har", "noneeg_rec", "wesad3_rec"), ("crossl", "twin")),
    (["sp-sw-har, 10 people", *SHARES], "tuned", ("sp_sw_har",), PRETRAININGS),
    (["UCI HAR, 12 people", *SHARES], "tuned", ("uci_har",), PRETRAININGS),
    (["noneeg, each recording standardised, 8 people", *SHARES], "tuned", ("noneeg_rec",),
     PRETRAININGS),
    (["UCI HAR, folds 0 and 1, 12 people", *SHARES], "classical", ("uci_har",), CLASSICAL),
    (["noneeg, fold 0, each recording standardised, 4 people", *SHARES], "classical",
     ("noneeg_rec",), CLASSICAL),
], ids=["twin", "sp_sw_har", "uci_har", "noneeg_rec", "classical", "few people"])  # fmt: skip
def test_other_tables_of_the_evidence_are_those_of_the_results(header, of, names, methods):
    shown = tables((ROOT / "docs" / "evidence.md").read_text(encoding="utf-8"))
    (table,) = [table for table in shown if table[0] == header]
    fractions = [float(share.rstrip("%")) / 100 for share in header[1:]]
    wanted = []
    for name in names:
        records = study(name, of)
        wanted += [[_with_one_missing(records, m, f) for f in fractions] for m in methods]
    assert [row[1:] for row in table[1:]] == wanted


STARTS = ("untrained_network", "as_it_is_from_{}", "100_steps_from_{}", "100_steps",
          "both_sets_together", "network")  # fmt: skip


def test_the_table_of_transfer_is_that_of_the_results():
    shown = tables((ROOT / "docs" / "evidence.md").read_text(encoding="utf-8"))
    (table,) = [table for table in shown if table[0][1] == "UCI HAR, 1%"]
    wanted = [[] for _ in STARTS]
    for name, other in (("uci_har", "sp_sw_har"), ("sp_sw_har", "uci_har")):
        records = study(name, "transfer")
        for row, start in zip(wanted, STARTS, strict=True):
            method = start.format(other)
            known = any(r["method"] == method for r in records)
            row += [_with_one_missing(records, method, f) if known else ""
                    for f in (0.01, 0.1, 1.0)]  # fmt: skip
    assert [row[1:] for row in table[1:]] == wanted


def _with_one_missing(records, method, fraction):
    whole, less = (_score(records, method, metric, fraction)
                   for metric in ("macro_f1", "macro_f1_one_missing"))  # fmt: skip
    return f"{whole:.3f} ({less:.3f})".replace("0.", ".")


@cache
def study(name, of="study"):
    """Read the summaries of a study, strict budget, with every sensor and one missing."""
    path = ROOT / "benchmarks" / "results" / of / f"{name}.jsonl.gz"
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    full = max(len(row["present"]) for row in rows)
    asked = {"macro_f1", "macro_f1_one_missing"}
    return [r for r in rows if "seed" not in r and "fold" not in r and r["budget"] == "strict"
            and len(r["present"]) == full and r["metric"] in asked]  # fmt: skip


def _score(records, method, metric, fraction):
    (found,) = [r for r in records if (r["method"], r["label_fraction"], r["metric"])
                == (method, fraction, metric)]  # fmt: skip
    return round(found["value"], 3)
