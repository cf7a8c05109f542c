"""Paths that stay inside a run folder: no name and no link leads out of it."""

from __future__ import annotations

from pathlib import Path

from trp_search.errors import InputError
from trp_search.records import is_name


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


def named(kind: str, name: str, *, of: Path) -> str:
    """`name`, checked to be one part of a path.

    Raises:
        InputError: it is no valid name of a `kind`, such as one with a separator.
    """
    if not is_name(name):
        raise InputError(f"{of}: {name!r} is not the name of a {kind}")
    return name
