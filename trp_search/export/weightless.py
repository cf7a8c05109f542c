"""Networks built without memory for their weights, so that they can be checked first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from typing_extensions import override

from trp_search.errors import InputError, one_line

# What layers make their parameters and buffers with. Others, arange for one, keep their values:
# some networks work out their widths with tensors.
_MADE: set[object] = {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn}
# Draws that change nothing without memory; torch would load its compiler for them: two seconds.
_DRAWN: set[object] = {torch.Tensor.normal_, torch.Tensor.erfinv_}


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
        if func in _DRAWN and isinstance(args[0], torch.Tensor) and args[0].is_meta:
            return args[0]
        return func(*args, **given)


def compute_buffers_(network: nn.Module, *, most: int) -> None:
    """Computes the buffers that no file of weights holds, in place; weights get no memory.

    It is each module's own `init_non_persistent_buffers` that does so, as timm calls it.

    Args:
        network: built inside `Weightless`.
        most: bytes of these buffers.

    Raises:
        InputError: they are larger, or a module does not compute its own.
    """
    stored = network.state_dict()
    missing = {k: b for k, b in network.named_buffers() if b.is_meta and k not in stored}
    if not missing:
        return
    if sum(buffer.nbytes for buffer in missing.values()) > most:
        raise InputError(f"{next(iter(missing))} and its like are far larger than the weights")
    made = {name: torch.empty(buffer.shape, dtype=buffer.dtype) for name, buffer in missing.items()}
    for name, buffer in made.items():
        owner, _, last = name.rpartition(".")
        setattr(network.get_submodule(owner), last, buffer)
    with _seen_on_cpu(network):
        for module in network.modules():
            try:
                getattr(module, "init_non_persistent_buffers", _nothing)()
            except Exception as error:
                raise InputError(f"{type(module).__name__} raised {one_line(error)}") from error
    for name, buffer in made.items():
        if network.get_buffer(name) is buffer and buffer._version == 0:
            raise InputError(f"{name} is in no file of weights, and its module does not compute it")


@contextmanager
def _seen_on_cpu(network: nn.Module) -> Iterator[None]:
    """Inside the block weights without memory are one number each, which has their shape."""
    kept = [(module, dict(module._parameters)) for module in network.modules()]
    for module, weights in kept:
        for name, weight in weights.items():
            if weight is not None and weight.is_meta:
                seen = torch.zeros(1, dtype=weight.dtype).expand(weight.shape)
                module._parameters[name] = nn.Parameter(seen, requires_grad=False)
    try:
        yield
    finally:
        for module, weights in kept:
            module._parameters.update(weights)


def _nothing() -> None:
    """What a module does that has no such buffers."""


def give_memory_(network: nn.Module) -> None:
    """Allocates memory on the CPU, in place, with arbitrary content."""
    for module in network.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.is_meta:
                real = torch.empty(parameter.shape, dtype=parameter.dtype)
                setattr(module, name, nn.Parameter(real, requires_grad=parameter.requires_grad))
        for name, buffer in list(module.named_buffers(recurse=False)):
            if buffer.is_meta:
                setattr(module, name, torch.empty(buffer.shape, dtype=buffer.dtype))
