"""What a user can be told: one line, and an exit code that says whose turn it is."""

from __future__ import annotations


class TrpSearchError(Exception):
    """An end that the user is told of in one line; `exit_code` is the process's."""

    exit_code = 1


class InputError(TrpSearchError):
    """Something the user gave cannot be used: says what, where, given and allowed."""

    exit_code = 2


class SearchError(TrpSearchError):
    """A search cannot go on, for a reason that more trials would only repeat."""


class NothingFoundError(TrpSearchError):
    """The question was sound and the answer is: nothing meets it."""


def in_words(error: Exception) -> str:
    """A failure in one line that can be kept; of what was not foreseen its type as well."""
    said = " ".join(str(error).split())
    foreseen = isinstance(error, TrpSearchError)
    return said if foreseen else f"{type(error).__name__}: {said[:500]}"
