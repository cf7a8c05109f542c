"""Multiply-adds of a network that runs, by torch's counter: no sum of layers, and no graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from trp_search.errors import InputError, one_line
from trp_search.lowrank.tracing import arguments, layer_by_layer, run
from trp_search.tasks.modes import evaluating

Size = Sequence[int]


def multiply_adds(network: nn.Module, example_input: Tensor | Sequence[Any]) -> int:
    """Multiply-adds of convolutions, linear layers and matrix products, for the whole batch.

    Calls by modules and by functions both count.
    """
    return by_module(network, example_input).get("", 0)


def by_module(network: nn.Module, example_input: Tensor | Sequence[Any]) -> dict[str, int]:
    """Multiply-adds by the name of the module at work, those of its children included.

    The whole network has the name "". A module that multiplies nothing is left out.

    Raises:
        InputError: the network does not run under torch's counter.
    """
    counter = FlopCounterMode(display=False, custom_mapping=_others())
    with evaluating(network), layer_by_layer(), without_gradients(network), counter:
        try:
            run(network, _detached(example_input))
        except Exception as error:
            raise InputError(
                f"network: its multiply-adds cannot be counted: {one_line(error)[:200]}"
            ) from error
    found = {
        name.partition(".")[2]: sum(flops.values()) // 2
        for name, flops in counter.get_flop_counts().items()
        if name != _EVERYTHING
    }
    return found | {"": counter.get_total_flops() // 2}


_EVERYTHING = "Global"


@contextmanager
def without_gradients(network: nn.Module) -> Iterator[None]:
    """Inside the block no parameter needs a gradient, as counters and tracers would have it.

    Torch's counter follows gradients through modules, which fails for a parameter that a module is
    called with.
    """
    trained = [p for p in network.parameters() if p.requires_grad and not p.is_inference()]
    try:
        for parameter in trained:
            parameter.requires_grad = False
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad = True


def _detached(example_input: Tensor | Sequence[Any]) -> tuple[Any, ...]:
    given = arguments(example_input)
    return tuple(each.detach() if isinstance(each, Tensor) else each for each in given)


def _recurrent(*given: Any, **_: Any) -> int:  # noqa: ANN401
    """A layer of recurrent units, whose matrices act at every step."""
    weights = given[1] if isinstance(given[1][0], Sequence) else given[1:3]
    steps, entries = prod(given[0][:-1]), sum(prod(one) for one in weights if len(one) == _MATRIX)
    return int(2 * steps * entries)


_MATRIX = 2


def _weighed(position: int) -> Callable[..., int]:
    """Every output weighs as many entries as a row of argument `position` has."""

    def formula(*given: Any, out_shape: Size, **_: Any) -> int:  # noqa: ANN401
        return int(2 * prod(out_shape) * prod(given[position][1:]))

    return formula


def _dot(one: Size, *_: Any, **__: Any) -> int:  # noqa: ANN401
    return 2 * prod(one)


def _summed(_: Size, one: Size, other: Size, **__: Any) -> int:  # noqa: ANN401
    """A sum of products over the batch."""
    return 2 * prod(one) * other[-1]


def _others() -> dict[Any, Any]:
    """Formulas of operators that torch's counter has none for."""
    ops = torch.ops
    found: dict[Any, Any] = {
        ops.aten.mkldnn_rnn_layer: _recurrent,
        ops.aten._cudnn_rnn: _recurrent,
        ops.aten._trilinear: _weighed(1),
        ops.aten.mv: _weighed(0),
        ops.aten.addmv: _weighed(1),
        ops.aten.addbmm: _summed,
        ops.aten.dot: _dot,
        ops.aten.vdot: _dot,
    }
    if hasattr(ops.torchvision, "deform_conv2d"):  # once torchvision is imported
        found[ops.torchvision.deform_conv2d] = _weighed(1)
    return found
