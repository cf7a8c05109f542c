"""A limit on the memory that a block may take, where the system has one (Linux)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def limited_memory(most: int) -> Iterator[None]:
    """In the block, an allocation fails that would take the process `most` bytes beyond now."""
    if sys.platform != "linux":
        yield
        return
    import resource  # noqa: PLC0415  not on every system

    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    allowed, highest = resource.getrlimit(resource.RLIMIT_AS)
    wanted = pages * resource.getpagesize() + most
    if allowed != resource.RLIM_INFINITY:
        wanted = min(wanted, allowed)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, highest))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (allowed, highest))
