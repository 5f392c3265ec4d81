"""Write the tables of scores and of paired differences into the README and the evidence.

Each stands between `<!-- scores: SET -->` (or `leads: SET`) and `<!-- end -->`, and is made of the
rows that study.py keeps: SET is the name of a data set in results/study/, or FOLDER/NAME of another
study in results/. `ranks: STUDY` is of all sets of a study; `windows: FOLDS` of lengths of windows;
`masks: PERCENT` and `changes: SET` are made of what studies.py keeps. What is outside of such
marks is not touched.

    python benchmarks/evidence.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from statistics import mean

import studies
from kept import Row, kept_rows

from crossl.errors import counted

HERE = Path(__file__).parent
PAGES = (HERE.parent / "README.md", HERE.parent / "docs" / "evidence.md")
RESULTS = HERE / "results"
CONTENDERS = {
    "crossl": "crossl",
    "network": "crossl without untrained features",
    "untrained": "random weights, with the same features",
    "untrained_network": "random weights alone",
    "logistic": "logistic regression on statistics",
    "forest": "random forest on statistics",
    "minirocket": "MiniRocket with a ridge",
    "twin": "the same network, trained on the labels alone",
    "crossl_tuned": "crossl, tuned",
    "simclr": "SimCLR, views lose sensors",
    "cmc": "CMC",
    "cocoa": "COCOA",
    "barlow_twins": "Barlow Twins, views lose sensors",
    "focal": "FOCAL",
    "ts2vec": "TS2Vec, views lose sensors",
    "masked_autoencoder": "masked autoencoder",
    "autoencoder": "autoencoder",
    "vicreg": "VICReg without latent masks",
    "published": "the published recipe, its embedding",
    "published (encoders)": "the published recipe, its encoders side by side",
}
"""How a study's contenders are called in tables, in the order of their rows."""
SCORE, ONE_MISSING = "macro_f1", "macro_f1_one_missing"
FEW = (0.01, 0.1)
"""Shares of labels of which the README shows what is left with a sensor missing."""
SIGNIFICANT = 0.05
FOLDS, DRAWS = "0", 3
"""Of the studies of masks and changes that are shown."""
SETS = {"sp_sw_har": "sp-sw-har", "uci_har": "UCI HAR", "noneeg_rec": "calibrated noneeg"}
MASKS = {
    "spatial": "whole sensors",
    "temporal_each": "each sensor's tokens in time on their own",
    "temporal": "the same stretch in time of all sensors",
    "column": "columns of the latents",
    "random": "single numbers of the latents",
}
RATIOS = [ratio for ratio in sorted(studies.RATIOS) if ratio]
"""Shares that masks hide."""
CHANGES = {
    "1-paper": "the published recipe",
    "2-schedule": "and the default's schedule",
    "3-encoder": "and its encoder",
    "4-aggregator": "and its aggregator",
    "5-keep-0.4": "and views that hide more (`keep_rate` .4)",
    "6-views-expander": "and views that differ, and an expander",
    "7-modality-term": "and a loss of single modalities",
    "8-crossl": "and each sensor predicted from the others: the default",
}
WINDOWS = {
    "sp-sw-har": {"0.5 s": "windows/sp_sw_har_half", "1 s": "study/sp_sw_har",
                  "2 s": "windows/sp_sw_har_2s"},
    "calibrated noneeg": {"10 s": "windows/noneeg_10s", "30 s": "study/noneeg_rec",
                          "60 s": "windows/noneeg_60s"},
}  # fmt: skip
"""Data sets by the length of their windows."""
READ_AT_ALL_LENGTHS = ("crossl", "untrained", "logistic")
MARKED = re.compile(
    r"(?<=<!-- )(scores|leads|ranks|masks|changes|windows): ([\w/]+)( -->\n).*?(?=<!-- end -->)",
    re.DOTALL,
)


def main() -> None:
    """Write the pages anew."""
    for page in PAGES:
        page.write_text(filled(page.read_text(), intervals=page.name != "README.md"))


def filled(text: str, *, intervals: bool) -> str:
    """Return a page with all its marked tables made anew."""

    def made(found: re.Match[str]) -> str:
        kind, name, mark = found.groups()
        make = {"leads": leads, "ranks": ranks, "masks": masks, "changes": changes,
                "windows": windows}  # fmt: skip
        lines = scores(name, intervals=intervals) if kind == "scores" else make[kind](name)
        return f"{kind}: {name}{mark}" + "".join(f"{line}\n" for line in lines)

    return MARKED.sub(made, text)


