"""fasterai: every convolution decomposed to the same share of its ranks."""

from __future__ import annotations

from fasterai.misc.conv_decomposer import Conv_Decomposer
from torch import nn

from benchmarks.rivals.given import Given


def cut(given: Given) -> nn.Module:
    """The decomposition of the smallest share removed that keeps to the budget."""

    def made(share: float) -> nn.Module:
        return Conv_Decomposer().decompose(
            given.network, percent_removed=share, method=given.setting, exclude=["conv1"]
        )

    return made(given.least(made))
