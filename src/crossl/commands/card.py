"""`crossl card`: a model card of a run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from crossl.data.readers import get_reader
from crossl.data.readers.card import Card
from crossl.data.store import Store
from crossl.errors import ConfigError, ContractError
from crossl.files import read_json, write_whole
from crossl.report.confidence import load_reliability
from crossl.report.load import load_inputs
from crossl.run_folder import Run, load_probe, load_run
from crossl.sharing.card import Facts, card_text

LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,39}")


def write_card(
    run_path: Path,
    out: Path | None = None,
    *,
    store: Path | None = None,
    licence: str = "",
    name: str = "",
) -> Path:
    """Write a model card from what a run folder says, and from nothing else.

    Args:
        run_path: the run folder.
        out: the file; None for `README.md` in the run.
        store: that it was trained on, where the run does not say how its recordings were read.
        licence: of the weights, as Hugging Face spells it, such as `apache-2.0`; empty for not
            said.
        name: of the model; empty for that of the folder.

    Returns:
        The file.

    Raises:
        ConfigError: a licence that is not a name.
        ContractError: another store than the run's.
        FormatError: the run, its classifier or its scores are damaged.
    """
    run = load_run(run_path)
    if licence and not LICENCE.fullmatch(licence):
        raise ConfigError(f"--licence: got '{licence:.60}'; a name as Hugging Face spells it is "
                          "needed, such as apache-2.0, cc-by-4.0 or other")  # fmt: skip
    probe: dict[str, Any] | None = None
    if (run_path / "probe.json").is_file():
        load_probe(run_path)  # checks it
        probe = read_json(run_path / "probe.json", cure="run `crossl probe` again")
    scored = (run_path / "summary.json").is_file()
    facts = Facts(
        run,
        probe,
        load_inputs(run_path) if scored else None,
        load_reliability(run_path),
        _reader_card(run, store),
        licence,
        name or run_path.resolve().name,
    )
    out = out if out is not None else run_path / "README.md"
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, card_text(facts).encode())
    return out


def _reader_card(run: Run, store: Path | None) -> Card | None:
    """Return the card of the reader, of a published data set; one's own files have none."""
    reader = run.contract.get("reading", {}).get("reader")
    if store is not None:
        opened = Store.open(store)
        if opened.hash != run.contract.get("store_sha256"):
            raise ContractError(f"{store}: is not the store that {run.path} was trained on")
        reader = opened.manifest.get("reader")
    if reader is None:
        return None
    try:
        card = get_reader(reader).CARD
    except ConfigError:  # of a package that is not installed
        return None
    return card if card.modalities else None
