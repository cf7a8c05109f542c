"""Progress within long work: who works tells, whoever watches hears; nothing is printed here.

A training, a cut or an export calls `tell`; what it computes does not depend on whether anybody
hears it, and nobody waits for a device.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

from trp_search.records import Progress

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Step:
    """What is being done, and how much of it is; `epoch` (one of how many) in a training."""

    what: str
    done: int
    total: int | None
    unit: str
    epoch: tuple[int, int] | None


Listener = Callable[[Step], None]
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)
_epoch: ContextVar[tuple[int, int] | None] = ContextVar("epoch", default=None)


@contextmanager
def heard(listener: Listener | None) -> Iterator[None]:
    """Whatever is told inside the block goes to `listener`, and to no other."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def in_epoch(number: int, *, of: int) -> Iterator[None]:
    """What is told inside the block is part of an epoch."""
    token = _epoch.set((number, of))
    try:
        yield
    finally:
        _epoch.reset(token)


def tell(what: str, *, done: int = 0, total: int | None = None, unit: str = "") -> None:
    """Tells that `done` of `total` units of a step are done; no total if that is unknown."""
    listener = _listener.get()
    if listener is not None:
        listener(Step(what=what, done=done, total=total, unit=unit, epoch=_epoch.get()))


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Tells that a step of unknown length begins with the block and is over with it."""
    tell(what)
    try:
        yield
    finally:
        tell(what, done=1, total=1)


def tracked(
    items: Iterable[T],
    what: str,
    *,
    total: int,
    unit: str,
    size: Callable[[T], int] = lambda _: 1,
) -> Iterator[T]:
    """The items; each that was used counts as `size` units of `total`.

    The step is over as well when no more items are taken.
    """
    done = 0
    tell(what, total=total, unit=unit)
    try:
        for item in items:
            yield item
            done += size(item)
            tell(what, done=done, total=total, unit=unit)
    finally:
        if done < total:
            tell(what, done=total, total=total, unit=unit)


@contextmanager
def repeated(act: Callable[[], bool], *, every: float) -> Iterator[None]:
    """Calls `act` from a thread, `every` so many seconds inside the block, until it is true."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(every) and not act():
            pass

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Pace:
    """Rates and times left of the steps that it hears, one after the other."""

    def __init__(self) -> None:
        self._last: Step | None = None
        self._began = self._before = 0.0  # of the step: when, and how much of it was done
        self._trained: tuple[float, float] | None = None  # when, and how many epochs were done

    def hear(self, step: Step, *, now: float) -> Progress:
        """The step with its rate; `now` in seconds since 1970."""
        last = self._last
        if last is None or _begins_anew(step, last):
            self._began, self._before = now, step.done
        self._last = step
        seconds, done = now - self._began, step.done - self._before
        rate = done / seconds if seconds > 0 and done > 0 else None
        number, of = step.epoch or (None, None)
        return Progress(
            what=step.what,
            done=step.done,
            total=step.total,
            unit=step.unit,
            epoch=number,
            epochs=of,
            per_second=rate,
            seconds_left=self._left(step, rate, now),
            at=now,
        )

    def _left(self, step: Step, rate: float | None, now: float) -> float | None:
        if not step.total:
            return None
        if step.epoch is None:
            self._trained = None
            return (step.total - step.done) / rate if rate else None
        number, of = step.epoch
        epochs = number - 1 + min(1.0, step.done / step.total)
        if step.what != TRAINING:
            epochs = number  # a score ends the epoch
        if self._trained is None or epochs < self._trained[1]:
            self._trained = now, epochs
        began, before = self._trained
        made = epochs - before
        return max(0.0, (now - began) / made * (of - epochs)) if made > 0 else None


def _begins_anew(step: Step, last: Step) -> bool:
    return (step.what, step.epoch) != (last.what, last.epoch) or step.done < last.done


TRAINING = "training"
