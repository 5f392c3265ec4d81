"""The page: whole, safe, small, and the same each time."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from crossl.errors import FormatError
from crossl.files import write_signed_json
from crossl.report import build_report

TITLES = [
    "What was recorded",
    "Pretraining without labels",
    "How few labels are enough",
    "When sensors are missing",
    "What each sensor is worth",
    "What the embedding looks like",
    "Which classes are confused",
    "How to remake this page",
]
VOID = {"meta", "br", "img", "link", "hr", "input"}


class Outline(HTMLParser):
    """Collects what the tests ask about, and that every element is closed."""

    def __init__(self, html: str) -> None:
        """Read a page."""
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the element."""
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check the nesting."""
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element that closes itself."""
        self.seen.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Keep the text."""
        self.words.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every element of one name."""
        return [attributes for name, attributes in self.seen if name == tag]


def page_of(folder: Path) -> str:
    """Build and read the page."""
    return build_report(folder).read_text(encoding="utf-8")


def test_same_inputs_give_the_same_bytes_whatever_the_user_set_in_matplotlib(
    built: Path, folder: Path
) -> None:
    names = {path.name for path in folder.iterdir()}
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "svg.fonttype": "path"}):
        before = dict(matplotlib.rcParams)
        page = build_report(folder)
        assert dict(matplotlib.rcParams) == before
    assert page == folder / "report.html"
    assert page.read_bytes() == (built / "report.html").read_bytes()
    assert {path.name for path in folder.iterdir()} == names | {"report.html"}


def test_every_section_is_there_in_order_and_html_is_well_formed(built: Path) -> None:
    html = (built / "report.html").read_text(encoding="utf-8")
    outline = Outline(html)
    assert outline.open == []
    assert re.findall(r'<h2><span class="number">\d</span>(.*?)</h2>', html) == TITLES
    figures = [a for a in outline.named("svg") if a.get("role") == "img"]
    assert html.count("<figcaption>") == html.count("<figure>") == 8
    assert len(figures) == 13  # five figures are drawn for phones too
    assert all(a["aria-label"] for a in figures)


def test_ids_are_unique_and_every_reference_has_one(built: Path) -> None:
    html = (built / "report.html").read_text(encoding="utf-8")
    ids = re.findall(r'<[^<>]*? id="([^"]*)"', html)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]*)', html))
    assert len(ids) == len(set(ids))
    assert used <= set(ids)


def test_nothing_is_loaded_from_elsewhere(built: Path) -> None:
    html = (built / "report.html").read_text(encoding="utf-8")
    outline = Outline(html)
    references = [
        attributes[key]
        for _, attributes in outline.seen
        for key in ("src", "href", "xlink:href", "srcset", "data", "action")
        if attributes.get(key)
    ]
    assert references
    assert all(str(r).startswith(("#", "data:image/png;base64,")) for r in references)
    assert not re.search(r"@import|url\((?!#)|<script|<link|<iframe|<object|\bon\w+=", html)
    # the one address on the page is the citation, as text
    assert re.findall(r"https?://[^\s<]*", html) == ["https://doi.org/10.5281/zenodo.7456242."]


@pytest.mark.parametrize("n_sensors", [1, 2, 6])
def test_page_stays_small_and_whole_for_other_numbers_of_sensors(
    make_folder: Callable[..., Path], n_sensors: int
) -> None:
    sensors = tuple((f"sensor_{i}", f"box {i // 2}", "mV", 0.1 + i / 50) for i in range(n_sensors))
    classes = tuple(f"class {i}" for i in range(7))
    folder = make_folder(sensors=sensors, classes=classes, n_windows=12_000, n_subjects=61)
    page = build_report(folder)
    html = page.read_text(encoding="utf-8")
    assert page.stat().st_size < 3_000_000
    assert html.count('class="on"') == (n_sensors > 1) * n_sensors * 2 ** (n_sensors - 1)
    assert ("No scores with missing sensors are stored." in html) == (n_sensors == 1)
    assert ("63 rows, which scroll inside the box" in html) == (n_sensors == 6)


def test_headline_numbers_are_those_of_the_results(built: Path) -> None:
    html = (built / "report.html").read_text(encoding="utf-8")
    cards = re.findall(r"<li><strong>(.*?)</strong><span>(.*?)</span><small>(.*?)</small>", html)
    assert cards == [
        (
            "94%",
            "of the score is kept with any one device off",
            "worst: watch off, 0.864 of 0.918",
        ),
        (
            "88%",
            "of the score is kept with only one sensor left",
            "worst: phone_gyro alone, 0.807 of 0.918",
        ),
        ("0.838", "macro-F1 with 1% of the labels", "supervised twin 0.687"),
        ("0.941", "macro-F1 with all labels", "supervised twin 0.899"),
    ]
    assert "<small>10% of labels, 23 people, nothing retrained</small>" in html
    assert "Only 3 of 5 folds were run" in html


