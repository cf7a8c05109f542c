"""A worker's progress within an epoch, through a small file of its trial that the driver reads."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from contextlib import suppress

from trp_search.progress import Listener, Pace, Step
from trp_search.records import Progress
from trp_search.store import RunFolder, TrialFolder, replace_record

_WRITE_SECONDS = 2.0
_READ_SECONDS = 1.0


def writing(place: TrialFolder) -> Listener:
    """A listener that keeps the trial's progress in its folder, a write every two seconds."""
    pace, written = Pace(), -math.inf

    def hear(step: Step) -> None:
        nonlocal written
        now = time.time()
        found = pace.hear(step, now=now)
        if now - written >= _WRITE_SECONDS:
            written = now
            with suppress(OSError):  # a full disk is met by what has to be kept
                replace_record(place.progress, found)

    return hear


class Heartbeats:
    """Reads what the workers of a run wrote, at most once a second."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._read = -math.inf
        self._known: dict[str, float] = {}

    def news(self, trials: Iterable[str]) -> dict[str, Progress]:
        """The progress of each of `trials` that is another than before."""
        now = time.monotonic()
        if now - self._read < _READ_SECONDS:
            return {}
        self._read = now
        found = {name: self._folder.trial(name).read_progress() for name in trials}
        new = {n: p for n, p in found.items() if p is not None and p.at != self._known.get(n)}
        self._known |= {name: progress.at for name, progress in new.items()}
        return new
