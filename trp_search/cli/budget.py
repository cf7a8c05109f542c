"""The options of a budget, for every command that chooses a point."""

from __future__ import annotations

import inspect
from typing import Annotated, Any, get_args

from trp_search.cli.arguments import Speedup, number, option, positive, takes
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
            f"the quantity that --speedup and --max-drop go by: {', '.join(get_args(By))} "
            "[default: macs]",
            LIMIT,
        ),
    ],
    "target": Annotated[
        str | None, option("NAME", "the timed target to use [default: the only one]", LIMIT)
    ],
}


def _budget(**asked: Any) -> Budget | None:  # noqa: ANN401  what typer read
    """None where no option is given."""
    limits = [_flag(name) for name in LIMITS if asked[name] is not None]
    if all(value is None for value in asked.values()):
        return None
    if len(limits) != 1:
        raise InputError(f"{' and '.join(limits) or 'no budget'}: give one of {FLAGS}")
    try:
        return Budget(**asked)
    except InputError as error:
        name, _, why = str(error).partition(": ")
        raise InputError(f"{_flag(name)}: {why}") from None


vars(_budget)["__signature__"] = inspect.Signature(
    [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option)
        for name, option in _OPTIONS.items()
    ]
)
budgeted = takes(budget=_budget)
