"""Arguments and options that several commands take, and how a number is read."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from trp_search.cli.help import LIMIT, READ, RUNS, SEARCHED, WRITTEN
from trp_search.errors import InputError


def check_none_empty(words: Sequence[str]) -> None:
    """Raises InputError where nothing is given for something: as a path it would be this folder."""
    for before, word in itertools.pairwise(["", *words]):
        option, equals, given = word.partition("=")
        if not word or (option.startswith("--") and equals and not given):
            said = f"after {before}" if before else "for the command"
            raise InputError(f"{option or said}: '' is empty; is a variable of the shell not set?")


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


def option(
    metavar: str,
    text: str,
    panel: str | None = None,
    *,
    parser: Callable[[str], float] | None = None,
) -> Any:  # noqa: ANN401  as typer's own
    """An option of a command, with its help `text` in a `panel`."""
    return typer.Option(parser=parser, metavar=metavar, help=text, rich_help_panel=panel)


Command = Callable[..., None]


def takes(**groups: Callable[..., Any]) -> Callable[[Command], Command]:
    """A command with several options in place of each of these parameters.

    The options are those of the function that a parameter names here; the command gets what it
    returns for them.
    """
    options = {name: _parameters(made) for name, made in groups.items()}

    def of(command: Command) -> Command:
        @functools.wraps(command)
        def called(**given: Any) -> None:  # noqa: ANN401  what typer read
            for name, own in options.items():
                given[name] = groups[name](**{key: given.pop(key) for key in own})
            command(**given)

        parameters = [
            one.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for name, own in _parameters(command).items()
            for one in options.get(name, {name: own}).values()
        ]
        vars(called)["__signature__"] = inspect.Signature(parameters)
        called.__annotations__ = {one.name: one.annotation for one in parameters}
        return called

    return of


def _parameters(of: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(of, eval_str=True).parameters)


Space = Annotated[Path, typer.Argument(metavar="SPACE", help="a search space (YAML)")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="a run folder")]
Json = Annotated[bool, typer.Option("--json", help="print JSON for programs")]
Speedup = option(
    "X",
    "at least X times smaller than the baseline, in multiply-adds or by --by",
    LIMIT,
    parser=number,
)
Trials = Annotated[
    int | None, option("N", "trials in total [default: the space's]", SEARCHED, parser=positive)
]
Concurrency = Annotated[
    int | None, option("N", "trials at a time [default: as many as fit]", RUNS, parser=positive)
]
Address = Annotated[str | None, option("A", "join a running Ray cluster: auto or host:port", RUNS)]
Seed = Annotated[
    int | None, option("S", "seed of the search [default: the space's]", SEARCHED, parser=natural)
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="allow code named by the run to be called and its images to be downloaded",
        rich_help_panel=READ,
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        min=1.0,
        metavar="SECONDS",
        help="seconds that your network or data code may take before the search starts",
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
    option("MODULE:CALLABLE", "builds the uncompressed network of a custom architecture", READ),
]
Data = Annotated[
    str | None,
    option(
        "IMAGES",
        "images: a search space, module:callable or a run folder "
        "[default: digits, if the bundle's card says so]",
        READ,
    ),
]
