"""Write the tables of scores and of paired differences into the README and the evidence.

Each stands between `<!-- scores: SET -->` (or `leads: SET`) and `<!-- end -->`, and is made of the
rows that study.py keeps: SET is the name of a data set in results/study/, or FOLDER/NAME of another
study in results/. What is outside of such marks is not touched.

    python benchmarks/evidence.py
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

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
}
"""How a study's contenders are called in tables, in the order of their rows."""
SCORE, ONE_MISSING = "macro_f1", "macro_f1_one_missing"
COLUMNS = {
    "1%": (SCORE, 0.01),
    "5%": (SCORE, 0.05),
    "10%": (SCORE, 0.1),
    "100%": (SCORE, 1.0),
    "1%, one sensor missing": (ONE_MISSING, 0.01),
    "10%, one missing": (ONE_MISSING, 0.1),
}
SIGNIFICANT = 0.05
MARKED = re.compile(r"(?<=<!-- )(scores|leads): ([\w/]+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)


def main() -> None:
    """Write the pages anew."""
    for page in PAGES:
        page.write_text(filled(page.read_text(), intervals=page.name != "README.md"))


def filled(text: str, *, intervals: bool) -> str:
    """Return a page with all its marked tables made anew."""

    def made(found: re.Match[str]) -> str:
        kind, name, mark = found.groups()
        lines = scores(name, intervals=intervals) if kind == "scores" else leads(name)
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
        (row["method"], row["metric"], row["label_fraction"]): row
        for row in rows_of(name)
        if row["seed"] is row["fold"] is row["subject"] is None
    }


def caption(name: str) -> str:
    """Say how many people were tested, and what was repeated."""
    rows = [row for row in rows_of(name) if row["method"] == "crossl" and row["fold"] is not None]
    people, folds, seeds, draws = (
        {row[what] for row in rows} - {None} for what in ("subject", "fold", "model_seed", "seed")
    )
    told = (counted(len(people), "person", "people"), counted(len(folds), "fold"),
            counted(len(seeds), "pretraining seed"), counted(len(draws), "label draw"))  # fmt: skip
    return f"{told[0]} tested: {', '.join(told[1:3])} and {told[3]}.\n"


def scores(name: str, *, intervals: bool) -> Iterator[str]:
    """Yield a table of scores; the best of a column is bold."""
    found = summaries(name)
    if intervals:
        yield caption(name)
    known = [method for method in CONTENDERS if (method, *COLUMNS["1%"]) in found]
    columns = [[found[method, *column] for method in known] for column in COLUMNS.values()]
    best = [max(shown(row["value"]) for row in column) for column in columns]
    yield heads("strict budget, macro-F1" if intervals else "")
    for method, *rows in zip(known, *columns, strict=True):
        cells = [
            f"**{shown(row['value'])}**" if shown(row["value"]) == top else shown(row["value"])
            for row, top in zip(rows, best, strict=True)
        ]
        if intervals:
            cells[0] += f" [{rows[0]['ci_low']:.2f}, {rows[0]['ci_high']:.2f}]"
        yield f"| {CONTENDERS[method]} | {' | '.join(cells)} |"


def leads(name: str) -> Iterator[str]:
    """Yield a table of crossl minus the others, by person; significant ones are bold."""
    found = summaries(name)
    yield heads("crossl minus")
    for method, told in CONTENDERS.items():
        if (pair := f"crossl - {method}", f"{SCORE}_difference", 0.01) in found:
            cells = [lead(found[pair, f"{m}_difference", share]) for m, share in COLUMNS.values()]
            yield f"| {told} | {' | '.join(cells)} |"


def heads(first: str) -> str:
    """Return the first two lines of a table."""
    named = f"| {first} " if first else "| "
    return f"{named}| {' | '.join(COLUMNS)} |\n|{'---|' * (len(COLUMNS) + 1)}"


def shown(value: float) -> str:
    """Write a score."""
    return f"{value:.3f}"


def lead(row: Row) -> str:
    """Write a difference and its interval."""
    low, high = (f"{row[end]:+.3f}".replace("0.", ".") for end in ("ci_low", "ci_high"))
    value = f"{row['value']:+.3f}".replace("0.", ".")
    return f"{f'**{value}**' if row['p'] < SIGNIFICANT else value} [{low}, {high}]"


if __name__ == "__main__":
    main()
