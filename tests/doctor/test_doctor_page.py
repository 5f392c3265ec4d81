"""The page of a diagnosis: whole, safe, readable in light and dark."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from crossl.doctor.finding import CHECKS, Coverage, Diagnosis, Finding, LabelTable
from crossl.doctor.page import MAX_ROWS, build_doctor_page, render_diagnosis

VOID = {"meta", "br", "img", "link", "hr", "input"}
FOUND = (
    Finding(
        "unit", "error", "skin_temp", "its median size is {}: values look like degC",
        "Declare degC.", (30.5, 33.0), "K", count=2, example="subject S2, session a",
    ),
    Finding("gaps", "warning", "wrist_acc", "the longest gap is {}", "Look.", (4.0, 4.0), "s"),
    Finding("notes", "note", "", "E4 clock offset of 12.3 s applied", example="subject S1"),
)  # fmt: skip
SICK = Diagnosis(
    title="Stress at the desk",
    findings=FOUND,
    checked=[name for name in CHECKS if name != "leakage"],
    coverage=Coverage(["S1", "S2"], ["wrist_acc", "skin_temp"], [[1.0, 0.9986], [0.25, 0.0]]),
    labels=LabelTable(["S1", "S2"], ["rest", "walk"], [[30, 10], [1200, 0]], "windows"),
    counts={"recordings": 3, "subjects": 2, "modalities": 2},
    hours=2.5,
    limits=["Near copies were not looked for."],
)
SOUND = replace(SICK, findings=())


class Outline(HTMLParser):
    """Collects elements and words, and checks that every element is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split()).replace(" :", ":")

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.seen if name == tag]


def outline(diagnosis: Diagnosis, name: str = "desk") -> Outline:
    return Outline(render_diagnosis(diagnosis, name=name))


def test_every_finding_stands_with_place_amount_and_advice() -> None:
    text = outline(SICK).text
    assert "error skin_temp: its median size is 30.5 to 33 K: values look like degC" in text
    assert "(in 2 of 3 recordings, e.g. subject S2, session a)" in text
    assert "What to do: Declare degC." in text
    assert "E4 clock offset of 12.3 s applied" in text
    assert "1 error results would be wrong" in text
    assert "3 recordings 2.5 hours 2 subjects 2 modalities" in text


def test_every_check_is_listed_with_what_became_of_it() -> None:
    page = outline(SICK)
    states = [a["class"] for a in page.named("span") if (a.get("class") or "").startswith("state")]
    assert len(states) == len(CHECKS)
    assert states.count("state error") == states.count("state warning") == 1
    assert page.text.count("nothing found") == len(CHECKS) - 4
    assert page.text.count("not looked at") == 1
    assert "Near copies were not looked for." in page.text


def test_the_map_shades_by_share_and_tells_none_from_little() -> None:
    html = render_diagnosis(SICK, name="desk")
    row = re.search(r'<th scope="row">S2</th>(.*?)</tr>', html, re.S)
    assert row is not None
    assert row[1] == '<td class="cell" style="--s:0.11">25%</td><td class="none">none</td>'
    assert "99.9%" in html
    assert '<th scope="row">all</th><td>1,230</td><td>10</td>' in html


def test_a_sound_diagnosis_says_so() -> None:
    text = outline(SOUND).text
    assert "Nothing. Every check below passed." in text
    assert "0 errors" in text


def test_nothing_readable_makes_a_page_too() -> None:
    empty = replace(
        SICK, coverage=Coverage([], [], []), labels=LabelTable([], [], [], "windows"),
        counts={"recordings": 0, "subjects": 0, "modalities": 0}, hours=0.0,
    )  # fmt: skip
    text = outline(empty).text
    assert "No recording could be read." in text
    assert "No window is labelled." in text


def test_names_cannot_bring_markup_onto_the_page() -> None:
    nasty = "<script>alert(1)</script>"
    sick = replace(
        SICK, title=nasty, findings=[replace(FOUND[0], where=nasty, what=nasty, example=nasty)],
        coverage=Coverage([nasty], [nasty], [[0.5]]),
    )  # fmt: skip
    page = outline(sick, name=nasty)
    assert page.named("script") == []
    assert page.text.count("alert(1)") >= 5


def test_the_page_needs_nothing_else_and_follows_light_and_dark() -> None:
    html = render_diagnosis(SICK, name="desk")
    assert not re.search(r"(src|href)=", html)
    assert "url(" not in html
    assert "@media (prefers-color-scheme: dark)" in html
    assert '<meta name="color-scheme" content="light dark">' in html


def luminance(color: str) -> float:
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def over(color: list[int], page: str, opacity: float) -> str:
    below = [int(page[i : i + 2], 16) for i in (1, 3, 5)]
    mixed = [round(opacity * c + (1 - opacity) * b) for c, b in zip(color, below, strict=True)]
    return "#" + "".join(f"{c:02x}" for c in mixed)


@pytest.mark.parametrize("dark", [False, True])
def test_text_has_contrast_enough_in_light_and_dark(*, dark: bool) -> None:
    html = render_diagnosis(SICK, name="desk")
    colors: dict[str, str] = {}
    for block in re.findall(r":root \{(.*?)\}", html, re.S)[: 3 if dark else 2]:
        found = re.findall(r"--([a-z]+): ?(#[0-9a-f]{3,6}|\d+ \d+ \d+);", block)
        colors |= {
            k: v if len(v) != 4 else "#" + 2 * v[1:2] + 2 * v[2:3] + 2 * v[3:] for k, v in found
        }
    assert colors["page"] == ("#12171d" if dark else "#ffffff")
    for name in ("ink", "muted", "error", "warning", "note"):
        for ground in ("page", "soft"):
            assert contrast(colors[name], colors[ground]) >= 4.5, (name, ground)
    darkest = over([int(c) for c in colors["heat"].split()], colors["page"], 0.45)
    assert contrast(colors["ink"], darkest) >= 4.5


def test_many_subjects_are_cut_to_those_that_recorded_least() -> None:
    subjects = [f"S{i:04d}" for i in range(MAX_ROWS + 50)]
    share = [[1.0 if i >= 60 else 0.5] for i in range(len(subjects))]
    page = outline(replace(SICK, coverage=Coverage(subjects, ["acc"], share)))
    assert f"the {MAX_ROWS} subjects of {MAX_ROWS + 50} with the least" in page.text
    assert page.text.count("50%") >= 60


def test_the_page_is_written_whole_and_the_same_each_time(tmp_path: Path) -> None:
    first = build_doctor_page(SICK, tmp_path / "new" / "doctor.html", name="desk")
    second = build_doctor_page(SICK, tmp_path / "again.html", name="desk")
    assert first.read_bytes() == second.read_bytes()
    assert {path.name for path in tmp_path.rglob("*.html")} == {"doctor.html", "again.html"}
    assert not list(tmp_path.rglob("*.tmp"))
