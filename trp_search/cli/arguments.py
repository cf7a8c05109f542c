"""Arguments and options that several commands take, and how a number is read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer

from trp_search import records
from trp_search.cli.help import CUT, LIMIT, READ, RUNS, SEARCHED, WRITTEN


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


Space = Annotated[Path, typer.Argument(metavar="SPACE", help="a search space (YAML)")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="a run folder")]
Json = Annotated[bool, typer.Option("--json", help="print JSON for programs")]
Speedup = typer.Option(
    parser=number,
    metavar="X",
    help="at least this speedup: multiply-adds before / after",
    rich_help_panel=LIMIT,
)
Trials = Annotated[
    int | None,
    typer.Option(
        parser=positive,
        metavar="N",
        help="trials in total [default: the space's]",
        rich_help_panel=SEARCHED,
    ),
]
Concurrency = Annotated[
    int | None,
    typer.Option(
        parser=positive,
        metavar="N",
        help="trials at a time [default: as many as fit]",
        rich_help_panel=RUNS,
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="A", help="join a running Ray cluster: auto or host:port", rich_help_panel=RUNS
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(
        parser=natural,
        metavar="S",
        help="seed of the search [default: the space's]",
        rich_help_panel=SEARCHED,
    ),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="call any code that the run names, and download its images",
        rich_help_panel=READ,
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        min=1.0,
        metavar="SECONDS",
        help="time limit of your own network or data before the start",
        rich_help_panel=RUNS,
    ),
]
Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        metavar="F",
        help="a further format: onnx, openvino, executorch, pt2; may be repeated",
        rich_help_panel=WRITTEN,
    ),
]
Network = Annotated[
    str | None,
    typer.Option(
        metavar="MODULE:CALLABLE",
        help="builds the baseline of a custom architecture",
        rich_help_panel=READ,
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        metavar="IMAGES",
        help="images: a search space, module:callable or a run folder "
        "[default: digits, if the bundle's card says so]",
        rich_help_panel=READ,
    ),
]
Scheme = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help=f"unfolding or method: {', '.join(get_args(records.CutScheme))} [default: per-layer; "
        "of a decomposable trial its own]",
        rich_help_panel=CUT,
    ),
]
Allocation = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help=f"division of a budget among layers: {', '.join(get_args(records.Allocation))} "
        "[default: knapsack; of a decomposable trial pooled, by weights alone]",
        rich_help_panel=CUT,
    ),
]
Layers = Annotated[
    str | None,
    typer.Option(
        metavar="WHICH",
        help="layers that may be cut: kxk (convolutions wider than 1x1 but the first), all, auto "
        "(what suits the network), or names and patterns, as in 'all, !head, !stem.*' "
        "[default: the space's, or the trial's]",
        rich_help_panel=CUT,
    ),
]
Multiple = Annotated[
    int,
    typer.Option(min=1, metavar="N", help="ranks are multiples of this", rich_help_panel=CUT),
]
