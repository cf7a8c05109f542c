"""Layers that compute what their kind computes: subclasses may add to it, or add nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode
from typing_extensions import override

from trp_search.lowrank.kernels import kind_of
from trp_search.tasks.modes import evaluating

_OPERATORS: dict[type[nn.Module] | None, Callable[..., Any]] = {
    nn.Linear: functional.linear,
    nn.Conv1d: functional.conv1d,
    nn.Conv2d: functional.conv2d,
    nn.Conv3d: functional.conv3d,
}


def is_plain(module: nn.Module) -> bool:
    """Whether a layer, whatever its class, does no more than the one operation of its kind.

    A subclass is called on an input without its operation being computed: that has to be the only
    operation, on the very input, weight and bias, and its result the very output. Subclasses of
    transposed convolutions are not looked into.
    """
    kind = kind_of(module)
    if type(module) is kind:
        return "forward" not in vars(module)
    operator = _OPERATORS.get(kind)
    own = dict(module.named_parameters()) | dict(module.named_buffers())
    if operator is None or own.keys() - {"weight", "bias"} or module._modules:
        return False
    return all(_adds_nothing(module, operator, training=mode) for mode in (True, False))


@torch.no_grad()
def _adds_nothing(module: nn.Module, operator: Callable[..., Any], *, training: bool) -> bool:
    weight = module.weight
    assert isinstance(weight, Tensor)
    settings: tuple[object, ...] = ()
    size = [1, weight.shape[1]]
    if isinstance(module, _ConvNd):
        settings = module.stride, module.padding, module.dilation, module.groups
        size = [1, module.in_channels, *weight.shape[2:]]
    given, seen = weight.new_zeros(size), _Seen(operator)
    with evaluating(module), seen:
        module.train(training)
        try:
            output = module(given)
        except Exception:  # noqa: BLE001  a forward pass may raise anything
            return False
    if output is not seen.answer or len(seen.calls) != 1:
        return False
    (arguments,) = seen.calls
    found = arguments[:3], arguments[3:]
    same = all(a is b for a, b in zip(found[0], (given, weight, module.bias), strict=True))
    return same and found[1] == settings


@final
class _Seen(TorchFunctionMode):
    """Notes the arguments of one operator and answers in its place.

    Attributes:
        calls: arguments, by position.
        answer: what it returns.
    """

    def __init__(self, operator: Callable[..., Any]) -> None:
        super().__init__()
        self._operator = operator
        self.calls: list[tuple[object, ...]] = []
        self.answer = torch.empty(0)

    @override
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is not self._operator:
            return func(*args, **(kwargs or {}))
        self.calls.append((*args, *(kwargs or {}).values()))
        return self.answer
