"""A page for each command, from the command line itself."""

from __future__ import annotations

import re
from typing import Any

import typer.main

from crossl.cli.main import app


def commands() -> dict[str, Any]:
    """Return every command by the words it is called by, such as `data fetch`."""
    return dict(_below(typer.main.get_command(app), ""))


def _below(group: Any, words: str) -> Any:
    for name, command in group.commands.items():
        here = f"{words} {name}".strip()
        if hasattr(command, "commands"):
            yield from _below(command, here)
        else:
            yield here, command


def pages() -> dict[str, str]:
    """Return the text of each page by the name of its file."""
    return {f"{words.replace(' ', '-')}.md": _page(words, c) for words, c in commands().items()}


def _page(words: str, command: Any) -> str:
    context = command.make_context("crossl", [], resilient_parsing=True)
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name != "argument"]
    usage = " ".join(["crossl", words, *(_metavar(p) for p in arguments), "[OPTIONS]"])
    return "\n".join(
        [
            f"# crossl {words}\n",
            _help(command.help or ""),
            f"\n## Usage\n\n```\n{usage}\n```\n",
            *_table("Argument", [(_metavar(p), *_said(p, context)) for p in arguments]),
            *_table("Option", [_record(p, context) for p in options if not p.hidden]),
            "Exit codes: 0 done; 2 refused, with one sentence; 130 or 143 interrupted; others as "
            "said above.\n",
        ]
    )


def _help(text: str) -> str:
    """Return what a command says of itself, its examples as blocks."""
    told, *examples = text.strip().split("Example:")
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", told.strip())]
    blocks = [f"```\n{' '.join(example.split())}\n```" for example in examples]
    return "\n\n".join([*paragraphs, *blocks])


def _metavar(param: Any) -> str:
    name = param.metavar or param.name.upper()
    name = f"{name}..." if param.nargs == -1 else name
    return name if param.required else f"[{name}]"


def _record(param: Any, context: Any) -> tuple[str, str, str]:
    spelling = param.get_help_record(context)[0]
    spelling = re.sub(r"<list\[(\w+)\]>", r"<\1>", spelling).replace("<str>", "<text>")
    return (re.sub(r"<int(?: range)?>|<float(?: range)?>", "<number>", spelling),
            *_said(param, context))  # fmt: skip


def _said(param: Any, context: Any) -> tuple[str, str]:
    """Return what a parameter does, and what it is where nothing is said."""
    told = str(param.get_help_record(context)[1])
    told, *facts = re.split(r"\s+\[(?=default: |required|x|env var)", told)
    known = "; ".join(facts).replace("]", "")
    known = known.replace("required", "must be given")
    known = re.sub(r"default: ([^;]+)", r"`\1`", known)
    known = re.sub(r"x>=(\S+)", r"at least \1", known)
    return told.replace("|", "\\|"), known


def _table(title: str, rows: list[tuple[str, str, str]]) -> list[str]:
    if not rows:
        return []
    lines = [f"| {title} | What it does | Default |", "|---|---|---|"]
    lines += [f"| `{name}` | {told} | {known} |".replace("STORE|", "STORE\\|")
              for name, told, known in rows]  # fmt: skip
    return [*lines, ""]
