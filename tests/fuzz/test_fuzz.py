"""Files that are not what they should be: one line that says so, and nothing else happens."""

from __future__ import annotations

import pytest

from tests.fuzz.fuzzer import Fuzzer
from tests.fuzz.samples import make_all

EXAMPLES = {"space": 60, "run": 80, "bundle": 45, "whole": 15}


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Fuzzer:
    samples = make_all(tmp_path_factory.mktemp("samples"))
    return Fuzzer(samples=samples, place=tmp_path_factory.mktemp("spoiled"))


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_spoiled_file_is_refused_in_one_line_or_read_right(fuzzer: Fuzzer, kind: str):
    faults = fuzzer.faults(kind, examples=EXAMPLES[kind])
    assert not faults, "\n".join(map(str, faults))
