"""PyTorch, operator by operator."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from typing_extensions import override

from trp_search.records import Target
from trp_search.runtimes.serving import Call, Runtime


@final
class Eager(Runtime):
    """The network, unchanged."""

    @override
    def prepare(self, network: nn.Module, images: Tensor, target: Target) -> Call:
        network, images = network.to(target.device), images.to(target.device)

        def call() -> Tensor:
            with torch.inference_mode():
                logits: Tensor = network(images)
            if images.is_cuda:
                torch.cuda.synchronize()
            return logits

        return call


RUNTIME = Eager()
