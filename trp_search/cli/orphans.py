"""Processes that a dead child left behind become this one's children, which can end them."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SET_CHILD_SUBREAPER = 36  # of Linux's prctl


@contextmanager
def adopting() -> Iterator[set[int]]:
    """Adopts orphans of descendants inside the block, on Linux; yields the children before."""
    _adopt(on=True)
    try:
        yield children()
    finally:
        _adopt(on=False)


def end_all(*, but: set[int]) -> None:
    """Kills every child that is not in `but`, and what they leave behind in turn."""
    while left := children() - but:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in left:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def children() -> set[int]:
    """The processes whose parent this one is; none where the system does not tell."""
    with suppress(OSError):
        tasks = Path("/proc/self/task").iterdir()
        return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}
    return set()


def _adopt(*, on: bool) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, int(on), 0, 0, 0)
