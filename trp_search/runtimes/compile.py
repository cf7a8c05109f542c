"""PyTorch through its compiler, `torch.compile`."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from typing_extensions import override

from trp_search.records import Target
from trp_search.runtimes import eager
from trp_search.runtimes.quiet import quiet
from trp_search.runtimes.serving import Call, Runtime


@final
class Compile(Runtime):
    """The network compiled for the size of its images; the first call compiles."""

    @override
    def prepare(self, network: nn.Module, images: Tensor, target: Target) -> Call:
        torch.compiler.reset()  # else the eighth network of one class runs uncompiled, silently
        network.compile()
        call = eager.RUNTIME.prepare(network, images, target)
        with quiet():
            call()
        return call


RUNTIME = Compile()
