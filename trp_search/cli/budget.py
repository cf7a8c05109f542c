"""The options of a budget, for every command that chooses a point."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_args

from trp_search.cli.arguments import Speedup, number, option, positive
from trp_search.cli.help import LIMIT
from trp_search.errors import InputError
from trp_search.selection.axes import By
from trp_search.selection.budgets import LIMITS, Budget


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


FLAGS = ", ".join(map(_flag, LIMITS))

_OPTIONS: dict[str, Any] = {
    "speedup": Annotated[float | None, Speedup],
    "max_drop": Annotated[
        float | None,
        option(
            "D",
            "the smallest network that loses at most D of the baseline's validation score "
            "(0.01 = 1 point)",
            LIMIT,
            parser=number,
        ),
    ],
    "latency_speedup": Annotated[
        float | None,
        option(
            "X",
            "at least X times faster than the baseline, measured on --target",
            LIMIT,
            parser=number,
        ),
    ],
    "milliseconds": Annotated[
        float | None,
        option("T", "at most T milliseconds per batch, measured on --target", LIMIT, parser=number),
    ],
    "parameters": Annotated[
        int | None, option("N", "at most N parameters", LIMIT, parser=positive)
    ],
    "bytes": Annotated[
        int | None, option("N", "at most N bytes of weights", LIMIT, parser=positive)
    ],
    "by": Annotated[
        str | None,
        option(
            "COUNT",
            f"the quantity that --speedup compares: {', '.join(get_args(By))} [default: macs]",
            LIMIT,
        ),
    ],
    "target": Annotated[
        str | None, option("NAME", "the timed target to use [default: the only one]", LIMIT)
    ],
}


def budgeted(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options of a budget in place of its parameter `budget`.

    The command gets None if no such option is given.
    """

    @functools.wraps(command)
    def with_budget(**given: Any) -> None:  # noqa: ANN401  what typer read
        asked = {name: given.pop(name) for name in _OPTIONS}
        wanted = any(value is not None for value in asked.values())
        command(**given, budget=_budget(asked) if wanted else None)

    parameters: list[inspect.Parameter] = []
    for own in inspect.signature(command, eval_str=True).parameters.values():
        kind = inspect.Parameter.KEYWORD_ONLY
        if own.name == "budget":
            parameters += [
                inspect.Parameter(name, kind, default=None, annotation=option)
                for name, option in _OPTIONS.items()
            ]
        else:
            parameters.append(own.replace(kind=kind))
    vars(with_budget).update(__signature__=inspect.Signature(parameters))  # what typer reads
    return with_budget


def _budget(asked: dict[str, Any]) -> Budget:
    limits = [_flag(name) for name in LIMITS if asked[name] is not None]
    if len(limits) != 1:
        raise InputError(f"{' and '.join(limits) or 'no budget'}: give one of {FLAGS}")
    try:
        return Budget(**asked)
    except InputError as error:
        name, _, why = str(error).partition(": ")
        raise InputError(f"{_flag(name)}: {why}") from None
