"""The report while a search runs, drawn beside it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import ray
from ray.exceptions import RayError

from trp_search import report
from trp_search.search.cluster import last_line
from trp_search.store import RunFolder

_EVERY_SECONDS = 20.0
_SHARE = 0.05
_MOST_SECONDS = 60.0  # of waiting: a worker that does not start would hold up the end of a search


class RunningPage:
    """Draws the page again and again in a process of its own, whose memory is not the driver's.

    Args:
        folder: the run.
        on_error: told why a page was not written; that is no reason to stop a search.
    """

    def __init__(self, folder: RunFolder, *, on_error: Callable[[str], None]) -> None:
        self._folder = folder
        self._tell = on_error
        self._drawing: ray.ObjectRef[Path] | None = None
        self._began = self._ended = time.monotonic()
        self._next = self._began + _EVERY_SECONDS

    def refresh(self) -> None:
        """Begins a page when one is due: never more than a small share of one core's time."""
        if self._drawing is not None:
            if ray.wait([self._drawing], timeout=0)[0]:
                self.close()
        elif time.monotonic() >= self._next:
            self._began = time.monotonic()
            draw = ray.remote(num_cpus=0)(report.write)
            self._drawing = draw.remote(self._folder, running=True)  # type: ignore[call-arg]
            # It may be long before anybody asks whether it is done.
            self._drawing.future().add_done_callback(self._done)

    def close(self) -> None:
        """Waits for a page that is being drawn: it must not overwrite a later one."""
        if self._drawing is None:
            return
        drawing, self._drawing = self._drawing, None
        try:
            ray.get(drawing, timeout=_MOST_SECONDS)
        except RayError as error:
            ray.cancel(drawing, force=True)
            self._tell(last_line(error))
        ended = self._ended if self._ended > self._began else time.monotonic()
        took = ended - self._began
        self._next = self._began + max(_EVERY_SECONDS, took / _SHARE)

    def _done(self, future: object) -> None:
        del future
        self._ended = time.monotonic()
