"""Watches Ray's own processes: without them a search neither continues nor ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray._private.node import Node

from trp_search.progress import repeated

_EVERY_SECONDS = 0.5
_VITAL = {"gcs_server": "GCS", "raylet": "raylet"}


@contextmanager
def watched(tell: Callable[[str], None]) -> Iterator[None]:
    """Reports, from a thread, when a process that this one started for Ray has died.

    Ray notices it after up to a minute, and then ends this process without running more Python.
    """
    node: Any = ray._private.worker._global_node

    def look() -> bool:
        dead = died(node)
        if dead:
            tell(f"a process of Ray died ({', '.join(dead)})")
        return bool(dead)

    with repeated(look, every=_EVERY_SECONDS):
        yield


def died(node: Node) -> list[str]:
    """The names of the node's processes that have died and without which it cannot work."""
    dead = node.dead_processes()  # type: ignore[no-untyped-call]
    return [_VITAL[kind] for kind, _ in dead if kind in _VITAL]
