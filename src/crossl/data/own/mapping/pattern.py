"""Patterns of paths: `{subject}` and the other fields, `*` for what does not matter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from crossl.errors import DataError, nearest

FIELDS = ("subject", "session", "label", "part")
MAX_PIECES = 100
"""Stars, fields and the texts between them."""

State = tuple[int, int, tuple[tuple[str, str], ...]]
"""Piece, place in the path, and what the fields are that stand again further on."""


@dataclass(frozen=True)
class Pattern:
    """A pattern, in pieces.

    Attributes:
        pieces: `*`, `{field}`, or text that must stand there.
    """

    pieces: tuple[str, ...]

    @property
    def fields(self) -> set[str]:
        """Names of the fields."""
        return {piece[1:-1] for piece in self.pieces if _is_field(piece)}

    @property
    def letters(self) -> int:
        """Letters that must stand in a path as they are."""
        return sum(len(piece) for piece in self.pieces if piece != "*" and not _is_field(piece))

    def match(self, path: str) -> dict[str, str] | None:
        """Tell what the fields are in a path; None where it does not match.

        A field takes as little as it can, a star as much; neither reaches across a `/`, and a
        field that occurs twice must match the same text. The time grows with the square of the
        length of the path, however many stars there are.

        Args:
            path: with `/` between folders.

        Examples:
            >>> read_pattern("{subject}/{subject}_*.csv").match("S1/S1_watch.csv")
            {'subject': 'S1'}
        """
        texts = "".join(piece for piece in self.pieces if not _is_field(piece))
        last = self.pieces[-1] if self.pieces else ""
        hopeless = not (_is_field(last) or last == "*" or path.endswith(last))
        if hopeless or texts.count("/") != path.count("/"):
            return None
        return self._match(path, (0, 0), {}, set())

    def _match(
        self, path: str, place: tuple[int, int], told: dict[str, str], failed: set[State]
    ) -> dict[str, str] | None:
        number, at = place
        if number == len(self.pieces):
            return told if at == len(path) else None
        again = self.pieces[number:]
        state = number, at, tuple((k, v) for k, v in told.items() if f"{{{k}}}" in again)
        if state in failed:
            return None
        for end, field in self._ends(path, number, at, told):
            found = self._match(path, (number + 1, end), told | field, failed)
            if found is not None:
                return found
        failed.add(state)
        return None

    def _ends(
        self, path: str, number: int, at: int, told: dict[str, str]
    ) -> Iterator[tuple[int, dict[str, str]]]:
        """Yield where a piece may end, and what the field then is; in the order of preference."""
        piece = self.pieces[number]
        slash = path.find("/", at)
        last = len(path) if slash < 0 else slash
        if piece == "*":
            yield from ((end, {}) for end in range(last, at - 1, -1))
        elif not _is_field(piece):
            if path.startswith(piece, at):
                yield at + len(piece), {}
        elif (known := told.get(piece[1:-1])) is not None:
            if path.startswith(known, at):
                yield at + len(known), {}
        else:
            yield from ((end, {piece[1:-1]: path[at:end]}) for end in range(at + 1, last + 1))


def _is_field(piece: str) -> bool:
    return piece.startswith("{") and piece.endswith("}")


def read_pattern(pattern: str) -> Pattern:
    """Take a pattern apart.

    Raises:
        DataError: it has a field that does not exist, or more pieces than any path.
    """
    pieces: list[str] = []
    for piece in re.split(r"(\{[^{}]*\}|\*)", pattern.removeprefix("./")):
        if _is_field(piece) and piece[1:-1] not in FIELDS:
            raise DataError(f"pattern '{pattern}': field {piece}; {nearest(piece[1:-1], FIELDS)}")
        # a star more says nothing more
        if piece and (piece, pieces[-1:]) != ("*", ["*"]):
            pieces.append(piece)
    if len(pieces) > MAX_PIECES:
        raise DataError(
            f"pattern '{pattern[:60]}...': has {len(pieces)} pieces; at most {MAX_PIECES} stars, "
            "fields and texts between them are read"
        )
    return Pattern(tuple(pieces))
