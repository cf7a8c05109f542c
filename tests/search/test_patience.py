"""A start of Ray that fails is tried again, and each failure is told. No Ray."""

from __future__ import annotations

import pytest

from trp_search.errors import SearchError
from trp_search.search.patience import tried


class Start:
    """Fails a number of times."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        if self.calls <= self.failures:
            raise RuntimeError(f"no answer to call {self.calls}")


@pytest.mark.parametrize("failures", [0, 1, 2])
def test_a_start_that_fails_is_tried_again_and_each_failure_is_told(failures: int):
    start = Start(failures)
    told: list[str] = []
    tried(start, tell=told.append)
    assert start.calls == failures + 1
    assert len(told) == failures
    for number, sentence in enumerate(told, start=1):
        assert f"no answer to call {number}" in sentence
        assert "trying again" in sentence


def test_a_start_that_always_fails_ends_with_its_last_reason():
    start = Start(100)
    told: list[str] = []
    with pytest.raises(SearchError, match=r"Ray did not start: .*no answer to call 3"):
        tried(start, tell=told.append)
    assert start.calls == 3
    assert len(told) == 2
