"""The report of a running search, drawn by a child process."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import ray
from ray.exceptions import RayError

from trp_search import report
from trp_search.errors import last_words
from trp_search.store import RunFolder

_EVERY_SECONDS = 20.0
_SHARE = 0.05
_MOST_SECONDS = 60.0  # of waiting: a worker that does not start would hold up the end of a search


class RunningPage:
    """Draws the page repeatedly in a child process, to keep its memory out of the driver.

    Args:
        folder: the run.
        on_error: receives the reason why a page was not written; the search continues.
    """

    def __init__(self, folder: RunFolder, *, on_error: Callable[[str], None]) -> None:
        self._folder = folder
        self._tell = on_error
        self._drawing: ray.ObjectRef[Path] | None = None
        self._began = self._ended = time.monotonic()
        self._next = self._began + _EVERY_SECONDS

    def refresh(self) -> None:
        """Starts a page if one is due, using at most a small share of one core's time."""
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
        """Waits for a page that is being drawn, so that it cannot overwrite a later one."""
        if self._drawing is None:
            return
        drawing, self._drawing = self._drawing, None
        try:
            ray.get(drawing, timeout=_MOST_SECONDS)
        except RayError as error:
            ray.cancel(drawing, force=True)
            self._tell(last_words(error))
        ended = self._ended if self._ended > self._began else time.monotonic()
        took = ended - self._began
        self._next = self._began + max(_EVERY_SECONDS, took / _SHARE)

    def _done(self, future: object) -> None:
        del future
        self._ended = time.monotonic()
