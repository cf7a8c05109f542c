"""Runs a user's code so that it cannot write to stdout, end the program or hang it."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import sysconfig
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from trp_search.errors import InputError, TrpSearchError, in_words

SECONDS = 600.0  # of one call, before a search starts
_GRACE_SECONDS = 5.0  # for code that can be interrupted to end by itself
_AGAIN = 1.0  # seconds until code that goes on regardless is interrupted once more
# What follows is the process's own: one block at a time.
_ALONE = threading.RLock()


class _LateError(BaseException):
    """Time is up. Not an Exception, which the user's code may well catch."""


@contextmanager
def guarded(what: str, *, seconds: float | None = None) -> Iterator[None]:
    """Runs a user's code in the block, and its child processes, with stderr in place of stdout.

    A signal or a crash in C, which ends the whole process at once, is not caught. A call that
    cannot be interrupted, because it never returns from C, is named by another process, which then
    kills this one.

    Args:
        what: names the code.
        seconds: time limit; None is unlimited.

    Raises:
        InputError: it raised an error, tried to end the program, or exceeded the time limit.
    """
    with _ALONE:
        try:
            with _printing_aside(), _staying(), _killed(what, seconds), _limited(seconds):
                yield
        except TrpSearchError:
            raise
        except Exception as error:
            raise InputError(f"{what} raised {in_words(error)}") from error
        except SystemExit as error:
            code = 0 if error.code is None else error.code
            raise InputError(f"{what} ended the program, with exit code {code}") from None
        except _LateError as error:
            if seconds is None:  # of a block around this one
                raise
            raise InputError(
                f"{what} was not done after {seconds:g} s ({_place(error)}); "
                "--timeout SECONDS allows more"
            ) from None


@contextmanager
def _printing_aside() -> Iterator[None]:
    """For this process and its children."""
    kept = None
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        kept = os.dup(1)
        os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)


@contextmanager
def _staying() -> Iterator[None]:
    """`os._exit` raises, as `sys.exit` does, but for a child of this process or another thread."""
    leave, here = os._exit, (os.getpid(), threading.get_ident())

    def refuse(status: int) -> NoReturn:
        if (os.getpid(), threading.get_ident()) != here:
            leave(status)
        raise SystemExit(status)

    os._exit = refuse
    try:
        yield
    finally:
        os._exit = leave


@contextmanager
def _killed(what: str, seconds: float | None) -> Iterator[None]:
    """Lets another process end this one if the block is long past its time limit."""
    if seconds is None:
        yield
        return
    late = f"{what} was not done after {seconds:g} s, and cannot be interrupted"
    words = f"trp-search: {late}; --timeout SECONDS allows more\n"
    given = (str(os.getpid()), str(seconds + _GRACE_SECONDS), words)
    # Past what stderr may be for the while; a stream without a file is a test's.
    shown = None
    with suppress(OSError, ValueError, AttributeError):
        shown = sys.stderr.fileno()
    watch = subprocess.Popen(  # noqa: S603  our own program
        [sys.executable, "-I", "-S", "-c", _WATCH, *given],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=shown,
    )
    try:
        yield
    finally:
        watch.kill()
        watch.communicate()


# It ends with its stdin too: an interrupt inside of Popen leaves nobody to end it.
_WATCH = """
import os, select, sys
watched, left, words = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
while os.getppid() == watched:
    if left <= 0:
        os.write(2, words.encode())
        os.kill(watched, 9)
    nap = max(0.1, min(1.0, left))
    if select.select([0], [], [], nap)[0]:
        break
    left -= nap  # naps, not the clock: a machine that stood still is not the code's time
"""


@contextmanager
def _limited(seconds: float | None) -> Iterator[None]:
    if seconds is None:
        yield
    elif _has_timer():
        with _alarm(seconds):
            yield
    else:
        with _watcher(seconds):
            yield


def _has_timer() -> bool:
    main = threading.current_thread() is threading.main_thread()
    return main and hasattr(signal, "setitimer") and signal.getitimer(signal.ITIMER_REAL)[0] == 0


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def late(signum: int, frame: FrameType | None) -> None:
        del signum, frame
        raise _LateError

    before = signal.signal(signal.SIGALRM, late)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _watcher(seconds: float) -> Iterator[None]:
    def interrupt(error: object) -> None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, error)

    thread = ctypes.c_ulong(threading.get_ident())
    timer = threading.Timer(seconds, interrupt, [ctypes.py_object(_LateError)])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        interrupt(None)  # one that was sent and has not arrived


def _place(error: BaseException) -> str:
    """Where the user's code was: the last line of it that is not an installed library's."""
    stack = traceback.extract_tb(error.__traceback__)
    installed = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))
    own = Path(__file__).parents[1]
    theirs = [f for f in stack if not f.filename.startswith((*installed, str(own), "<"))]
    last = (theirs or stack)[-1]
    return f"in {last.name}, {Path(last.filename).name} line {last.lineno}"
