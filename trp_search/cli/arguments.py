"""Arguments and options that several commands take, and how a number is read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def number(text: str) -> float:
    """A number as a user typed it."""
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a number") from None


def positive(text: str) -> int:
    """A whole number from 1 up."""
    return _whole(text, least=1)


def natural(text: str) -> int:
    """A whole number from 0 up."""
    return _whole(text, least=0)


def _whole(text: str, *, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise typer.BadParameter(f"{text!r} is not a whole number from {least} up")
    return int(text)


Space = Annotated[Path, typer.Argument(metavar="SPACE", help="a search space, YAML")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="a run folder")]
Json = Annotated[bool, typer.Option("--json", help="print JSON for programs")]
Speedup = typer.Option(
    parser=number, metavar="X", help="multiply-adds before / after, at least; 1 or more"
)
Trials = Annotated[
    int | None,
    typer.Option(parser=positive, metavar="N", help="trials in all [default: the space's number]"),
]
Concurrency = Annotated[
    int | None,
    typer.Option(parser=positive, metavar="N", help="trials at a time [default: what fits]"),
]
Address = Annotated[
    str | None, typer.Option(metavar="A", help="a running Ray cluster to join: auto or host:port")
]
Seed = Annotated[
    int | None,
    typer.Option(parser=natural, metavar="S", help="of the search [default: the space's]"),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust", help="call code it names that is not below this folder, fetch its images"
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        min=1.0,
        metavar="SECONDS",
        show_default="600",
        help="that your own network or data may take before the start",
    ),
]
Network = Annotated[
    str | None,
    typer.Option(metavar="MODULE:CALLABLE", help="builds the baseline, where it is your own"),
]
Data = Annotated[
    str | None,
    typer.Option(
        metavar="IMAGES",
        help="a search space, module:callable or a run folder "
        "[default: digits, where the bundle's card says so]",
    ),
]
