"""One page over several data sets: ranks, curves, leads by person, cost against score."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crossl.errors import counted
from crossl.files import working_in, write_whole
from crossl.report.blocks import Cell, Section, Sizes, Table, Words, picture
from crossl.report.compared import (
    BUDGETS,
    FULL,
    ONE_MISSING,
    Compared,
    by_person,
    differences,
    load_compared,
)
from crossl.report.page import environment
from crossl.report.rows import all_series, curve
from crossl.report.study_figures import cost_chart, many_curves, person_dots, rank_diagram
from crossl.report.style import MAIN_LOOK, SPARE_LOOKS, Look, line_swatch, percent
from crossl.report.table_files import write_tables
from crossl.report.tables import interval

PAGE = "study.html"
LEAST_PEOPLE = 6
"""Of fewer people no lead is significant: if all of them are on one side, signs flipped by chance
are as far from 0 with a probability of 2 / 2**n, above 5%, whatever the interval says."""
COLOURED = 5
"""Beside the main method and the untrained network so many curves have a colour: the best."""


def build_study(out: Path) -> Path:
    """Write `study.html` and the tables into the folder of a study.

    The same folder gives the same bytes. The page needs no network.

    Args:
        out: holds study.json and a finished folder for each data set.

    Returns:
        The page.

    Raises:
        FormatError: a file is missing or has the wrong shape; no page is written then.
    """
    facts, data = load_compared(out)
    template = environment().get_template("template.html.j2")
    summary = {"title": facts["title"], "recipe": "", "started": facts["started"],
               "dataset": counted(len(data), "data set")}  # fmt: skip
    sections = [
        _ranks(facts, data),
        *(_curves(one) for one in data),
        *(_leads(one) for one in data),
        _cost(data),
        _remake(facts, data),
    ]
    page = template.render(summary=summary, cards=[], notes=notes(facts, data), sections=sections)
    with working_in(out, "is writing into this folder"):
        write_tables(data, out)
        write_whole(out / PAGE, page.encode())
    return out / PAGE


def study_notes(out: Path) -> list[str]:
    """Say what a study's folder shows, good or bad."""
    return notes(*load_compared(out))


def notes(facts: dict[str, Any], data: Sequence[Compared]) -> list[str]:
    """Say what the numbers show, good or bad."""
    found = []
    ranks = facts["ranks"].get(f"{_budget(data[0])}, all sensors")
    if ranks:
        main = _main(data)
        place = ranks["methods"].index(main) + 1 if main in ranks["methods"] else None
        first = ranks["methods"][0]
        if place:
            found.append(
                f"Over {counted(ranks['sets'], 'data set')} and label fractions up to "
                f"{percent(facts['ranked_up_to'])}, {main} has mean rank "
                f"{ranks['mean'][place - 1]:.2f} of {len(ranks['methods'])} methods, place {place}"
                + ("." if place == 1 else f"; the best is {first} with {ranks['mean'][0]:.2f}.")
            )
        found.append(_what_ranks_show(ranks))
    for one in data:
        found.append(_ahead_and_behind(one))
    return found


def _what_ranks_show(ranks: dict[str, Any]) -> str:
    if ranks["critical"] is None:
        return "One data set has no test of ranks: they describe this data set alone."
    spread = ranks["mean"][-1] - ranks["mean"][0]
    told = (
        "no two methods lie that far apart, so the ranks describe these data sets and show nothing "
        "beyond them"
        if spread < ranks["critical"]
        else "methods that lie closer are not shown to differ"
    )
    return (
        f"Mean ranks must lie {ranks['critical']:.2f} apart to differ at 5% (Nemenyi, over "
        f"{counted(ranks['sets'], 'data set')}); {told}."
    )


def _ahead_and_behind(one: Compared) -> str:
    """Count significant leads at small fractions, with every sensor, under its main budget."""
    ahead, behind, level = list[str](), list[str](), 0
    for (method, fraction), row in differences(one, _budget(one)).items():
        if fraction > 0.1 or row["ci_low"] is None:
            continue
        better = one.inputs.task.better(row["value"])
        if not _is_significant(row):
            level += 1
        else:
            (ahead if better else behind).append(f"{method} at {percent(fraction)}")
    main = one.inputs.summary["main"]["method"]
    told = f"{one.name}: with few labels {main} is significantly ahead in {len(ahead)}, behind in "
    told += f"{len(behind)} and not significantly different in {level} comparisons"
    return f"{told}{f'; behind {_listed(behind)}' if behind else ''}."


def _budget(one: Compared) -> str:
    """Return the label budget that a data set's report is about."""
    return str(one.inputs.summary["main"].get("budget") or "validation")


