"""Errors of a disk that cannot be written."""

from __future__ import annotations

import errno
import os
import re

_SIGNS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


def unwritable(error: BaseException) -> str | None:
    """A message that the disk is full, read-only or failing; None for errors of another kind.

    Such an error says nothing about the work it interrupts: that would succeed on another disk.
    """
    if isinstance(error, OSError) and error.errno in _SIGNS:
        return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    told = re.search(r"os error (\d+)", str(error))  # safetensors writes with Rust
    if told and int(told[1]) in _SIGNS:
        return os.strerror(int(told[1]))
    return None
