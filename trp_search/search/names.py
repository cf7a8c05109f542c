"""What workers are given: the plain network, each repeat of an Optuna trial, test scores."""

from __future__ import annotations

from trp_search import records

BASELINE = "baseline"
TEST = "test"


def number_of(name: str) -> int:
    """The Optuna number of the training `name`, one of the search's."""
    number = records.number_of(name)
    assert number is not None, name
    return number


def name_of(number: int, repeat: int) -> str:
    """The training of a trial's repeat: `7`, `7r1`."""
    return str(number) if repeat == 0 else f"{number}r{repeat}"