@cache
def rows_of(name: str) -> list[Row]:
    """Read the rows of a data set that score every sensor or one missing, under `strict`."""
    rows = kept_rows(RESULTS / f"{name if '/' in name else f'study/{name}'}.jsonl.gz")
    full = max(len(row["present"]) for row in rows)
    return [row for row in rows if row["budget"] == "strict" and len(row["present"]) == full]


@cache
def summaries(name: str) -> dict[tuple[str, str, float], Row]:
    """Read a data set's summaries under the strict budget, by method, metric and label share."""
    return {
        (named(row), row["metric"], row["label_fraction"]): row
        for row in rows_of(name)
        if row["seed"] is row["fold"] is row["subject"] is None
    }


def named(row: Row) -> str:
    """Name a method; the published recipe is read in two ways."""
    two = row["method"] == "published" and row["head"] == "encoders"
    return f"{row['method']} (encoders)" if two else str(row["method"])


def caption(name: str) -> str:
    """Say how many people were tested, and what was repeated."""
    rows = [row for row in rows_of(name) if row["method"] == "crossl" and row["fold"] is not None]
    people, folds, seeds, draws = (
        {row[what] for row in rows} - {None} for what in ("subject", "fold", "model_seed", "seed")
    )
    told = (counted(len(people), "person", "people"), counted(len(folds), "fold"),
            counted(len(seeds), "pretraining seed"), counted(len(draws), "label draw"))  # fmt: skip
    return f"{told[0]} tested: {', '.join(told[1:3])} and {told[3]}.\n"


def columns(name: str, *, few: bool = False) -> dict[str, tuple[str, float]]:
    """Return metric and label share by the head of a column."""
    shares = sorted({share for _, metric, share in summaries(name) if metric == SCORE})
    whole = {f"{share:.0%}": (SCORE, share) for share in shares}
    missing = [share for share in shares if not few or share in FEW]
    return whole | {f"{share:.0%}, one missing": (ONE_MISSING, share) for share in missing}


def scores(name: str, *, intervals: bool) -> Iterator[str]:
    """Yield a table of scores; the best of a column is bold."""
    found, asked = summaries(name), columns(name, few=not intervals)
    if intervals:
        yield caption(name)
    known = [method for method in CONTENDERS if (method, SCORE, 0.01) in found]
    rows_by_column = [[found[method, *column] for method in known] for column in asked.values()]
    best = [max(shown(row["value"]) for row in column) for column in rows_by_column]
    yield heads("strict budget, macro-F1" if intervals else "", asked)
    for method, *rows in zip(known, *rows_by_column, strict=True):
        cells = [
            f"**{shown(row['value'])}**" if shown(row["value"]) == top else shown(row["value"])
            for row, top in zip(rows, best, strict=True)
        ]
        if intervals:
            cells[0] += f" [{rows[0]['ci_low']:.2f}, {rows[0]['ci_high']:.2f}]"
        yield f"| {CONTENDERS[method]} | {' | '.join(cells)} |"


def leads(name: str) -> Iterator[str]:
    """Yield a table of crossl minus the others, by person; what is significant is bold."""
    found, asked = summaries(name), columns(name)
    yield heads("crossl minus", asked)
    for method, told in CONTENDERS.items():
        if (pair := f"crossl - {method}", f"{SCORE}_difference", 0.01) in found:
            cells = [lead(found[pair, f"{m}_difference", share]) for m, share in asked.values()]
            yield f"| {told} | {' | '.join(cells)} |"


def ranks(name: str) -> Iterator[str]:
    """Yield a table of mean ranks, of the methods that ran on all sets of a study."""
    found = json.loads((RESULTS / name / "study.json").read_text())["ranks"]
    both = [found[f"strict, {sensors}"] for sensors in ("all sensors", "one missing")]
    by_method = [dict(zip(one["methods"], one["mean"], strict=True)) for one in both]
    apart, sets = both[0]["critical"], both[0]["sets"]
    yield heads(f"mean rank among {len(by_method[0])} methods", ["every sensor", "one missing"])
    for method in by_method[0]:
        yield f"| {CONTENDERS[method]} | {' | '.join(f'{one[method]:.2f}' for one in by_method)} |"
    yield f"\nOver {sets} tables they must lie {apart:.2f} apart to differ at 5%."


