"""Networks built without memory for their weights, so that they can be checked first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from typing_extensions import override

from trp_search.errors import InputError

# What layers make their parameters and buffers with. Others, arange for one, keep their values:
# some networks work out their widths with tensors.
_MADE: set[object] = {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn}


@final
class Weightless(TorchFunctionMode):
    """Inside the block tensors of new layers have a shape but no memory.

    Args:
        most: the largest number of tensors; one more is an InputError.
    """

    def __init__(self, *, most: int) -> None:
        super().__init__()
        self._left = most

    @override
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if func in _MADE:
            self._left -= 1
            if self._left < 0:
                raise InputError("the network has far more layers than there are weights")
            given["device"] = "meta"
        return func(*args, **given)


def give_memory_(network: nn.Module) -> None:
    """Allocates memory on the CPU, in place, with arbitrary content."""
    for module in network.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.is_meta:
                real = torch.empty_like(parameter, device="cpu")
                setattr(module, name, nn.Parameter(real, requires_grad=parameter.requires_grad))
        for name, buffer in list(module.named_buffers(recurse=False)):
            if buffer.is_meta:
                setattr(module, name, torch.empty_like(buffer, device="cpu"))
