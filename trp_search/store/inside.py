"""Paths that stay inside a run folder: no name and no link leads out of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, final, runtime_checkable

from trp_search.errors import InputError
from trp_search.records import is_name


@runtime_checkable  # for tests that check types as they run
class Folder(Protocol):
    """What has files."""

    @property
    def path(self) -> Path:
        """Where it is."""


@final
class File:
    """A path of a folder, by the name of its attribute: `inside` at each access."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, folder: Folder, kind: type[Any]) -> Path:
        return inside(folder.path, self.name)


def inside(folder: Path, *names: str) -> Path:
    """The path of `names` in `folder`, which may be a link itself.

    Raises:
        InputError: a part below `folder` is a link; the message names it.
    """
    path = folder
    for name in names:
        path = path / name
        if path.is_symlink():
            raise InputError(f"{path}: is a link; a run keeps its files in its own folder")
    return path


def numbered(name: str, *, number: str = "-") -> Iterator[str]:
    """`name`, then `name-2`, `name-3` and so on without end; `number` goes before the numbers."""
    return itertools.chain([name], (f"{name}{number}{one}" for one in itertools.count(2)))


def named(kind: str, name: str, *, of: Path) -> str:
    """`name`, checked to be one part of a path.

    Raises:
        InputError: it is no valid name of a `kind`, such as one with a separator.
    """
    if not is_name(name):
        raise InputError(f"{of}: {name!r} is not the name of a {kind}")
    return name