def _is_significant(row: dict[str, Any]) -> bool:
    """Tell whether a difference's interval leaves out 0, of enough people to show one at all."""
    low, high = row["ci_low"], row["ci_high"]
    return None not in (low, high) and not low <= 0 <= high and row["n"] >= LEAST_PEOPLE


def _listed(parts: Sequence[str]) -> str:
    return ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1]


def _main(data: Sequence[Compared]) -> str:
    return str(data[0].inputs.summary["main"]["method"])


def _ranks(facts: dict[str, Any], data: Sequence[Compared]) -> Section:
    drawn = []
    for budget in BUDGETS:
        for what in ("all sensors", "one missing"):
            ranks = facts["ranks"].get(f"{budget}, {what}")
            if ranks:
                words = Words(
                    f"Over {counted(ranks['sets'], 'data set')}. Left is better. Methods under one "
                    "bar are not significantly different "
                    "(Nemenyi's test at 5%, over data sets).",
                    f"Mean ranks of {len(ranks['methods'])} methods, label budget {budget}, {what}",
                    title=f"{what}, label budget {budget}",
                )
                height = 90 + 17 * len(ranks["methods"])
                draw = rank_diagram(ranks, _main(data))
                name = f"ranks-{budget}-{what.replace(' ', '-')}"
                drawn.append(picture(name, draw, Sizes((1016, height), min_px=760), words))
    text = (
        f"Each method's rank, averaged over label fractions up to {percent(facts['ranked_up_to'])} "
        "and then over data sets. Label fractions of one data set are not independent, "
        "so the test counts data sets only; of few data sets it can show large differences only."
    )
    absent = "" if drawn else "Fewer than two methods were scored on every data set."
    return Section("ranks", "Mean ranks", text=[text], absent=absent, pictures=drawn, stacked=True)


def _curves(one: Compared) -> Section:
    drawn, tables = [], []
    for budget in BUDGETS:
        inputs = one.under(budget)
        series = all_series(inputs)
        if not series:
            continue
        rows = {s.label: curve(inputs, s) for s in series}
        looks = _looks(rows, one)
        shown = [line_swatch(name, look) for name, look in looks.items()]
        words = Words(
            "The main method, the untrained network and the best others with their 95% intervals; "
            "all others are thin and grey, and every number is in the table.",
            f"{inputs.task.capital} on {one.name} against the share of labels",
            title=f"Label budget {budget}: {BUDGETS[budget]}",
            legend=shown,
        )
        fractions = sorted(inputs.summary["label_fractions"])
        draw = many_curves(rows, looks, fractions, inputs.task.told)
        sizes = Sizes((1016, 400), (358, 320))
        drawn.append(picture(f"curves-{one.name}-{budget}", draw, sizes, words))
        tables.append(_score_table(one, budget))
    return Section(f"labels-{one.name}", f"{one.name}: how few labels are enough", pictures=drawn,
                   tables=tables, stacked=True)  # fmt: skip


def _looks(rows: dict[str, Any], one: Compared) -> dict[str, Look]:
    """Choose who has a colour: the main method, the untrained network, the best with few labels."""
    main, task = _main([one]), one.inputs.task
    few = {name: [r["value"] for r in found if r["label_fraction"] <= 0.1]
           for name, found in rows.items()}  # fmt: skip
    sign = 1 if task.lower_is_better else -1
    order = sorted((n for n in few if few[n]), key=lambda n: sign * sum(few[n]) / len(few[n]))
    looks = {main: Look(*MAIN_LOOK)} if main in rows else {}
    if "untrained network" in rows:
        looks["untrained network"] = Look("#7b8794", "v", ":")
    for name in order:
        if name not in looks and len(looks) < COLOURED + 2:
            looks[name] = Look(*SPARE_LOOKS[(len(looks) - 2) % len(SPARE_LOOKS)])
    return looks


def _score_table(one: Compared, budget: str) -> Table:
    inputs = one.under(budget)
    fractions, few = inputs.summary["label_fractions"], inputs.summary["main"]["label_fraction"]
    costs = inputs.summary.get("costs", {})
    told = [*(percent(f) for f in fractions), f"{percent(few)}, one missing", "CPU s a fold"]
    header = [Cell("method"), *(Cell(text, kind="num") for text in told)]
    by_series = []
    for series in all_series(inputs):
        full = {r["label_fraction"]: r for r in curve(inputs, series)}
        gone = {r["label_fraction"]: r for r in
                curve(inputs, series, f"{inputs.task.metric}{ONE_MISSING}")}  # fmt: skip
        by_series.append((series, [*(full.get(f) for f in fractions), gone.get(few)]))
    best = []
    for column in range(len(fractions) + 1):
        values = [row["value"] for _, cells in by_series if (row := cells[column])]
        best.append(inputs.task.best(values, inputs.task.metric) if values else None)
    rows = []
    for series, cells in by_series:
        shown = [Cell("\u2013", kind="num") if row is None else
                 Cell(f"{row['value']:.3f}", interval(row),
                      "num best" if row["value"] == top else "num")
                 for row, top in zip(cells, best, strict=True)]  # fmt: skip
        cost = costs.get(series.method)
        last = Cell("\u2013" if cost is None else f"{cost:.0f}", kind="num")
        rows.append([Cell(series.label), *shown, last])
    caption = f"{inputs.task.capital} on {one.name}, label budget {budget}; best in bold"
    return Table(caption, header, rows, tall=len(rows) > 20)


