"""The eight sections, each built from the inputs; one without data says so in a sentence."""

from crossl.errors import counted
from crossl.report.blocks import Facts, Picture, Section, Sizes, Words, picture
from crossl.report.figures import (
    SAME_LOOK,
    Bar,
    Line,
    bar_chart,
    embedding_map,
    has_other_people,
    label_curves,
    missing_chart,
)
from crossl.report.load import Array, Inputs
from crossl.report.rows import (
    all_series,
    curve,
    main_series,
    missing_means,
    people,
    reference_method,
    shapley_rows,
    subset_rows,
    subsets,
)
from crossl.report.signals import PART_LOOKS, loss_grid, signal_grid, terms_of
from crossl.report.style import (
    ABSENT,
    MUTED,
    SPARE_COLORS,
    Look,
    Swatch,
    colors,
    dot_swatch,
    line_swatch,
    look_of,
    percent,
    pretty,
    unit_text,
)
from crossl.report.tables import (
    budget_table,
    difference_table,
    label_table,
    metric_tables,
    missing_table,
    modality_table,
    subset_table,
)

MAX_LEGEND = 40
CLASSES = ("class", "classes")
GROUPS = {"labels": ("combination", "combinations"), "numbers": ("part of the range", "parts")}
"""What the groups of a task are, that examples show; else classes."""
NAMED = {"labels": ("label", "labels"), "numbers": ("number", "numbers")}


def recorded(inputs: Inputs) -> Section:
    """Section 1: the sensors, and a window of each class."""
    summary = inputs.summary
    examples: dict[int, int] = {}
    for i, example in enumerate(summary["examples"]):
        examples.setdefault(example["class"], i)
    columns = [(inputs.task.groups[c], examples[c]) for c in sorted(examples)]
    n_rows, n_columns = len(summary["modalities"]), max(1, len(columns))
    drawn = []
    if columns and any(key.startswith("example/") for key in inputs.arrays):
        sizes = Sizes((1016, 48 + 112 * n_rows), min_px=max(620, 150 * n_columns + 100))
        words = Words(
            "Each column is one labelled window and each row one sensor; the panels of a row share"
            " their vertical axis, so amplitudes compare from left to right.",
            f"Recorded signals: {counted(n_rows, 'sensor')} by "
            f"{counted(n_columns, *GROUPS.get(inputs.task.kind, CLASSES))}",
            title=f"One window of every {GROUPS.get(inputs.task.kind, CLASSES)[0]}",
        )
        draw = signal_grid(summary["modalities"], columns, inputs.arrays)
        drawn.append(picture("signals", draw, sizes, words))
    return Section(
        anchor="recorded",
        title="What was recorded",
        text=[summary["description"]],
        absent="" if drawn else "No example windows are stored, so no signals are drawn.",
        facts=[_recording_facts(inputs)],
        pictures=drawn,
        tables=[modality_table(summary["modalities"])],
    )


def _recording_facts(inputs: Inputs) -> Facts:
    summary = inputs.summary
    task = inputs.task
    names = ", ".join(pretty(name) for name in task.names)
    if task.units:
        told = zip(task.names, task.units, strict=True)
        names = ", ".join(f"{pretty(name)} ({unit_text(unit)})" for name, unit in told)
    return Facts(
        "",
        [
            ("Data set", summary["dataset"]),
            ("Subjects", str(len(summary["subjects"]))),
            ("Windows", f"{summary['n_windows']:,}, of which {summary['n_labelled']:,} labelled"),
            ("Window", f"{summary['window_s']:g} s, one every {summary['stride_s']:g} s"),
            (counted(len(task.names), *NAMED.get(task.kind, CLASSES)), names),
        ],
    )


