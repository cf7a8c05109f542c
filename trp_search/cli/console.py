"""Where the command line prints: lines are never folded, so that they can be piped and copied."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

OUT = Console(highlight=False)


def line(text: str = "", *, style: str = "") -> None:
    """One line on stdout, as long as it is."""
    OUT.print(Text(text, style=style), soft_wrap=True)


def warn(text: str) -> None:
    """One line that asks for attention and stops nothing."""
    line(f"warning: {text}", style="yellow")


def raw(text: str) -> None:
    """Text for programs, exactly as it is."""
    OUT.file.write(text + "\n")


def pairs(rows: Sequence[tuple[str, str | Path]]) -> None:
    """Names and values in two columns."""
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        OUT.print(Text(f"  {name:<{width}}  ", style="dim") + Text(str(value)), soft_wrap=True)


def following(commands: list[str]) -> None:
    """What to type next, each command on a line of its own."""
    line()
    line("Next:", style="bold")
    for command in commands:
        line(f"  {command}", style="cyan")
