"""`crossl data list`, `card` and `fetch`, and the page of all cards."""

from __future__ import annotations

import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from crossl.cli.cards import as_page
from crossl.data.readers import DATASETS, OWN, get_reader, reader_options

ROOT = Path(__file__).resolve().parents[2]
MARKERS = ("train/Inertial Signals", "test/Inertial Signals")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *words):
        """Say nothing."""


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A server of a folder, made as UCI's: an archive in an archive."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    inner = tmp_path / "UCI HAR Dataset.zip"
    with zipfile.ZipFile(inner, "w") as opened:
        for marker in MARKERS:
            opened.writestr(f"UCI HAR Dataset/{marker}/none.txt", "")
    outer = tmp_path / "www/static/public/240/human+activity+recognition+using+smartphones.zip"
    outer.parent.mkdir(parents=True)
    with zipfile.ZipFile(outer, "w") as opened:
        opened.write(inner, inner.name)
    handler = partial(Quiet, directory=str(tmp_path / "www"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_the_list_has_every_data_set_and_format(crossl):
    done = crossl("data", "list")
    assert done.code == 0
    first = {line.split()[0] for line in done.out.splitlines() if line}
    assert {*DATASETS, *OWN} <= first
    line = next(line for line in done.out.splitlines() if line.startswith("uci_har"))
    assert line.split()[-5:] == ["30", "2", "6", "forbidden", "fetch"]


@pytest.mark.parametrize("name", [*DATASETS, *OWN])
def test_a_card_is_told_in_full_and_wrapped(crossl, name):
    done = crossl("data", "card", name)
    assert done.code == 0
    told, card = " ".join(done.out.split()), get_reader(name).CARD
    for text in (card.title, card.description, card.licence, card.citation, card.url, *card.traps):
        assert " ".join(text.split()) in told
    assert all(f"modality {m.name}:" in told for m in card.modalities)
    assert all(f"option: {key} (default:" in told for key in reader_options(name))
    assert ("commercial use: forbidden" in told) == (not card.commercial_use)
    # the title and words that cannot be broken may be longer
    assert all(len(line) <= 88 or " " not in line.strip() for line in done.out.splitlines()[1:])


@pytest.mark.parametrize("verb", ["card", "fetch"])
def test_an_unknown_data_set_is_answered_with_the_nearest(crossl, verb):
    done = crossl("data", verb, "pamap3")
    assert done.code == 2
    assert done.err == "crossl: reader 'pamap3': unknown; did you mean 'pamap2'?\n"


def test_fetch_tells_the_terms_and_ends_with_the_next_command(crossl, mirror, tmp_path):
    to = tmp_path / "my downloads"
    for words in (("--mirror", mirror), ("--mirror", mirror)):
        done = crossl("data", "fetch", "uci_har", "--to", to, *words)
        assert (done.code, done.err) == (0, "")
        lines = done.out.splitlines()
        assert lines[0] == get_reader("uci_har").CARD.title
        assert "  commercial use: forbidden by the terms of this data set" in lines
        assert lines[-1] == f"crossl prepare uci_har --root '{to}' --out stores/uci_har"
    assert get_reader("uci_har").recognises(to)
    with get_reader("uci_har").open_dataset(root=to.parent / "my downloads") as dataset:
        assert [part.name for part in dataset.parts]


def test_the_mirror_may_come_from_the_environment(crossl, mirror, tmp_path, monkeypatch):
    monkeypatch.setenv("CROSSL_MIRROR", mirror)
    monkeypatch.chdir(tmp_path)
    assert crossl("data", "fetch", "uci_har").code == 0
    assert (tmp_path / "uci_har").is_dir()


def test_what_cannot_be_fetched_is_told_with_its_address(crossl, tmp_path):
    done = crossl("data", "fetch", "seglearn_watch", "--to", tmp_path / "x")
    assert done.code == 2
    assert "no official download to fetch; get it at https://github.com/dmbee" in done.err
    assert not (tmp_path / "x").exists()


def test_a_refused_download_ends_with_one_sentence(crossl, mirror, tmp_path):
    done = crossl("data", "fetch", "uci_har", "--to", tmp_path / "x", "--mirror", f"{mirror}/no")
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "the server answers 404" in done.err


def test_every_download_is_by_https_from_a_named_host():
    for name in DATASETS:
        for file in get_reader(name).CARD.files:
            assert file.url.startswith("https://")
            assert file.sha256 is None or len(file.sha256) == 64


def test_the_page_of_all_cards_is_up_to_date():
    page = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
    assert page == as_page(), "run: python docs/make_datasets.py"


def test_one_of_a_thing_is_counted_as_one(crossl, tmp_path):
    pytest.importorskip("polars", reason="the extra `io` is not installed")
    (tmp_path / "study" / "anna").mkdir(parents=True)
    rng = np.random.default_rng(0)
    lines = [f"{i / 50:.2f},{x:.4f},{y:.4f},{9.8 + z:.4f},{'rest' if i < 500 else 'walk'}"
             for i, (x, y, z) in enumerate(rng.normal(size=(1000, 3)))]  # fmt: skip
    table = "\n".join(["time,acc_x,acc_y,acc_z,label", *lines, ""])
    (tmp_path / "study" / "anna" / "watch.csv").write_text(table)
    done = crossl("data", "init", tmp_path / "study")
    assert "1 recording of 1 subject; classes: rest, walk" in done.out, done
    assert "finds 1 file\n" in (tmp_path / "study" / "recordings.yaml").read_text()
    asked = ("prepare", "folder", "--root", tmp_path / "study", "--out", tmp_path / "store")
    done = crossl(*asked, "--window-s", 2, "--stride-s", 2)
    assert done.code == 0, done.err
    assert "10 windows of 2 s every 2 s, 10 labelled, 1 subject, float32" in done.out
