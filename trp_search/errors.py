"""Errors that a user sees: one line, and an exit code that says whose mistake it is."""

from __future__ import annotations


class TrpSearchError(Exception):
    """An error that is printed as one line; `exit_code` is the process's."""

    exit_code = 1


class InputError(TrpSearchError):
    """An invalid input: the message names the key, the value given and what is allowed."""

    exit_code = 2


class OutOfReachError(InputError):
    """A budget that no ranks meet."""


class SearchError(TrpSearchError):
    """A search cannot continue, for a reason that every further trial would meet."""


class NothingFoundError(TrpSearchError):
    """A valid request that nothing satisfies."""


def one_line(error: BaseException) -> str:
    """An exception's type and the beginning of its text, without line breaks."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def last_words(said: str | BaseException) -> str:
    """The last line that a process or an error said; Ray prints a worker's traceback before it."""
    unsaid = type(said).__name__ if isinstance(said, BaseException) else "no reason given"
    return (str(said).strip().splitlines() or [unsaid])[-1].strip()[:500]


def in_words(error: Exception) -> str:
    """An error as one line for a record; unexpected errors include their type."""
    foreseen = isinstance(error, TrpSearchError)
    return " ".join(str(error).split()) if foreseen else one_line(error)
