"""A start of Ray on a busy machine: it takes longer than Ray waits, and is tried again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ray
from ray._private import services
from ray._private.node import Node

from trp_search.errors import SearchError, in_words
from trp_search.search.watch import died

_TRIES = 3
_START_SECONDS = 300.0
_FIRST_WORD_SECONDS, _NEXT_WORD_SECONDS = 10.0, 60.0
_EVERY_SECONDS = 0.2


def tried(start: Callable[[], None], *, tell: Callable[[str], None]) -> None:
    """Calls `start`, again where it fails; `tell` hears of each failure.

    Raises:
        SearchError: the last of three failed too.
    """
    for left in reversed(range(_TRIES)):
        try:
            start()
        except Exception as error:
            ray.shutdown()
            if not left:
                raise SearchError(f"Ray did not start: {in_words(error)}{_load()}") from error
            tell(f"Ray did not start: {in_words(error)}; trying again{_load()}")
        else:
            return


@contextmanager
def patient(tell: Callable[[str], None]) -> Iterator[None]:
    """Makes Ray wait minutes for its processes to start, instead of 30 seconds (a constant)."""
    given = Node.start_ray_processes

    def start(node: Node) -> None:
        given(node)  # type: ignore[no-untyped-call]
        _await(node, tell)

    Node.start_ray_processes = start  # type: ignore[method-assign]
    try:
        yield
    finally:
        Node.start_ray_processes = given  # type: ignore[method-assign]


def _await(node: Node, tell: Callable[[str], None]) -> None:
    """Returns once the node has registered; ends its processes and raises if it does not."""
    began, word = time.monotonic(), _FIRST_WORD_SECONDS
    while not _is_registered(node):
        waited, dead = time.monotonic() - began, died(node)
        if dead or waited > _START_SECONDS:
            node.kill_all_processes(check_alive=False, allow_graceful=False)
            late = f"it was not ready in {waited:.0f} s"
            raise SearchError(f"its {' and '.join(dead)} ended" if dead else late)
        if waited > word:
            tell(f"waiting for Ray to start{_load()}")
            word += _NEXT_WORD_SECONDS
        time.sleep(_EVERY_SECONDS)


def _is_registered(node: Node) -> bool:
    try:
        services.get_node(node.gcs_address, node.node_id)  # type: ignore[no-untyped-call]
    except RuntimeError:
        return False
    return True


def _load() -> str:
    """How busy the machine is, where that may be the reason."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    return f" (load {load:.0f} on {cores} cores)" if load > cores else ""
