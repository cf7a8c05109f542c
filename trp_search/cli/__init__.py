"""The command line: parse, call, print. Every error is one line."""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress

import typer
from typer.main import get_command

from trp_search.cli.app import app
from trp_search.cli.arguments import check_none_empty
from trp_search.cli.console import shown
from trp_search.cli.formatting import PROGRAM
from trp_search.cli.progress import progress_shown
from trp_search.cli.signals import INTERRUPTED, exit_code, last_stop, stopped, stops_raised
from trp_search.cli.supervised import supervised
from trp_search.errors import InputError, TrpSearchError
from trp_search.store import unwritable

_SUPERVISED = ("search", "resume")  # what Ray may end
_LONGEST = 1200
_GIVEN = (errno.ENAMETOOLONG, errno.EACCES, errno.EPERM)  # of paths that the user chose


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns the process's exit code."""
    if arguments is None:
        # By default a sixth of a start goes into looking for garbage among what torch and Ray make.
        gc.set_threshold(20_000)
    # As search does for its workers, before torch is there.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    words = [word for word in given if word != "--debug"] or ["--help"]
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a sign shows ?, rather than ending a search of hours.
        getattr(stream, "reconfigure", lambda **_: None)(errors="replace")
    if arguments is None and words[0] in _SUPERVISED and hasattr(os, "fork"):
        return supervised(lambda: _run(words, debug=debug), say=_say, quiet=not debug)
    return _run(words, debug=debug)


def _run(words: list[str], *, debug: bool) -> int:
    try:
        check_none_empty(words)
        with stops_raised(), progress_shown():
            code = get_command(app)(args=words, prog_name=PROGRAM, standalone_mode=False)
    except TrpSearchError as error:
        if debug and error.__cause__ is not None:  # of the user's own code
            traceback.print_exception(error.__cause__)
        return _say(str(error), error.exit_code)
    except typer.TyperException as error:
        return _say(f"{error.format_message()} (see {PROGRAM} --help)", InputError.exit_code)
    except Exception as error:  # noqa: BLE001  the last door: what is unforeseen is one line too
        if debug:
            traceback.print_exc()
        if isinstance(error, OSError) and error.filename and error.errno in _GIVEN:
            return _say(f"{error.filename}: {error.strerror}", InputError.exit_code)
        said = unwritable(error)
        unforeseen = f"{type(error).__name__}: {error} (unexpected; --debug shows where)"
        return _say(said or unforeseen, 1)
    if code != INTERRUPTED:
        return code or 0
    # typer turns an interrupt into this code, without a word.
    stop = last_stop()
    return _say("interrupted" if stop == signal.SIGINT else stopped(stop), exit_code(stop))


def _say(sentence: str, code: int) -> int:
    words = shown(" ".join(sentence.split()))
    if len(words) > _LONGEST:  # a value that was refused may be as long as its file
        words = f"{words[: _LONGEST // 2]} ... {words[-_LONGEST // 2 :]}"
    with suppress(OSError):  # the terminal may be gone
        sys.stderr.write(f"{PROGRAM}: {words}\n")
    return code
