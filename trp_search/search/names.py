"""What the study is called, and what workers are given: trainings and test scores."""

from __future__ import annotations

from trp_search import records

STUDY = "trp_search"
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
