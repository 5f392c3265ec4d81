"""Which labels of recordings become classes of a store, and which of them are one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from crossl.data.recording import Recording
from crossl.errors import ConfigError, nearest


def choose_classes(texts: Sequence[str], known: Sequence[str]) -> dict[str, str]:
    """Read a choice of classes: `stress,calm=baseline+meditation`.

    A comma stands between classes; `NEW=A+B` and `NEW=A,B` make one of several. What follows
    `NEW=A,` belongs to it, up to the next `=`; what follows `NEW=A+B,` are classes again. A name
    that has such a sign itself is taken as it is where it is known.

    Args:
        texts: of the option, which may be repeated.
        known: labels of the recordings.

    Returns:
        The class of each label that is chosen, classes in order.

    Raises:
        ConfigError: a label is unknown or chosen twice, or a class is named twice.

    Examples:
        >>> choose_classes(["stress,calm=baseline+rest"], ["baseline", "rest", "stress", "fun"])
        {'stress': 'stress', 'baseline': 'calm', 'rest': 'calm'}
        >>> choose_classes(["calm=baseline,rest"], ["baseline", "rest", "stress", "fun"])
        {'baseline': 'calm', 'rest': 'calm'}
    """
    chosen: dict[str, str] = {}
    named: set[str] = set()
    for name, labels in _pieces(texts, known):
        if name in named:
            raise ConfigError(f"--classes: class '{name}' is given twice; give each once")
        named.add(name)
        for label in labels:
            if label not in known:
                raise ConfigError(f"--classes: no label '{label}'; {nearest(label, known)}")
            if label in chosen:
                raise ConfigError(f"--classes: label '{label}' is given twice; give each once")
            chosen[label] = name
    return chosen


def _pieces(texts: Sequence[str], known: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    for text in texts:
        found: list[tuple[str, list[str]]] = []
        open_ended = False  # the last one is NEW=A, to which more may belong
        for piece in [text] if text in known else [one.strip() for one in text.split(",")]:
            name, equals, told = piece.partition("=")
            if piece in known or not equals:
                if open_ended:
                    found[-1][1].append(piece)
                else:
                    found.append((piece, [piece]))
                continue
            members = [told] if told in known else [one.strip() for one in told.split("+")]
            found.append((name.strip(), members))
            open_ended = len(members) == 1
        yield from found


def with_classes(recording: Recording, chosen: Mapping[str, str]) -> Recording:
    """Name labels as they were chosen; what was not chosen is unlabelled time."""
    labels = tuple(
        replace(one, label=chosen[one.label]) for one in recording.labels if one.label in chosen
    )
    return replace(recording, labels=labels)
