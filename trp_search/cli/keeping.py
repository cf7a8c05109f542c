"""Options for how much is kept: one for each kind, of which a command is given one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from trp_search.cli.arguments import number, positive
from trp_search.cli.help import KEPT
from trp_search.errors import InputError
from trp_search.records import KEEPS, Keep, MaxDrop, keep_of, problem

_OPTIONS: dict[str, type[Keep]] = {**KEEPS, MaxDrop.key(): MaxDrop}


def with_keep(command: Callable[..., None]) -> Callable[..., None]:
    """A command that takes a `keep`, as one with an option for each kind of it in its place."""

    @functools.wraps(command)
    def called(**options: Any) -> None:  # noqa: ANN401  whatever the command takes
        every = {name: options.pop(name) for name in _OPTIONS}
        given = {
            n: amount for n, amount in every.items() if amount is not None and amount is not False
        }
        command(**options, keep=_only(given))

    own = inspect.signature(command, eval_str=True)
    parameters: list[inspect.Parameter] = []
    for parameter in own.parameters.values():
        each = [_option(parameter, kind) for kind in _OPTIONS.values()]
        parameters += each if parameter.name == "keep" else [parameter]
    vars(called)["__signature__"] = own.replace(parameters=parameters)
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return called


def _option(parameter: inspect.Parameter, kind: type[Keep]) -> inspect.Parameter:
    text = " ".join((kind.__doc__ or "").partition("\n\n")[0].split()).rstrip(".")
    flag, shown = f"--{kind.key().replace('_', '-')}", f"{text[:1].lower()}{text[1:]}"
    if kind.is_switch():
        annotation: Any = Annotated[bool, typer.Option(flag, help=shown, rich_help_panel=KEPT)]
        return parameter.replace(name=kind.key(), annotation=annotation, default=False)
    parser = positive if kind.is_count() else number
    option = typer.Option(flag, parser=parser, metavar="X", help=shown, rich_help_panel=KEPT)
    annotation = Annotated[float | None, option]
    return parameter.replace(name=kind.key(), annotation=annotation, default=None)


def _only(given: dict[str, Any]) -> Keep:
    if len(given) != 1:
        raise InputError(f"give one of {', '.join('--' + n.replace('_', '-') for n in _OPTIONS)}")
    ((name, amount),) = given.items()
    try:
        return keep_of(_OPTIONS[name], amount)
    except ValueError as error:
        why = problem(error, _OPTIONS[name]).removeprefix(name)
        raise InputError(f"--{name.replace('_', '-')}{why}") from None