def _leads(one: Compared) -> Section:
    budget, main = _budget(one), _main([one])
    few = one.inputs.summary["main"]["label_fraction"]
    people = by_person(one, budget, few)
    rows = {m: r for (m, fraction), r in differences(one, budget).items() if fraction == few}
    ours = people.get(main, {})
    leads = {m: [ours[who] - theirs[who] for who in ours if who in theirs]
             for m, theirs in people.items() if m in rows}  # fmt: skip
    title = f"{one.name}: the lead over each other method, person by person"
    if not leads:
        return Section(f"leads-{one.name}", title, absent="No paired differences are stored.")
    leads = dict(sorted(leads.items(), key=lambda pair: -rows[pair[0]]["value"]))
    words = Words(
        f"At {percent(few)} of the labels, every sensor there, label budget {budget}. Right of the "
        "line the main method is better. A dot is a person; the diamond is the mean with its 95% "
        "interval over people, label draws and seeds.",
        f"Leads of {main} over {len(leads)} methods on {one.name}",
    )
    draw = person_dots(leads, rows, one.inputs.task.told)
    height = 90 + 30 * len(leads)
    drawn = picture(f"leads-{one.name}", draw, Sizes((1016, height), (358, height)), words)
    return Section(f"leads-{one.name}", title, pictures=[drawn],
                   tables=[_lead_table(one, what) for what in (FULL, ONE_MISSING)])  # fmt: skip


def _lead_table(one: Compared, what: str) -> Table:
    fractions = one.inputs.summary["label_fractions"]
    found, task = differences(one, _budget(one), what), one.inputs.task
    rows = []
    for method in dict.fromkeys(m for m, _ in found):
        cells = []
        for fraction in fractions:
            row = found.get((method, fraction))
            cells.append(Cell("\u2013", kind="num") if row is None else _lead_cell(row, task))
        rows.append([Cell(method), *cells])
    header = [Cell("against"), *(Cell(percent(f), kind="num") for f in fractions)]
    where = "one sensor missing" if what else "every sensor"
    caption = f"Lead in {task.told}, paired by person, {where}, with p by sign flips"
    return Table(caption, header, rows, tall=len(rows) > 20)


def _lead_cell(row: dict[str, Any], task: Any) -> Cell:
    kind = "num"
    if _is_significant(row):
        kind = "num up" if task.better(row["value"]) else "num down"
    told = interval(row, "+")
    if row.get("p") is not None:
        told = f"{told} p {row['p']:.3f}" if row["p"] >= 0.001 else f"{told} p < 0.001"
    return Cell(f"{row['value']:+.3f}", told, kind)


def _cost(data: Sequence[Compared]) -> Section:
    drawn = []
    for one in data:
        inputs = one.under(_budget(one))
        few, costs = inputs.summary["main"]["label_fraction"], inputs.summary.get("costs", {})
        points = {}
        for series in all_series(inputs):
            rows = [r for r in curve(inputs, series) if r["label_fraction"] == few]
            if rows and costs.get(series.method):
                points[series.label] = (costs[series.method], rows[0]["value"])
        if len(points) > 1:
            words = Words(
                f"At {percent(few)} of the labels. Processor time of one fold: its training, every "
                "label draw, every subset of sensors.",
                f"Score against cost on {one.name}",
                title=one.name,
            )
            draw = cost_chart(points, _main(data), inputs.task.told)
            drawn.append(picture(f"cost-{one.name}", draw, Sizes((1016, 380), (358, 320)), words))
    absent = "" if drawn else "What methods cost was not measured when these folds were computed."
    return Section("cost", "What a score costs", absent=absent, pictures=drawn, stacked=True)


def _remake(facts: dict[str, Any], data: Sequence[Compared]) -> Section:
    points = list(dict.fromkeys(p for one in data for p in one.inputs.summary["protocol"]))
    return Section("remake", "How to remake this page", command=facts["command"], points=points)
