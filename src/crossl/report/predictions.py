"""The section on what was predicted: it follows the task."""

from crossl.errors import counted
from crossl.report.blocks import Picture, Section, Sizes, Words, picture
from crossl.report.figures import confusion_chart, number_chart, stretch_chart
from crossl.report.load import Inputs
from crossl.report.rows import main_series
from crossl.report.style import colors, dot_swatch, percent, pretty, unit_text
from crossl.report.tables import label_counts_table

MAX_PEOPLE = 12


def predictions(inputs: Inputs) -> Section:
    """Section 7: which classes are taken for which, or what else was predicted."""
    fraction = percent(inputs.summary["main"]["label_fraction"])
    how = f"{main_series(inputs).label} with {fraction} of the labels, on test subjects"
    kind = inputs.task.kind
    if kind == "labels":
        return _labels(inputs, how)
    if kind == "numbers":
        return _numbers(inputs, how)
    return _classes(inputs, how)


def _classes(inputs: Inputs, how: str) -> Section:
    title = "Which classes are confused"
    if "confusion" not in inputs.arrays:
        return Section("confusion", title, absent="No confusion matrix is stored.")
    classes = inputs.task.names
    size = len(classes)
    words = Words(
        "A row holds the windows of one true class and sums to 100%; the diagonal is right and the"
        " darker a cell the larger its share of the row.",
        f"Confusion matrix of {size} classes",
    )
    wide = (min(1016, 260 + 104 * size), min(900, 130 + 66 * size))
    drawn = picture(
        "confusion", confusion_chart(inputs.arrays["confusion"], classes),
        Sizes(wide, (358, 358), min_px=min(900, 358 + max(0, size - 7) * 40)), words,
    )  # fmt: skip
    text = f"{how}, all folds together."
    pictures = [drawn, *_stretch(inputs)]
    return Section("confusion", title, text=[text], pictures=pictures, stacked=True)


def _stretch(inputs: Inputs) -> list[Picture]:
    """The true and the predicted course of one recording of a sequence."""
    if "stretch_hours" not in inputs.arrays:
        return []
    arrays, classes = inputs.arrays, inputs.task.names
    words = Words(
        "One recording of a test subject of the first fold: what it was, and what was predicted"
        " from each window and its neighbours.",
        f"True and predicted course of {counted(len(arrays['stretch_hours']), 'window')}",
        title="A recording over time",
    )
    draw = stretch_chart(
        arrays["stretch_hours"], arrays["stretch_true"], arrays["stretch_said"], classes
    )
    height = 120 + 44 * len(classes)
    return [picture("stretch", draw, Sizes((1016, height), (358, height)), words)]


def _labels(inputs: Inputs, how: str) -> Section:
    title, tables = "How well each label is predicted", label_counts_table(inputs)
    if not tables:
        return Section("labels-told", title, absent="No counts of labels are stored.")
    return Section("labels-told", title, text=[f"{how}, all folds together."], tables=tables)


def _numbers(inputs: Inputs, how: str) -> Section:
    title = "Predicted and true numbers"
    if not len(inputs.arrays.get("number_true", ())):
        return Section("numbers-told", title, absent="No predicted numbers are stored.")
    arrays, people = inputs.arrays, sorted(set(inputs.arrays["number_subject"].tolist()))
    palette = dict(zip(people, colors(len(people)), strict=True))
    legend = [dot_swatch(name, palette[name]) for name in people if len(people) <= MAX_PEOPLE]
    shade = [palette[name] for name in arrays["number_subject"].tolist()]
    drawn = []
    for i, (name, unit) in enumerate(zip(inputs.task.names, inputs.task.units, strict=True)):
        words = Words(
            "A dot is a window, coloured by person; on the line the prediction is right.",
            f"Predicted against true {name} of {counted(len(shade), 'window')}",
            title=pretty(name),
            legend=legend,
        )
        told = f"{pretty(name)} ({unit_text(unit)})"
        draw = number_chart(arrays["number_true"][:, i], arrays["number_said"][:, i], shade, told)
        drawn.append(picture(f"number-{i}", draw, Sizes((560, 520), (358, 358)), words))
    return Section("numbers-told", title, text=[f"{how} of the first fold."], pictures=drawn)
