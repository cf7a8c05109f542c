from __future__ import annotations

import sys

import pytest
import torch

from trp_search.export.memory import limited_memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a limit of Linux")


def test_inside_the_block_memory_beyond_the_limit_is_not_given():
    with limited_memory(2**28):
        assert torch.ones(2**20).sum() == 2**20
        with pytest.raises(RuntimeError, match="can't allocate memory"):
            torch.empty(2**30, dtype=torch.uint8)
    assert torch.empty(2**30, dtype=torch.uint8).nbytes == 2**30


def test_a_limit_that_is_there_already_is_kept():
    with limited_memory(2**28), limited_memory(2**40), pytest.raises(RuntimeError):
        torch.empty(2**30, dtype=torch.uint8)
