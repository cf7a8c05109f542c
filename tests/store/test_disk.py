"""A disk that takes no more is told from everything else."""

from __future__ import annotations

import errno

import pytest

from trp_search.store import unwritable


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (OSError(errno.EROFS, "Read-only file system", "a/b"), "a/b: Read-only file system"),
        (ValueError("I/O error: No space left (os error 28)"), "No space left on device"),
        (FileNotFoundError(errno.ENOENT, "No such file", "a"), None),
        (ValueError("os error 2"), None),
        (ValueError("28"), None),
    ],
)
def test_full_read_only_and_failing_disks_are_known(error: Exception, said: str | None):
    assert unwritable(error) == said
