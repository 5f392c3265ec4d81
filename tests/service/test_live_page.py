"""The live page in a browser: what a person sees, switches, hears and reaches by the keyboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import crossl
from crossl.service.sources import replay
from crossl.service.training_map import training_map
from tests.service.browser import Tab, browsing
from tests.service.conftest import recording, served

pytestmark = pytest.mark.slow
TOKEN = "a-token-of-28-letters-or-so."  # noqa: S105 - for tests


@pytest.fixture(scope="module")
def shown(folder: Path, run: crossl.Run) -> Iterator[str]:
    """A service that replays, ten times as fast as life."""
    plane = training_map(run, folder / "store")
    with served(run, demo=lambda: replay([recording(4)], speed=10.0), plane=plane) as address:
        yield address


@pytest.fixture(scope="module")
def browse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Tab]]:
    """One browser for all tests."""
    with browsing(tmp_path_factory.mktemp("browser")) as found:
        yield found


def test_a_sensor_is_switched_off_and_the_classifier_goes_on(
    browse: Callable[[str], Tab], shown: str, tmp_path: Path
) -> None:
    tab = browse(f"http://{shown}/")
    tab.size(1280, 900)
    tab.until("rows.length > 3 && document.getElementById('sure').textContent.includes('sure')")
    assert tab.run("document.getElementById('with').textContent") == "with all 2 sensors"
    assert tab.run("document.getElementById('label').textContent") in ("rest", "run")
    assert tab.run("document.querySelectorAll('#bars li').length") == 2
    assert tab.until("document.getElementById('mapped').textContent.includes('57 training')")
    assert tab.run("document.querySelectorAll('.switch')[1].getAttribute('aria-checked')") == "true"

    # by the keyboard alone: the second switch is reached by Tab and turned by Space
    for _ in range(6):
        tab.key("Tab", 9)
        if tab.run("document.activeElement.ariaLabel ?? ''").startswith("ecg"):
            break
    assert tab.run("document.activeElement.ariaLabel") == "ecg, used by the classifier"
    assert tab.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    tab.key(" ", 32, " ")
    tab.until("document.querySelectorAll('.switch')[1].ariaChecked === 'false'")
    tab.until("document.getElementById('with').textContent.endsWith('without ecg')")
    assert tab.run("rows.at(-1).label") in ("rest", "run")
    assert "sure" in tab.run("document.getElementById('sure').textContent")
    tab.until("document.querySelectorAll('#sets tr').length === 2")

    # and on again
    tab.run("document.querySelectorAll('.switch')[1].click()")
    tab.until("document.getElementById('with').textContent === 'with all 2 sensors'")
    tab.picture(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 30_000
    assert tab.said == []


def test_what_is_drawn_is_not_empty_in_light_and_dark_and_fits_a_phone(
    browse: Callable[[str], Tab], shown: str
) -> None:
    tab = browse(f"http://{shown}/")
    ink = """['traces', 'line', 'map'].map((id) => {
      const c = document.getElementById(id);
      const data = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
      const seen = new Set();
      for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 200)
        seen.add(data[i] << 16 | data[i + 1] << 8 | data[i + 2]);
      return seen.size;
    })"""
    for width, dark in ((1280, False), (1280, True), (390, False), (320, True)):
        tab.size(width, 800, dark=dark)
        tab.until("rows.length > 6")
        tab.run("drawAll()")
        assert min(tab.run(ink)) > 3, (width, dark)
        assert tab.run("document.documentElement.scrollWidth") <= width
        small = "[...document.querySelectorAll('.switch')].map((n) => n.offsetHeight)"
        assert min(tab.run(small)) >= 40
    assert tab.said == []


def test_bars_begin_below_each_other_and_no_window_of_the_map_is_cut(
    browse: Callable[[str], Tab], shown: str
) -> None:
    tab = browse(f"http://{shown}/")
    tab.size(1280, 900)
    tab.until("document.querySelectorAll('#bars .most').length === 1")
    tab.run("document.getElementById('bars').style.gridTemplateColumns = '1fr'")
    lefts = tab.run(
        "[...document.querySelectorAll('#bars .track')].map((n) => n.getBoundingClientRect().left)"
    )
    assert len(set(lefts)) == 1, lefts
    outside = """(() => {
      hello.map.points = [[-3, 0]]; hello.map.label = [hello.classes[0]]; rows = []; map();
      const c = document.getElementById('map'), pen = c.getContext('2d');
      const seen = [...Array(40).keys()].map((x) => [...pen.getImageData(x, Math.round(c.height / 2), 1, 1).data].join());
      return seen.some((one) => one !== seen[0]) && seen[0] === seen[1];
    })()"""  # noqa: E501
    assert tab.run(outside)


def test_text_stands_out_from_what_is_behind_it(browse: Callable[[str], Tab], shown: str) -> None:
    tab = browse(f"http://{shown}/")
    contrast = """(() => {
      const light = (name) => {
        const text = css(name).slice(1);
        const whole = text.length === 3 ? [...text].map((c) => c + c).join('') : text;
        const parts = [0, 2, 4].map((i) => parseInt(whole.slice(i, i + 2), 16) / 255);
        const [r, g, b] = parts.map((v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
        return .2126 * r + .7152 * g + .0722 * b;
      };
      const ratio = (a, b) => (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
      const inks = ['--ink', '--muted', '--blue', '--warn'], papers = ['--paper', '--soft'];
      return inks.flatMap((i) => papers.map((p) => ratio(light(i), light(p))));
    })()"""
    for dark in (False, True):
        tab.size(1000, 800, dark=dark)
        tab.until("document.readyState === 'complete'")
        assert min(tab.run(contrast)) >= 4.5, dark


def test_a_screen_reader_is_told_what_there_is(browse: Callable[[str], Tab], shown: str) -> None:
    tab = browse(f"http://{shown}/")
    tab.until("rows.length > 3")
    nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
    told = [(one["role"]["value"], one.get("name", {}).get("value", ""))
            for one in nodes if not one.get("ignored")]  # fmt: skip
    assert ("heading", "crossl live") in told
    assert [name for role, name in told if role == "switch"] == [
        "acc, used by the classifier", "ecg, used by the classifier",
    ]  # fmt: skip
    images = [name for role, name in told if role in ("image", "img", "canvas", "Canvas")]
    assert any(name.startswith("Timeline of the last 3 minutes; now ") for name in images)
    assert any(name.startswith("Map of 57 training windows.") for name in images)
    assert tab.run("document.getElementById('said').getAttribute('aria-live')") == "polite"
    tab.run("document.querySelectorAll('.switch')[0].click()")
    tab.until("document.getElementById('said').textContent.length > 0")
    heard = "document.getElementById('with').textContent.endsWith('without acc')"
    assert tab.until(heard)


def test_a_long_watch_leaves_nothing_behind(browse: Callable[[str], Tab], shown: str) -> None:
    tab = browse(f"http://{shown}/")
    tab.until("rows.length > 20")
    count = "[document.querySelectorAll('*').length, rows.length, sensors[0].low.length, sets.size]"
    tab.run("rows = Array.from({length: 5000}, () => rows[0])")
    before = tab.until("rows.length <= 400 && " + count)
    tab.call("HeapProfiler.collectGarbage")
    held = tab.run("performance.memory.usedJSHeapSize")
    tab.until(f"now > {tab.run('now')} + 25")
    after = tab.run(count)
    assert after[0] == before[0]
    assert after[1] <= 400
    assert after[2:] == before[2:]
    tab.call("HeapProfiler.collectGarbage")
    assert tab.run("performance.memory.usedJSHeapSize") < held + 4e6


def test_with_a_token_the_page_asks_for_it(browse: Callable[[str], Tab], run: crossl.Run) -> None:
    plain = replace(run)
    with served(plain, demo=lambda: replay([recording(4)], speed=10.0), token=TOKEN) as address:
        tab = browse(f"http://{address}/")
        tab.until("!document.getElementById('door').hidden")
        assert tab.run("document.getElementById('page').hidden")
        type_in = "document.getElementById('token').value = '{}'; door.requestSubmit()"
        tab.run(type_in.format("wrong-wrong-wrong-wrong"))
        tab.until("document.getElementById('wrong').textContent === 'That token is wrong.'")
        tab.run(type_in.format(TOKEN))
        tab.until("rows.length > 1")
        assert tab.run("document.getElementById('map').hidden")
        assert "no map" in tab.run("document.getElementById('mapped').textContent")
        again = browse(f"http://{address}/#token={TOKEN}")
        again.until("rows.length > 1")
        assert again.run("location.href") == f"http://{address}/"


def test_the_page_comes_back_when_the_service_does(
    browse: Callable[[str], Tab], run: crossl.Run
) -> None:
    with served(run) as address:
        tab = browse(f"http://{address}/")
        tab.until("document.getElementById('wait').textContent.includes('send chunks')")
    tab.until("document.getElementById('state').textContent.startsWith('connection lost')")
    assert all("ERR_CONNECTION_REFUSED" in one or "WebSocket" in one for one in tab.said)
