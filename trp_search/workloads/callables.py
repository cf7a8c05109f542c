"""Resolves `package.module:callable`, as a user writes it, to the callable."""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from trp_search.errors import InputError, one_line
from trp_search.records import Workload
from trp_search.workloads.guard import guarded

TIMM = "timm:"  # before the name of one of timm's networks


def is_callable_name(name: str) -> bool:
    """Whether `name` is of the form `package.module:callable`; `timm:NAME` is none."""
    return ":" in name and not name.startswith(TIMM)


def called(name: str, options: dict[str, Any], *, where: str) -> object:
    """What the callable `name` returns for `options`; InputError that begins with `where`.

    Its output goes to stderr, and it cannot end the program; see `guarded`.
    """
    with guarded(f"{where}: {name}"):
        result: object = resolved(name, where=where)(**options)
    return result


def theirs(name: str, *, where: str, seconds: float) -> AbstractContextManager[None]:
    """Guards a block that runs what the callable `name` returned; other names run unguarded."""
    if not is_callable_name(name):
        return nullcontext()
    return guarded(f"{where}: {name}", seconds=seconds)


def see_current_folder() -> None:
    """Lets modules of the current folder be imported; a console script does not look there."""
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))


def user_modules(workload: Workload) -> tuple[Path, ...]:
    """Files and package folders of the callables that a workload names, unless installed."""
    see_current_folder()
    found = []
    installed = Path(sysconfig.get_path("purelib"))
    for name in (workload.network.name, workload.data.name):
        top = name.partition(":")[0].partition(".")[0]
        spec = importlib.util.find_spec(top) if is_callable_name(name) else None
        if spec is None:
            continue
        path = Path([*(spec.submodule_search_locations or ()), spec.origin][0])
        if installed not in path.parents and path not in found:
            found.append(path)
    return tuple(found)


def importing(workload: Workload) -> Mapping[str, str]:
    """The environment of a process that finds the workload's modules wherever this one does."""
    folders = [str(path.parent) for path in user_modules(workload)]
    found = [*folders, *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | ({"PYTHONPATH": os.pathsep.join(found)} if found else {})


def resolved(name: str, *, where: str) -> Callable[..., Any]:
    """What `package.module:callable` names, imported; InputError that begins with `where`."""
    module_name, _, attribute = name.partition(":")
    see_current_folder()
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise InputError(f"{where}: {name!r}: there is no module {error.name}") from None
        raise InputError(f"{where}: {name!r}: importing it raised {one_line(error)}") from error
    except Exception as error:
        raise InputError(f"{where}: {name!r}: importing it raised {one_line(error)}") from error
    function = getattr(module, attribute, None)
    if function is None:
        raise InputError(f"{where}: {name!r}: {module_name} has no {attribute or 'empty name'}")
    if not callable(function):
        raise InputError(f"{where}: {name!r}: {attribute} is not callable")
    found: Callable[..., Any] = function
    return found
