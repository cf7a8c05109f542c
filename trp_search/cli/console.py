"""Where the command line prints: lines are never wrapped, so that they can be piped and copied.

Content of files is printed as plain text: it neither controls the terminal nor is markup.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.segment import Segment, Segments
from rich.text import Text
from typing_extensions import override

# C0, DEL and C1; what turns the direction of writing; separators of lines.
_STEERING = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def shown(text: str) -> str:
    r"""`text` in one line; control characters are written out: `\x1b`."""
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class _Terminal(Console):
    """A console that prints strings, such as a table's cells, as plain text."""

    @override
    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(shown(text), **options)

    @override
    def on_broken_pipe(self) -> None:
        """Goes on without a word when nobody reads any more, as behind `| head`."""
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


# A pipe takes tables of any width, unless COLUMNS says otherwise.
_TOLD = sys.stdout is None or sys.stdout.isatty() or "COLUMNS" in os.environ
_WIDTH = None if _TOLD else 1000
OUT = _Terminal(width=_WIDTH, highlight=False, markup=False, emoji=False)


def line(text: str = "", *, style: str = "") -> None:
    """One line on stdout, never wrapped."""
    OUT.print(Text(shown(text), style=style), soft_wrap=True)


def warn(text: str) -> None:
    """One warning line."""
    line(f"warning: {text}", style="yellow")


def raw(text: str) -> None:
    """Text for programs, exactly as it is, and the end of its line."""
    OUT.print(Segments([Segment(f"{text}\n")]), soft_wrap=True, end="")


def pairs(rows: Sequence[tuple[str, str | Path]]) -> None:
    """Names and values in two columns."""
    said = [(shown(name), shown(str(value))) for name, value in rows]
    width = max(len(name) for name, _ in said)
    for name, value in said:
        OUT.print(Text(f"  {name:<{width}}  ", style="dim") + Text(value), soft_wrap=True)


def following(commands: list[str]) -> None:
    """The commands to type next, one per line."""
    line()
    line("Next:", style="bold")
    for command in commands:
        line(f"  {command}", style="cyan")