def pretraining(inputs: Inputs) -> Section:
    """Section 2: the terms logged while pretraining."""
    terms = terms_of(inputs.epochs)
    title = "Pretraining without labels"
    if not terms:
        return Section("pretraining", title, absent="No pretraining curves are stored.")
    n_folds, wide_rows, narrow_rows = len(inputs.epochs), -(-len(terms) // 3), -(-len(terms) // 2)
    sizes = Sizes((1016, 24 + 216 * wide_rows), (358, 24 + 152 * narrow_rows))
    looks = {part: Look(color, "", line) for part, (color, line) in PART_LOOKS.items()}
    legend = [
        _plain_line("training subjects", looks["train"]),
        _plain_line("validation subjects", looks["val"]),
    ]
    words = Words(
        f"Thin lines are the {n_folds} folds and thick lines their mean; a loss that settles and a"
        " rank and spread that stay up mean that the embedding has not collapsed."
        if n_folds > 1
        else "One fold; a loss that settles and a rank and spread that stay up mean that the"
        " embedding has not collapsed.",
        f"Pretraining curves of {', '.join(terms)}",
        legend=legend,
    )
    drawn = picture("pretraining", loss_grid(inputs.epochs, terms), sizes, words)
    return Section("pretraining", title, pictures=[drawn])


def _plain_line(label: str, look: Look) -> Swatch:
    dashes = ' stroke-dasharray="5 3"' if look.line == "--" else ""
    swatch = line_swatch(label, Look(look.color, "", ""))
    path = f'<path d="M1 6H25" stroke="{look.color}" stroke-width="3"{dashes}/>'
    start = swatch.image.index("<circle")
    return Swatch(label, type(swatch.image)(f"{swatch.image[:start]}{path}</svg>"))


def looks(inputs: Inputs) -> list[Look]:
    """The look of every curve, in the order of `all_series`: one place for all charts."""
    main = main_series(inputs).method
    out: list[Look] = []
    for series in all_series(inputs):
        spare = sum(look.color in SPARE_COLORS for look in out)
        known = look_of(series.method, main, spare)
        # a second recipe or head of a known method must not look like the first
        taken = any(look.color == known.color for look in out)
        out.append(look_of("", main, spare) if taken else known)
    return out


def label_efficiency(inputs: Inputs) -> Section:
    """Section 3: the score against the share of labels used."""
    every, main = all_series(inputs), main_series(inputs)
    styles = looks(inputs)
    lines = [
        Line(curve(inputs, series), look, strong=series == main)
        for series, look in zip(every, styles, strict=True)
    ]
    words = Words(
        (
            "Lower is better, and the further left a curve stays low the fewer labels it needs;"
            if inputs.task.lower_is_better
            else "Higher is better, and the further left a curve stays high the fewer labels it"
            " needs;"
        )
        + " bands are 95% bootstrap intervals over subjects, label draws and seeds.",
        f"{inputs.task.capital} against the share of labels used, one curve a method",
        legend=[line_swatch(s.label, look) for s, look in zip(every, styles, strict=True)],
    )
    draw = label_curves(lines, sorted(inputs.summary["label_fractions"]), inputs.task.told)
    drawn = picture("labels", draw, Sizes((1016, 430), (358, 320)), words)
    return Section(
        anchor="labels",
        title="How few labels are enough",
        pictures=[drawn],
        tables=[label_table(inputs), *difference_table(inputs), *budget_table(inputs)],
        after=metric_tables(inputs),
    )


def missing(inputs: Inputs) -> Section:
    """Section 4: the score with sensors missing at test."""
    title, found = "When sensors are missing", subsets(inputs)
    if not found:
        return Section("missing", title, absent="No scores with missing sensors are stored.")
    every, main, styles = all_series(inputs), main_series(inputs), looks(inputs)
    drawn = [
        (series, look)
        for series, look in zip(every, styles, strict=True)
        if series == main or len(subset_rows(inputs, series)) > 1
    ]
    legend = [line_swatch(f"{series.label}, mean", look) for series, look in drawn]
    if any(subset.reference for subset in found):
        hollow = line_swatch(reference_method(inputs), Look(MUTED, "o", ""), hollow=True)
        legend.insert(1, hollow)
    words = Words(
        "Every dot is one set of sensors and the line their mean; where a hollow dot is drawn, it"
        " is a probe trained for exactly that set, which the method does without.",
        f"{inputs.task.capital} against the number of missing sensors",
        legend=legend,
    )
    means = [(missing_means(inputs, series), look) for series, look in drawn]
    if has_other_people(means[0][0]):
        legend.append(line_swatch(f"{main.label}, the same people with all they have", SAME_LOOK))
    draw = missing_chart(found, means, inputs.task.told)
    fraction = percent(inputs.summary["main"]["label_fraction"])
    return Section(
        anchor="missing",
        title=title,
        text=[
            f"Nothing is retrained: sensors are taken away at test, with {fraction} of labels. A"
            " set is scored on the windows that have all that is taken away and something beside"
            " it."
        ],
        pictures=[picture("missing", draw, Sizes((1016, 420), (358, 330)), words)],
        tables=[subset_table(inputs, found)],
        after=missing_table(inputs, [series for series, _ in drawn]),
    )


def worth(inputs: Inputs) -> Section:
    """Section 5: what each sensor contributes."""
    title, rows = "What each sensor is worth", shapley_rows(inputs)
    if not rows:
        return Section("worth", title, absent="No Shapley values are stored.")
    device_of = {m["name"]: m["device"] for m in inputs.summary["modalities"]}
    devices = list(dict.fromkeys(device_of.values()))
    palette = dict(zip(devices, colors(len(devices)), strict=True))
    bars = [Bar(row["present"][0], row, palette[device_of[row["present"][0]]]) for row in rows]
    falls = ", by how much the error falls" if inputs.task.lower_is_better else ""
    words = Words(
        f"A bar is the average gain in {inputs.task.told} from adding that sensor to the others"
        f" (its Shapley value{falls}), on windows that have every sensor, of "
        f"{people(rows[0]['n'])}; the dark line is the 95% interval.",
        "Shapley value of every sensor",
        legend=[dot_swatch(device, palette[device]) for device in devices],
    )
    height = 66 + 44 * len(bars)
    draw = bar_chart(bars, f"Shapley value, {inputs.task.told}")
    drawn = picture("worth", draw, Sizes((820, height), (358, height)), words)
    return Section("worth", title, pictures=[drawn])


def embedding(inputs: Inputs) -> Section:
    """Section 6: the windows on a plane, by label and by subject."""
    title = "What the embedding looks like"
    if "map_xy" not in inputs.arrays:
        return Section("embedding", title, absent="No map of the embedding is stored.")
    n = len(inputs.arrays["map_xy"])
    classes = [pretty(name) for name in inputs.task.groups]
    what = pretty(inputs.task.target)
    good = (
        "colours that lie in order need few labels to be predicted."
        if inputs.task.units
        else f"{'combinations' if inputs.task.kind == 'labels' else 'classes'} that form separate"
        " islands need few labels to be recognised."
    )
    by_label = Words(
        f"Coloured by {what}: {good}",
        f"Map of {n} windows, coloured by {what}",
        title=f"By {what}",
    )
    by_subject = Words(
        "Coloured by subject: mixed colours mean that the embedding shows what was done rather"
        " than who did it.",
        f"Map of {n} windows, coloured by subject",
        title="By subject",
    )
    return Section(
        anchor="embedding",
        title=title,
        text=[f"{n:,} windows on a plane; near means alike, and the axes have no unit."],
        pictures=[
            _map(inputs, "label", classes, by_label),
            _map(inputs, "subject", inputs.summary["subjects"], by_subject),
        ],
    )


def _map(inputs: Inputs, kind: str, names: list[str], words: Words) -> Picture:
    xy, groups = inputs.arrays["map_xy"], inputs.arrays[f"map_{kind}"]
    palette = colors(len(names))
    legend = [dot_swatch(name, color) for name, color in zip(names, palette, strict=True)]
    if len(names) > MAX_LEGEND:
        legend = []
    if _has_absent(groups):
        legend.append(dot_swatch("unlabelled", ABSENT))
    draw = embedding_map(xy, groups, palette, ABSENT)
    full = Words(words.caption, words.label, words.title, legend)
    return picture(f"map-{kind}", draw, Sizes((496, 440)), full)


def _has_absent(groups: Array) -> bool:
    return bool((groups < 0).any())


def remake(inputs: Inputs) -> Section:
    """Section 8: what it takes to get the same page again."""
    summary = inputs.summary
    minutes, seconds = divmod(round(summary["wall_s"]), 60)
    run = [
        ("Started", summary["started"]),
        ("Took", f"{minutes} min {seconds} s"),
        ("Seed", str(summary["seed"])),
        ("Label draws", ", ".join(str(seed) for seed in summary["label_seeds"])),
        ("Folds", f"{', '.join(map(str, summary['folds_run']))} of {summary['n_folds']}"),
        ("Recipe", summary["recipe"] or "none"),
    ]
    versions = [(name, str(value)) for name, value in sorted(summary["versions"].items())]
    hashes = [(name, str(value)) for name, value in sorted(summary["hashes"].items())]
    return Section(
        anchor="remake",
        title="How to remake this page",
        command=summary["command"],
        facts=[
            Facts("Run", run),
            Facts("Versions", versions, code=True),
            Facts("SHA-256", hashes, code=True),
        ],
        points=summary["protocol"],
    )
