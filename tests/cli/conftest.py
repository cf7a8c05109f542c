"""The command line as a user meets it: arguments in, exit code, stdout and stderr out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from trp_search.cli import main


@dataclass(frozen=True, kw_only=True)
class Ended:
    """One command's end."""

    code: int
    out: str
    err: str


@pytest.fixture
def trp(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Runs `trp-search` with the given words in this process."""

    def run(*words: object) -> Ended:
        capsys.readouterr()
        code = main([str(word) for word in words])
        found = capsys.readouterr()
        return Ended(code=code, out=found.out, err=found.err)

    return run
