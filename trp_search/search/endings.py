"""Failures of a search outside its trials: the disk, the study's file, the run folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy.exc
from optuna.exceptions import StorageInternalError

from trp_search.errors import InputError, SearchError
from trp_search.store import RunFolder, unwritable

_STORAGE = (OSError, sqlalchemy.exc.SQLAlchemyError, StorageInternalError)


@contextmanager
def storage_named(folder: RunFolder) -> Iterator[None]:
    """Turns the study's storage errors inside the block into a SearchError that names the file."""
    try:
        yield
    except _STORAGE as error:
        check_not_removed(folder)
        raise SearchError(_words(error, folder)) from error


def check_not_removed(folder: RunFolder) -> None:
    """Raises SearchError if the folder of a running search is gone."""
    if not folder.search.exists():
        raise SearchError(f"{folder.path}: the run folder is gone (removed or moved?)")


@contextmanager
def nothing_half_written(folder: RunFolder) -> Iterator[None]:
    """Empties a new run's folder if the search cannot start."""
    try:
        yield
    except (InputError, SearchError, KeyboardInterrupt):
        if not folder.search.exists():
            folder.environment.unlink(missing_ok=True)
            folder.cut_times.unlink(missing_ok=True)
            folder.lock.unlink(missing_ok=True)
        raise


def _words(error: Exception, folder: RunFolder) -> str:
    if isinstance(error, OSError):
        full = unwritable(error)
        return f"{folder.path}: {full}" if full and not error.filename else full or str(error)
    cause = error.__cause__ or error
    sqlite = getattr(cause, "orig", None) or cause
    return f"{folder.study}: {str(sqlite).splitlines()[0]}"
