"""Which code that a run folder names may be called: the caller's own, and torchvision's networks.

A run folder may come from anybody, and names code. Without `trust` only code below the current
folder is called, and not in the run folder itself.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import inspect
import os
import site
import sys
import sysconfig
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from trp_search.errors import InputError
from trp_search.records import DataSpec, Workload
from trp_search.store import RunFolder
from trp_search.workloads.callables import is_callable_name, resolved, see_current_folder
from trp_search.workloads.guard import SECONDS, guarded
from trp_search.workloads.sources import source_of

_TRUST = "--trust (from Python trust=True)"
_SITES = {"site-packages", "dist-packages"}
_LIBRARIES = ("stdlib", "platstdlib", "purelib", "platlib")


def check_run(
    folder: RunFolder, workload: Workload, *, trust: bool, network: str | None = None
) -> None:
    """Refuses a run that names code of others, or images that would be downloaded.

    It checks the names in its search space and every trial; only the caller's modules are imported.

    Args:
        folder: the run.
        workload: that of its search space.
        trust: whether everything may be called and downloaded.
        network: the caller's own choice in place of the run's networks.

    Raises:
        InputError: names the file and the code.
    """
    if trust:
        return
    networks: dict[str, Path] = {}
    images: dict[tuple[str, str | None, bool], tuple[Path, DataSpec]] = {}
    for file, named in _workloads(folder, workload):
        spec = named.data
        networks.setdefault(named.network.name, file)
        images.setdefault((spec.name, spec.root, spec.download), (file, spec))
    for name, file in networks.items() if network is None else ():
        _check_code(name, f"{file}: workload.network", handed=folder.path)
    for file, spec in images.values():
        _check_images(spec, f"{file}: workload.data", handed=folder.path)


def check_images(images: DataSpec, search: Path, *, trust: bool) -> None:
    """As `check_run`, for the images of the run's search space alone."""
    if not trust:
        _check_code(images.name, f"{search}: workload.data", handed=search.parent)


def _workloads(folder: RunFolder, workload: Workload) -> Iterator[tuple[Path, Workload]]:
    """The workload that each file of the run names."""
    yield folder.search, workload
    for name in folder.trial_names():
        place = folder.trial(name)
        try:
            yield place.spec, place.read_spec().workload
        except InputError:
            continue  # what cannot be read is not called either


def _check_images(images: DataSpec, where: str, *, handed: Path) -> None:
    _check_code(images.name, where, handed=handed)
    if not source_of(images).is_here(images):
        raise InputError(
            f"{where}.root: {images.root!r} holds no whole {images.name}; {_TRUST} fetches it"
        )


def _check_code(name: str, where: str, *, handed: Path) -> None:
    if not is_callable_name(name):
        return
    place = _Place(current=Path.cwd().resolve(), handed=handed.resolve())
    module = name.partition(":")[0]
    from_torchvision = f"{module}.".startswith("torchvision.models.")
    reasons = () if from_torchvision else (place.objection(file) for file in _files(module))
    problem = next(filter(None, reasons), None)
    if problem is None:
        # Only now is a module imported: one's own may have taken the name from elsewhere.
        with guarded(f"{where}: {name}", seconds=SECONDS):
            function = resolved(name, where=where)
        problem = None if _builds_torchvision(function) else place.objection(_source(function))
    if problem is not None:
        raise InputError(f"{where}: {name!r} {problem}; {_TRUST} calls it all the same")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Place:
    """The current folder and the run folder, links resolved."""

    current: Path
    handed: Path

    def objection(self, file: Path | None) -> str | None:
        """Why code of `file` is not the caller's, or None; no file is Python's own code."""
        if file is not None:
            ways = (file.resolve(), Path(os.path.abspath(file)))  # noqa: PTH100  keeps links
            if any(way.is_relative_to(self.handed) for way in ways):
                return "lies in the run folder that names it"
            if ways[0].is_relative_to(self.current) and not self._installed(ways[0]):
                return None
        return f"is not code below the current folder, '{self.current}'"

    def _installed(self, file: Path) -> bool:
        libraries = [sysconfig.get_path(name) for name in _LIBRARIES]
        libraries += [site.getusersitepackages(), str(Path(__file__).parents[1])]
        return any(file.is_relative_to(Path(library).resolve()) for library in libraries) or any(
            part in _SITES for part in file.relative_to(self.current).parts
        )


def _files(module: str) -> Iterator[Path | None]:
    """The files that importing `module` would run, None for what is in no file; imports nothing."""
    see_current_folder()
    folders: list[str] | None = None
    for part in module.split("."):
        try:
            spec = _found(part, folders)
        except (ValueError, ImportError):  # no name, or a program that is no module
            yield None
            return
        if spec is None:
            return  # importing it will say so
        if spec.origin is not None or spec.submodule_search_locations is None:
            yield Path(spec.origin) if spec.origin and spec.has_location else None
        folders = list(spec.submodule_search_locations or ())


def _found(part: str, folders: list[str] | None) -> ModuleSpec | None:
    """As Python finds it; asked for one part at a time, it imports no package around it."""
    if not part.isidentifier():
        raise ValueError(part)
    return (
        importlib.util.find_spec(part) if folders is None else PathFinder.find_spec(part, folders)
    )


def _source(function: Any) -> Path | None:  # noqa: ANN401  whatever a module holds
    """The file that defines what is called, below partial functions and decorators, if any does."""
    try:
        while isinstance(function, functools.partial) or hasattr(function, "__wrapped__"):
            partial = isinstance(function, functools.partial)
            function = function.func if partial else inspect.unwrap(function)
    except ValueError:  # it wraps itself
        return None
    code = getattr(function, "__code__", None)
    if code is not None and Path(code.co_filename).is_absolute():
        return Path(code.co_filename)
    if code is None and not isinstance(function, type):
        function = type(function)  # an object that can be called, or a function that is in no file
    file = getattr(sys.modules.get(function.__module__), "__file__", None)
    return Path(file) if file else None


def _builds_torchvision(function: Any) -> bool:  # noqa: ANN401  as above
    """Whether it is one of torchvision's networks, perhaps with some arguments."""
    while isinstance(function, functools.partial):
        function = function.func
    if not str(getattr(function, "__module__", "")).startswith("torchvision.models."):
        return False
    import torchvision.models as known  # noqa: PLC0415  seconds, and most workloads do without

    names = known.list_models(module=known)
    return any(known.get_model_builder(name) is function for name in names)
