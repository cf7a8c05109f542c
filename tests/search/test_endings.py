"""What a disk or the study's file says, as one line that names the file."""

from __future__ import annotations

import errno
import os
import sqlite3

import pytest
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import OperationalError

from trp_search.errors import SearchError
from trp_search.search.endings import storage_named
from trp_search.store import RunFolder


def locked(text: str) -> StorageInternalError:
    """What Optuna makes of what SQLite says."""
    error = StorageInternalError("An exception is raised during the commit.")
    error.__cause__ = OperationalError("INSERT", {}, sqlite3.OperationalError(text))
    return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "{path}: No space left on device"),
        (OSError(errno.EROFS, os.strerror(errno.EROFS), "a"), "a: Read-only file system"),
        (locked("database or disk is full"), "{path}/study.db: database or disk is full"),
        (locked("disk I/O error").__cause__, "{path}/study.db: disk I/O error"),
    ],
)
def test_the_file_and_the_reason_are_one_line(folder: RunFolder, error: Exception, said: str):
    folder.search.touch()
    with pytest.raises(SearchError) as ended, storage_named(folder):
        raise error
    assert str(ended.value) == said.format(path=folder.path)


def test_a_folder_that_is_gone_is_the_reason_of_all_others(folder: RunFolder):
    with pytest.raises(SearchError, match="the run folder is gone"), storage_named(folder):
        raise locked("attempt to write a readonly database")
