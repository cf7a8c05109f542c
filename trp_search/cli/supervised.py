"""Runs a command in a child process, so that its end is always explained.

Ray ends a process that has lost it without another line of Python, after C++ output on stderr. So a
search runs in a child. The parent waits and passes signals on; if the child ends without a message,
the parent prints the reason and cleans up.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from trp_search import store
from trp_search.cli.console import OUT
from trp_search.cli.formatting import command
from trp_search.cli.orphans import adopting, end_all
from trp_search.cli.signals import STOPS, exit_code, stopped

_PATIENCE_SECONDS = 20
_WORKERS_SECONDS = 3.0
_to_parent: int | None = None


def tell_parent(**facts: object) -> None:
    """Tells the parent, if there is one, what to print should this process die."""
    if _to_parent is not None:
        os.write(_to_parent, json.dumps(facts).encode() + b"\n")


def lost(reason: str) -> None:
    """Ends a supervised process at once, because it can no longer end properly."""
    if _to_parent is not None:
        tell_parent(reason=reason)
        os._exit(1)


def supervised(run: Callable[[], int], *, say: Callable[[str, int], int], quiet: bool) -> int:
    """Runs a command in a child and returns its exit code.

    Args:
        run: the command.
        say: prints a line and returns the exit code.
        quiet: whether output of Ray's C++ to stderr is dropped.
    """
    told, telling = os.pipe()
    watched, alive = os.pipe()
    with adopting() as before:
        child = os.fork()
        if child == 0:
            os.close(told)
            os.close(alive)
            return _as_child(run, telling, watched, quiet=quiet)
        os.close(telling)
        os.close(watched)
        status, stop = _waited(child)
        os.set_blocking(told, False)  # a process that the child left behind may hold the other end
        facts: dict[str, Any] = {}
        with suppress(BlockingIOError):
            facts = _facts(os.read(told, 1 << 16))
        if "code" in facts:
            return int(facts["code"])
        end_all(but=before)  # a worker of Ray that is just starting makes a removed folder anew
    return _end(facts, status, stop, say)


def _as_child(run: Callable[[], int], telling: int, watched: int, *, quiet: bool) -> int:
    global _to_parent  # noqa: PLW0603  a process has one parent
    _to_parent = telling
    threading.Thread(target=_die_with_parent, args=(watched,), daemon=True).start()
    if quiet:
        kept = os.dup(2)
        sys.stderr = os.fdopen(kept, "w", buffering=1, errors="replace")
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
    code = run()
    tell_parent(code=code)
    return code


def _die_with_parent(watched: int) -> None:
    os.read(watched, 1)
    os.kill(os.getpid(), signal.SIGKILL)


def _waited(child: int) -> tuple[int, int | None]:
    """The child's end, and the first signal that was passed on to it."""
    stops: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        del frame
        stops.append(number)
        with suppress(ProcessLookupError):
            os.kill(child, number)
        signal.alarm(_PATIENCE_SECONDS)

    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)

    signal.signal(signal.SIGALRM, end)
    for number in STOPS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, pass_on)
    _, status = os.waitpid(child, 0)
    signal.alarm(0)
    return status, stops[0] if stops else None


def _facts(said: bytes) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for line in said.splitlines():
        facts |= json.loads(line)
    return facts


def _end(
    facts: dict[str, Any], status: int, stop: int | None, say: Callable[[str, int], int]
) -> int:
    """Cleans up after a child that ended without a message, and prints what is known."""
    if OUT.is_terminal:
        OUT.show_cursor()  # the picture of the search had hidden it
    deadline = time.monotonic() + _WORKERS_SECONDS
    while not store.sweep_scratch() and time.monotonic() < deadline:
        time.sleep(0.1)  # the workers still write there until they notice
    if stop is not None:
        reason = stopped(stop)
    elif os.WIFSIGNALED(status):
        reason = f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
    else:
        reason = facts.get("reason", "Ray ended it: one of its processes died")
    code = 1 if stop is None else exit_code(stop)
    if "run" not in facts:
        return say(reason, code)
    given = Path(facts["run"])
    run = store.RunFolder(path=given.resolve())
    if not run.search.exists():
        return say(f"{given}: {reason} before anything had begun", code)
    _settle(run)
    again = command("resume", given)
    where = "" if stop is not None else f"{given}: "
    return say(f"{where}{reason}; resume with {again}", code)


def _settle(run: store.RunFolder) -> None:
    from trp_search import report
    from trp_search.errors import TrpSearchError

    with (
        suppress(TrpSearchError),  # somebody goes on already
        store.exclusive(run.lock, wait_seconds=0.0, holder=""),
    ):
        report.settle(run)
        shutil.rmtree(run.scratch, ignore_errors=True)
