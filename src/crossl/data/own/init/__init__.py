"""A first mapping for a folder of recordings: looks at the files, guesses, and says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from crossl.data.formats import FileContent
from crossl.data.own.init.columns import bad_cells, text_columns
from crossl.data.own.init.draft import Draft, quoted, table_keys
from crossl.data.own.init.find import alike
from crossl.data.own.init.hypnograms import Kinds, beside_signals
from crossl.data.own.init.intervals import describe_intervals
from crossl.data.own.init.streams import describe_streams
from crossl.data.own.init.tables import describe_table, for_several
from crossl.data.own.mapping.load import MAPPING_NAMES
from crossl.data.own.mapping.names import Kind, guess_kinds
from crossl.errors import DataError, PackageError, counted
from crossl.files import lock_beside, locked, write_whole

MAX_LOOKED = 5
"""Files of one kind among which one without a bad cell is sought."""


def init_mapping(folder: Path, *, force: bool = False) -> Path:
    """Write `recordings.yaml` with what the files seem to be, each guess marked.

    Args:
        folder: of the recordings.
        force: overwrite a mapping that exists.

    Returns:
        The mapping. Where nothing tells a rate it stays empty, and loading asks for it.

    Raises:
        DataError: there is a mapping, or no file that could be a recording.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: is not a folder; name the folder of your recordings")
    path = folder / MAPPING_NAMES[0]
    _refuse_mapping(folder, force=force)
    draft = Draft()
    kinds = []
    for contents in alike(folder, draft):
        by_path = {one.path.relative_to(folder).as_posix(): one for one in contents}
        for kind in guess_kinds(list(by_path)):
            kinds.append((kind, [by_path[name] for name in kind.paths]))
    for kind, contents in _of_one(beside_signals(kinds)):
        _add_kind(draft, kind, contents, folder)
    if not draft.modalities:
        told = f"; {'; '.join(draft.skipped[:3])}" if draft.skipped else ""
        raise DataError(f"{folder}: holds no file that could be a recording{told}")
    with locked(lock_beside(path), folder, "is writing a mapping into this folder"):
        _refuse_mapping(folder, force=force)  # it may have come meanwhile
        write_whole(path, draft.text(folder).encode())
    return path


def _of_one(kinds: Kinds) -> Kinds:
    """Take a lone file of labels for that of the only other file that names nobody apart."""
    labels = [only_labels(contents[0]) for _, contents in kinds]
    lone = [kind for (kind, _), label in zip(kinds, labels, strict=True)
            if kind.subject and not label]  # fmt: skip
    if len(lone) != 1:
        return kinds
    return [
        (replace(kind, subject=lone[0].subject) if label and kind.subject else kind, contents)
        for (kind, contents), label in zip(kinds, labels, strict=True)
    ]


def only_labels(content: FileContent) -> bool:
    """Tell whether a file holds labels and no signals."""
    try:
        intervals = bool(content.streams) and describe_intervals(content) is not None
    except DataError:
        return False
    return intervals or (not content.streams and bool(content.labels))


def _refuse_mapping(folder: Path, *, force: bool) -> None:
    for name in MAPPING_NAMES:
        if (folder / name).is_file() and not (force and name == MAPPING_NAMES[0]):
            raise DataError(
                f"{folder / name}: exists; move it away"
                + (", or overwrite it with --force" if name == MAPPING_NAMES[0] else "")
            )


def _add_kind(draft: Draft, kind: Kind, contents: Sequence[FileContent], folder: Path) -> None:
    """Describe files of one kind by the first of them that can be read."""
    contents = _whole_first(contents)
    for number, content in enumerate(contents):
        try:
            found = _describe(draft, for_several(kind, content), contents[number:])
        except PackageError:
            raise
        except DataError as error:
            draft.skip(folder, error)
            continue
        if isinstance(found, str):
            draft.skip(folder, f"{kind.pattern}: no column that could be a signal{found}")
        else:
            draft.files += found
        return


def _whole_first(contents: Sequence[FileContent]) -> list[FileContent]:
    """Put a table in which no column of numbers has a bad cell first, where there is one."""
    for number, one in enumerate(contents[:MAX_LOOKED]):
        stream = one.streams[0] if one.streams else None
        if stream is None or not any(bad_cells(stream, text_columns(stream))):
            return [*contents[number:], *contents[:number]]
    return list(contents)


def _describe(draft: Draft, kind: Kind, contents: Sequence[FileContent]) -> list[str] | str:
    """Return the lines of a kind of file; where it holds nothing, what could not be read of it."""
    content = contents[0]
    files = counted(len(kind.paths), "file")
    lines = [f"  - pattern: {quoted(kind.pattern)}   # guessed: finds {files}"]
    if kind.subject:
        lines.append(f"    subject: {quoted(kind.subject)}   # guessed: no name tells people apart")
    if not content.streams and content.labels:
        return [*lines, "    annotations: true   # labels beside the signals of another file"]
    intervals = describe_intervals(content)
    if intervals is not None:
        told, keys = intervals
        return [*lines, *table_keys({**content.about.get("table", {}), **keys}), *told]
    table = len(content.streams) == 1 and content.streams[0].load_text is not None
    found = (describe_table if table else describe_streams)(draft, kind, contents)
    if found is None or not found[1]:
        why = [f"; {one.strip(' #')}" for one in found[0] if "NOT READ" in one] if found else []
        return "".join(why[:1])
    return [*lines, *found[0], "    signals:", *found[1]]