def masks(percent: str) -> Iterator[str]:
    """Yield a table of masks for each data set, what is hidden a row and how much a column."""
    found = studied(int(percent) / 100)
    for name, told in SETS.items():
        none = studies.score(found[name, "masks.spatial.0", "aggregator"])
        yield heads(f"{told}; nothing hidden {none}", [f"{ratio:g}" for ratio in RATIOS])
        for kind, hidden in MASKS.items():
            cells = [found.get((name, f"masks.{kind}.{r:g}", "aggregator")) for r in RATIOS]
            yield f"| {hidden} | {' | '.join(map(studies.score, cells))} |"
        yield ""


def changes(name: str) -> Iterator[str]:
    """Yield a table from the published recipe to the default, both heads, 1% and 10% of labels."""
    asked = [(head, share) for head in studies.BOTH for share in studies.FRACTIONS]
    read = {"aggregator": "embedding", "encoders": "encoders side by side"}
    yield heads("macro-F1 (one missing)", [f"{read[h]}, {share:.0%}" for h, share in asked])
    for change, told in CHANGES.items():
        cells = [studied(share)[name, f"ablation.{change}", head] for head, share in asked]
        yield f"| {told} | {' | '.join(map(studies.score, cells))} |"


def windows(folds: str) -> Iterator[str]:
    """Yield a table of lengths of windows: means over folds, one pretraining, one missing last."""
    columns = [(method, share) for share in FEW for method in READ_AT_ALL_LENGTHS]
    tested = tuple(int(fold) for fold in folds.split("_"))
    yield heads("windows of", [f"{CONTENDERS[method]}, {share:.0%}" for method, share in columns])
    for told, lengths in WINDOWS.items():
        for length, name in lengths.items():
            cells = [in_folds(name, method, share, tested) for method, share in columns]
            yield f"| {told}, {length} | {' | '.join(cells)} |"


@cache
def of_folds(name: str) -> list[Row]:
    """Read the scores of single folds under `strict`, everybody in them together."""
    return [
        row
        for row in kept_rows(RESULTS / f"{name}.jsonl.gz")
        if (row["metric"], row["budget"], row["subject"]) == (SCORE, "strict", None)
        and row["fold"] is not None
    ]


def in_folds(name: str, method: str, share: float, folds: Sequence[int]) -> str:
    """Write a score that folds have in common, of the first pretraining, and with one missing."""
    rows = of_folds(name)
    full = max(len(row["present"]) for row in rows)
    found: dict[int, list[float]] = {full: [], full - 1: []}
    for row in rows:
        of_it = (row["method"], row["label_fraction"]) == (method, share)
        if of_it and row["fold"] in folds and row["model_seed"] in (0, None):
            found[len(row["present"])].append(row["value"])
    return f"{shown(mean(found[full]))} ({shown(mean(found[full - 1]))})"


@cache
def studied(share: float) -> dict[tuple[str, str, str], Row]:
    """Read what studies.py keeps of a share of labels, by data set, cell and head."""
    return {
        (row["data"], row["cell"], row["head"]): row
        for row in studies.read_rows()
        if (row["folds"], row["draws"], row["label_fraction"]) == (FOLDS, DRAWS, share)
    }


def heads(first: str, columns: Iterable[str]) -> str:
    """Return the first two lines of a table."""
    named, names = f"| {first} " if first else "| ", list(columns)
    return f"{named}| {' | '.join(names)} |\n|{'---|' * (len(names) + 1)}"


def shown(value: float) -> str:
    """Write a score."""
    return f"{value:.3f}"


def lead(row: Row) -> str:
    """Write a difference and its interval; bold if both the interval and p say that it is one."""
    value, low, high = (f"{row[n]:+.3f}".replace("0.", ".") for n in ("value", "ci_low", "ci_high"))
    significant = row["p"] < SIGNIFICANT and not row["ci_low"] <= 0 <= row["ci_high"]
    return f"{f'**{value}**' if significant else value} [{low}, {high}]"


if __name__ == "__main__":
    main()
