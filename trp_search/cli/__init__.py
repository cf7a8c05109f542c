"""The command line: parse, call, print. Every end that a user meets is one line."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence

import typer
from typer.main import get_command

from trp_search.cli.app import app
from trp_search.cli.words import PROGRAM
from trp_search.errors import InputError, TrpSearchError

_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns the process's exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    words = [word for word in given if word != "--debug"] or ["--help"]
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a sign shows ?, rather than ending a search of hours.
        getattr(stream, "reconfigure", lambda **_: None)(errors="replace")
    try:
        code = get_command(app)(args=words, prog_name=PROGRAM, standalone_mode=False)
    except TrpSearchError as error:
        if debug and error.__cause__ is not None:  # of the user's own code
            traceback.print_exception(error.__cause__)
        return _say(str(error), code=error.exit_code)
    except typer.TyperException as error:
        return _say(f"{error.format_message()} (see {PROGRAM} --help)", code=InputError.exit_code)
    except Exception as error:  # noqa: BLE001  the last door: what is unforeseen is one line too
        if debug:
            traceback.print_exc()
        return _say(f"{type(error).__name__}: {error} (unexpected; --debug shows where)", code=1)
    # typer turns an interrupt into this code, without a word.
    return _say("interrupted", code=code) if code == _INTERRUPTED else code or 0


def _say(sentence: str, *, code: int) -> int:
    sys.stderr.write(f"{PROGRAM}: {' '.join(sentence.split())}\n")
    return code
