"""The tables of a benchmark for papers and programs: Markdown, CSV and LaTeX."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from crossl.files import write_whole
from crossl.report.compared import BUDGETS, FULL, ONE_MISSING, SHOWN, Compared, Score, scores
from crossl.report.style import percent

COLUMNS = ("data", "method", "budget", "label_fraction", "sensors", "metric", "value", "ci_low",
           "ci_high", "people", "cpu_s_per_fold")  # fmt: skip


def write_tables(data: Sequence[Compared], out: Path) -> list[Path]:
    """Write tables.md, tables.csv and tables.tex into a folder.

    Args:
        data: data sets.
        out: folder.

    Returns:
        The files.
    """
    found = list(scores(data))
    texts = {
        "tables.md": _markdown(data, found),
        "tables.csv": _csv(data, found),
        "tables.tex": _latex(data, found),
    }
    for name, text in texts.items():
        write_whole(out / name, text.encode())
    return [out / name for name in texts]


def _csv(data: Sequence[Compared], found: Sequence[Score]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    costs = {one.name: one.inputs.summary.get("costs", {}) for one in data}
    for s in found:
        r, cost = s.row, costs[s.data].get(s.row["method"], "")
        sensors = "all" if s.what == FULL else "one missing"
        writer.writerow([s.data, s.method, s.budget, s.fraction, sensors, r["metric"],
                         f"{r['value']:.6f}", *(_number(r[n]) for n in ("ci_low", "ci_high")),
                         r["n"], cost])  # fmt: skip
    return file.getvalue()


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


def _grid(one: Compared, found: Sequence[Score], budget: str, what: str) -> tuple[
    list[float], dict[str, dict[float, Score]]
]:  # fmt: skip
    """Return the label fractions, and each method's scores by them."""
    rows: dict[str, dict[float, Score]] = {}
    for s in found:
        if (s.data, s.budget, s.what) == (one.name, budget, what):
            rows.setdefault(s.method, {})[s.fraction] = s
    return sorted({fraction for cells in rows.values() for fraction in cells}), rows


def _markdown(data: Sequence[Compared], found: Sequence[Score]) -> str:
    out = ["# Scores", ""]
    for one in data:
        task, summary = one.inputs.task, one.inputs.summary
        tested = max((s.row["n"] for s in found if s.data == one.name), default=0)
        out += [f"## {one.name}", "",
                f"{task.capital} [95% interval over people, label draws and seeds]; "
                f"{tested} of {len(summary['subjects'])} people tested, folds "
                f"{summary['folds_run']} of "
                f"{summary['n_folds']}, {len(summary['label_seeds'])} label draws, pretraining "
                f"seeds {summary.get('pretraining_seeds', [summary['seed']])}, store "
                f"{summary['hashes'].get('store', '')[:12]}.", ""]  # fmt: skip
        if summary.get("standardisation") is not None:
            out += [f"Each window is calibrated by {summary['standardisation']}.", ""]
        costs = summary.get("costs", {})
        for budget, words in BUDGETS.items():
            for what, told in SHOWN.items():
                fractions, rows = _grid(one, found, budget, what)
                if not rows:
                    continue
                out += [f"Label budget `{budget}` ({words}), {told}:", "",
                        f"| method | {' | '.join(percent(f) for f in fractions)} | CPU s a fold |",
                        f"|---|{'---|' * (len(fractions) + 1)}"]  # fmt: skip
                for method, cells in rows.items():
                    name = next(iter(cells.values())).row["method"]
                    texts = [_cell(cells.get(f)) for f in fractions]
                    out.append(f"| {method} | {' | '.join(texts)} | {costs.get(name, '')} |")
                out.append("")
    return "\n".join(out)


def _cell(score: Score | None) -> str:
    if score is None:
        return ""
    r = score.row
    interval = "" if r["ci_low"] is None else f" [{r['ci_low']:.3f}, {r['ci_high']:.3f}]"
    return f"{r['value']:.3f}{interval}"


def _latex(data: Sequence[Compared], found: Sequence[Score]) -> str:
    """One table a data set, of its report's label budget; best in bold. Needs booktabs."""
    out = ["% needs \\usepackage{booktabs}"]
    for one in data:
        budget = one.inputs.summary["main"].get("budget") or "validation"
        fractions, rows = _grid(one, found, budget, FULL)
        missing = _grid(one, found, budget, ONE_MISSING)[1]
        few = one.inputs.summary["main"]["label_fraction"]
        task = one.inputs.task
        columns = [{m: c[f].row["value"] for m, c in rows.items() if f in c} for f in fractions]
        columns.append({m: c[few].row["value"] for m, c in missing.items() if few in c})
        best = [task.best(list(c.values()), task.metric) if c else None for c in columns]
        heads = [*(_tex(percent(f)) for f in fractions), f"{_tex(percent(few))}, one missing"]
        out += ["\\begin{table}", "\\centering", f"\\begin{{tabular}}{{l{'r' * len(columns)}}}",
                "\\toprule", f"method & {' & '.join(heads)} \\\\", "\\midrule"]  # fmt: skip
        for method in rows:
            cells = [_bold(c.get(method), b) for c, b in zip(columns, best, strict=True)]
            out.append(f"{_tex(method)} & {' & '.join(cells)} \\\\")
        caption = f"{task.capital} on {one.name}, by share of labels; label budget {budget}."
        out += ["\\bottomrule", "\\end{tabular}", f"\\caption{{{_tex(caption)}}}",
                "\\end{table}", ""]  # fmt: skip
    return "\n".join(out)


def _bold(value: float | None, best: float | None) -> str:
    if value is None:
        return "--"
    return f"\\textbf{{{value:.3f}}}" if value == best else f"{value:.3f}"


def _tex(text: str) -> str:
    for character in "&%_#$":
        text = text.replace(character, f"\\{character}")
    return text.replace("\u2212", "$-$")
