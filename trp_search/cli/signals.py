"""SIGTERM and SIGHUP end a command as Ctrl-C does, so that it can be continued."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from trp_search.errors import TrpSearchError

STOPS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
INTERRUPTED = 130
# One stop may come twice: from a terminal or a batch system, and passed on by the parent.
_ONCE_SECONDS = 2.0
# Kept here since not every library raises again the interrupt that it caught.
_came: list[int] = []


class StoppedError(TrpSearchError):
    """The user stopped a command; the message says how to continue."""

    def __init__(self, how: str) -> None:
        number = last_stop()
        super().__init__(f"{stopped(number)}{how}")
        self.exit_code = exit_code(number)


def last_stop() -> int:
    """The signal that interrupted the running command."""
    return _came[-1] if _came else signal.SIGINT


def stopped(number: int) -> str:
    """`stopped` for Ctrl-C; for another signal also its name."""
    return "stopped" if number == signal.SIGINT else f"stopped by {signal.Signals(number).name}"


def exit_code(number: int) -> int:
    """The exit code of a process that signal `number` stopped."""
    return INTERRUPTED if number == signal.SIGINT else 1


@contextmanager
def stops_raised() -> Iterator[None]:
    """Raises KeyboardInterrupt if one of these signals arrives inside the block."""
    _came.clear()
    if threading.current_thread() is not threading.main_thread():
        yield  # Python tells the main thread alone
        return
    last = -_ONCE_SECONDS

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal last
        del frame
        now = time.monotonic()
        if now - last >= _ONCE_SECONDS:
            last = now
            _came.append(number)
            raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in STOPS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # nohup
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