def test_hostile_strings_are_shown_and_not_obeyed(
    folder: Path, edit_summary: Callable[..., None], edit_results: Callable[..., None]
) -> None:
    evil = '"><script>alert(1)</script><img src=x onerror=alert(2)> $\\frac{1}{0}$ {{ 7*7 }} _&'
    sensors = [
        {"name": name, "device": evil, "channels": [evil], "unit": evil, "rate_hz": 100}
        for name in ("phone_acc", "phone_gyro", "watch_acc", evil)
    ]
    subjects = [f"{evil}{i}" for i in range(23)]
    edit_summary(
        title=evil, description=evil, classes=[f"{evil} {i}" for i in range(5)], notes=[evil],
        modalities=sensors, subjects=subjects, command=evil, versions={evil: evil},
        hashes={evil: evil}, protocol=[evil], dataset=evil, recipe=evil, started=evil,
    )  # fmt: skip

    def poison(rows: list[dict]) -> list[dict]:
        names = {"watch_gyro": evil}
        return [
            {
                **row,
                "dataset": evil,
                "method": evil if row["method"] == "paper" else row["method"],
                "present": [names.get(name, name) for name in row["present"]],
            }
            for row in rows
        ]

    edit_results(poison)
    outline = Outline(page_of(folder))
    assert not outline.named("script")
    assert not outline.named("img")
    assert not any(key.startswith("on") for _, a in outline.seen for key in a)
    assert evil in "".join(outline.words)


def test_letters_the_measuring_font_lacks_are_kept(
    folder: Path, edit_summary: Callable[..., None]
) -> None:
    edit_summary(classes=["坐着", "起立", "步行", "转身", "坐下"])
    assert page_of(folder).count("坐着") >= 4


def test_section_without_data_says_so(
    folder: Path, edit_arrays: Callable[..., None], edit_results: Callable[..., None]
) -> None:
    edit_results(lambda rows: [row for row in rows if row["metric"] != "shapley"])
    examples = {f"example/{i}/{m}": None for i in range(5) for m in
                ("phone_acc", "phone_gyro", "watch_acc", "watch_gyro")}  # fmt: skip
    edit_arrays(map_xy=None, map_label=None, map_subject=None, confusion=None, **examples)
    for fold in range(3):
        (folder / f"fold-{fold}" / "metrics.jsonl").unlink()
    html = page_of(folder)
    for sentence in (
        "No example windows are stored, so no signals are drawn.",
        "No pretraining curves are stored.",
        "No Shapley values are stored.",
        "No map of the embedding is stored.",
        "No confusion matrix is stored.",
    ):
        assert sentence in html


def test_sensor_absent_from_a_window_is_drawn_as_not_recorded(
    folder: Path, edit_arrays: Callable[..., None]
) -> None:
    edit_arrays(**{"example/1/watch_acc": None})
    assert "recorded</text>" in page_of(folder)


def test_long_windows_are_thinned_and_keep_their_peak(
    folder: Path, edit_arrays: Callable[..., None]
) -> None:
    long = np.zeros((60_000, 3), "f4")
    long[12_345] = 1e6
    edit_arrays(**{"example/0/phone_acc": long})
    html = page_of(folder)
    assert len(html) < 1_000_000
    assert ">1e6</text>" in html


def test_results_without_intervals_are_drawn(
    folder: Path, edit_results: Callable[..., None]
) -> None:
    assert "95% interval [" in page_of(folder)
    edit_results(lambda rows: [{**row, "ci_low": None, "ci_high": None} for row in rows])
    assert "95% interval [" not in page_of(folder)


def test_two_recipes_of_one_method_are_told_apart(
    folder: Path, edit_results: Callable[..., None]
) -> None:
    def double(rows: list[dict]) -> list[dict]:
        other = [{**row, "recipe": "large"} for row in rows if row["method"] == "crossl"]
        return rows + other

    edit_results(double)
    html = page_of(folder)
    assert "crossl (default)" in html
    assert "crossl (large)" in html


def test_refusal_leaves_the_old_page_alone(folder: Path, edit_summary: Callable[..., None]) -> None:
    (folder / "report.html").write_bytes(b"old")
    edit_summary(notes=None)
    with pytest.raises(FormatError, match="notes: is missing"):
        build_report(folder)
    assert (folder / "report.html").read_bytes() == b"old"


def test_confidence_is_shown_where_it_was_measured(folder: Path) -> None:
    def told(ece: float) -> dict[str, object]:
        bins = {"confidence": [None] * 8 + [0.85, 0.95], "accuracy": [None] * 8 + [0.5, 1.0]}
        return {"windows": 10, "ece": ece, "count": [0] * 8 + [4, 6], **bins}

    both = {"temperature": 1.5, "as_it_was": told(0.25), "calibrated": told(0.125)}
    sets = [{"present": names, **both} for names in (["acc", "ecg"], ["acc"])]
    facts = {"format": "crossl-reliability", "version": 1, "label_fraction": 0.1, "people": 4}
    write_signed_json(folder / "reliability.json", {**facts, "sets": sets})
    html = page_of(folder)
    titles = re.findall(r'<h2><span class="number">\d</span>(.*?)</h2>', html)
    assert titles == [*TITLES[:-1], "Can its confidence be trusted", TITLES[-1]]
    assert Outline(html).open == []
    assert "expected calibration error 0.250, calibrated 0.125" in html
    assert "4 test subjects" in html
    assert "for 1 set of sensors; the worst calibrated is acc with an error of 0.125" in html
    names = [f"s{number}" for number in range(20)]
    many = [{"present": names[n:], **both} for n in range(20)]
    many[7] = {**many[7], "calibrated": told(0.5)}
    write_signed_json(folder / "reliability.json", {**facts, "sets": many})
    html = page_of(folder)
    assert "for 12 sets of sensors; the worst calibrated is s7, s8" in html
    assert "The 7 sets that are calibrated best are in the table only." in html
    write_signed_json(folder / "reliability.json", {**facts, "sets": sets[:1]})
    assert "Sensors missing" not in page_of(folder)
    write_signed_json(folder / "reliability.json", {**facts, "sets": []})
    with pytest.raises(FormatError, match=r"reliability.json: does not fit together, sets"):
        build_report(folder)
