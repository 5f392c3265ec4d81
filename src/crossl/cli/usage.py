"""Words that a command does not know: told in one sentence, as everything else that is refused."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from crossl.errors import ConfigError

USAGE_ERROR: type[Any] = next(
    one for one in typer.BadParameter.__mro__ if one.__name__ == "UsageError"
)
"""Of the click that this typer uses, which may be its own."""


class OneSentence(TyperGroup):
    """Commands whose wrong words are a `ConfigError`, and so a sentence and exit code 2."""

    def make_context(self, *args: Any, **more: Any) -> Any:
        """Read the words in front of the command."""
        try:
            return super().make_context(*args, **more)
        except USAGE_ERROR as error:
            raise _told(error) from None

    def invoke(self, ctx: Any) -> Any:
        """Read the words behind the command, and run it."""
        try:
            return super().invoke(ctx)
        except USAGE_ERROR as error:
            raise _told(error) from None


def _told(error: Any) -> Exception:
    """Return the error as a sentence that names the command; who says nothing gets the help."""
    if type(error).__name__ == "NoArgsIsHelpError" or error.ctx is None:
        return error  # type: ignore[no-any-return]
    names: list[str] = []
    ctx = error.ctx
    while ctx.parent is not None:
        names.insert(0, ctx.info_name)
        ctx = ctx.parent
    what = " ".join(error.format_message().split()).rstrip(".")
    where = f"{' '.join(names)}: " if names else ""
    help_of = " ".join(["crossl", *names, "--help"])
    return ConfigError(f"{where}{what[:1].lower()}{what[1:]}; see `{help_of}`")
