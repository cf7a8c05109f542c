"""The weight that a layer works with: subclasses may compute another from it, or do more."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode
from typing_extensions import override

_OPERATORS: dict[type[nn.Module], Callable[..., Any]] = {
    nn.Linear: functional.linear,
    nn.Conv1d: functional.conv1d,
    nn.Conv2d: functional.conv2d,
    nn.Conv3d: functional.conv3d,
}
_OWN = (nn.Linear.__module__, nn.Conv2d.__module__)


def is_plain(module: nn.Module) -> bool:
    """Whether a layer, whatever its class, does the one operation of its kind with its weight."""
    return effective(module) is module.weight


def effective(module: nn.Module) -> Tensor | None:
    """The weight with which a layer does the one operation of its kind; None where it does more.

    It is the layer's own, or computed from it, as where weights are standardised. A subclass is
    called in both modes without its operation being computed: that has to be on the very input and
    bias, with the same weight each time, and its result the very output. Subclasses of transposed
    convolutions are not looked into.
    """
    weight = module.weight
    assert isinstance(weight, Tensor)
    if type(module).__module__ in _OWN:
        return None if "forward" in vars(module) else weight
    operator = next((x for kind, x in _OPERATORS.items() if isinstance(module, kind)), None)
    try:
        copied = copy.deepcopy(module)  # a call may change buffers
        calls = [_called(copied, operator, training=mode) for mode in (True, False)]
    except Exception:  # noqa: BLE001  a forward pass may raise anything
        return None
    found = calls[0]
    if found is None or any(one is None or not torch.equal(one, found) for one in calls):
        return None
    if found is copied.weight:
        own = dict(module.named_parameters()) | dict(module.named_buffers())
        return None if own.keys() - {"weight", "bias"} or module._modules else weight
    return found if found.shape == weight.shape else None


@torch.no_grad()
def _called(
    module: nn.Module, operator: Callable[..., Any] | None, *, training: bool
) -> Tensor | None:
    """The weight of the layer's one operation in a mode."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    settings: tuple[object, ...] = ()
    size = [1, weight.shape[1]]
    if isinstance(module, _ConvNd):
        settings = module.stride, module.padding, module.dilation, module.groups
        size = [1, module.in_channels, *weight.shape[2:]]
    # Another input in each mode: the weight must not depend on it.
    given, seen = weight.new_full(size, float(training)), _Seen(operator)
    module.train(training)
    with seen:
        output = module(given)
    if output is not seen.answer or len(seen.calls) != 1:
        return None
    read, used, bias, *others = seen.calls[0]
    fits = read is given and bias is module.bias and tuple(others) == settings
    return used if fits and isinstance(used, Tensor) else None


@final
class _Seen(TorchFunctionMode):
    """Notes the arguments of one operator and answers in its place.

    Attributes:
        calls: arguments, by position.
        answer: what it returns.
    """

    def __init__(self, operator: Callable[..., Any] | None) -> None:
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
