"""What a disk says that takes no more."""

from __future__ import annotations

import errno
import os
import re

_SIGNS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


def unwritable(error: BaseException) -> str | None:
    """In words that a disk is full, read-only or failing; None where an error is of another kind.

    What meets one would have gone well elsewhere: it says nothing of what was being done.
    """
    if isinstance(error, OSError) and error.errno in _SIGNS:
        return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    told = re.search(r"os error (\d+)", str(error))  # safetensors writes with Rust
    if told and int(told[1]) in _SIGNS:
        return os.strerror(int(told[1]))
    return None
