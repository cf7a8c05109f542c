"""Which steps of a training are over, as far as the host knows."""

from __future__ import annotations

import pytest
import torch

from trp_search.training.loop import _Over

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.mark.parametrize("device", DEVICES)
def test_a_step_is_over_once_the_device_has_done_it_and_none_before_it_began(device: str):
    over = _Over(device)
    heavy = torch.rand(256, 256, device=device)
    found = []
    for step in range(1, 6):
        heavy = heavy @ heavy
        found.append(over.of(step))
        assert found == sorted(found)
        assert found[-1] <= step
    if device == "cuda":
        torch.cuda.synchronize()
    assert over.of(6) >= 5
