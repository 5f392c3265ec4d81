"""Labels in files of their own beside the signals, such as a hypnogram beside its night."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import PurePosixPath

from crossl.data.formats import FileContent
from crossl.data.own.mapping.names import Kind

Kinds = list[tuple[Kind, list[FileContent]]]
LEAST_SHARED = 3
"""Letters that the names of both files begin with."""


def beside_signals(kinds: Kinds) -> Kinds:
    """Make files of labels and their signals be of one recording, where names begin alike.

    `SC4001E0-PSG.edf` and `SC4001EC-Hypnogram.edf` share `SC4001E`: the patterns become
    `{subject}E0-PSG.edf` and `{subject}E*-Hypnogram.edf`.

    Args:
        kinds: kinds of files.
    """
    labels = [one for one in kinds if _only_labels(one[1])]
    signals = [one for one in kinds if not _only_labels(one[1]) and _one_field(one[0])]
    if len(labels) != 1 or len(signals) != 1 or not _one_field(labels[0][0]):
        return kinds
    ends = _ends(signals[0][0].paths, labels[0][0].paths)
    if ends is None:
        return kinds
    new = {id(signals[0][0]): ends[0], id(labels[0][0]): ends[1]}
    return [
        (replace(kind, pattern=new.get(id(kind), kind.pattern), subject="")
         if id(kind) in new else kind, contents)
        for kind, contents in kinds
    ]  # fmt: skip


def _only_labels(contents: Sequence[FileContent]) -> bool:
    return all(not one.streams and one.labels for one in contents)


def _one_field(kind: Kind) -> bool:
    return "{session}" not in kind.pattern and "{label}" not in kind.pattern


def _ends(signals: Sequence[str], labels: Sequence[str]) -> tuple[str, str] | None:
    """Return both patterns if every file of labels has one partner that begins like it."""
    shared = []
    for name in labels:
        partners = {_shared(name, other): other for other in signals}
        best = max(partners, key=len)
        shared.append((best, partners[best], name))
    letters = {best[-1:] for best, _, _ in shared}
    lengths = {len(best) for best, _, _ in shared}
    if len(letters) != 1 or len(lengths) != 1 or min(lengths) - 1 < LEAST_SHARED:
        return None
    if len({other for _, other, _ in shared}) != len(shared):
        return None
    folders = {PurePosixPath(one).parent for one in (*signals, *labels)}
    letter, at = letters.pop(), lengths.pop()
    if len(folders) != 1 or any(
        letter in best[: at - 1].rpartition("/")[2] for best, _, _ in shared
    ):
        return None
    begin = "" if folders == {PurePosixPath(".")} else f"{folders.pop()}/"
    ends = [_tail([one[at:] for one in names]) for names in (signals, labels)]
    return f"{begin}{{subject}}{letter}{ends[0]}", f"{begin}{{subject}}{letter}{ends[1]}"


def _shared(one: str, other: str) -> str:
    """Return what both begin with."""
    same = takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return "".join(letter for letter, _ in same)


def _tail(tails: Sequence[str]) -> str:
    """Write what follows: a star for what differs in front of what all end with."""
    common = tails[0]
    for tail in tails:
        common = _shared(common[::-1], tail[::-1])[::-1]
    return common if set(tails) == {common} else f"*{common}"
