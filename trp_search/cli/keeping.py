"""Options for how much is kept: one for each kind, of which a command is given one."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import typer

from trp_search.cli.arguments import number, positive, takes
from trp_search.cli.help import KEPT
from trp_search.errors import InputError
from trp_search.records import KEEPS, Keep, MaxDrop, keep_of, problem

_OPTIONS: dict[str, type[Keep]] = {**KEEPS, MaxDrop.key(): MaxDrop}


def _option(kind: type[Keep]) -> inspect.Parameter:
    flag, shown = f"--{kind.key().replace('_', '-')}", kind.meaning()
    only = inspect.Parameter.KEYWORD_ONLY
    if kind.is_switch():
        annotation: Any = Annotated[bool, typer.Option(flag, help=shown, rich_help_panel=KEPT)]
        return inspect.Parameter(kind.key(), only, default=False, annotation=annotation)
    parser = positive if kind.is_count() else number
    option = typer.Option(flag, parser=parser, metavar="X", help=shown, rich_help_panel=KEPT)
    return inspect.Parameter(
        kind.key(), only, default=None, annotation=Annotated[float | None, option]
    )


def _keep(**options: Any) -> Keep:  # noqa: ANN401  amounts of whatever kind
    given = {n: x for n, x in options.items() if x is not None and x is not False}
    if len(given) != 1:
        raise InputError(f"give one of {', '.join('--' + n.replace('_', '-') for n in _OPTIONS)}")
    ((name, amount),) = given.items()
    try:
        return keep_of(_OPTIONS[name], amount)
    except ValueError as error:
        why = problem(error, _OPTIONS[name]).removeprefix(name)
        raise InputError(f"--{name.replace('_', '-')}{why}") from None


vars(_keep)["__signature__"] = inspect.Signature([_option(kind) for kind in _OPTIONS.values()])
with_keep = takes(keep=_keep)
