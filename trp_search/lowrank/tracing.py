"""What each layer reads and writes: one forward pass with hooks that are taken off again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trp_search.lowrank.schemes import Extent


def extents(
    network: nn.Module, example_input: Tensor | Sequence[Any], modules: Mapping[str, nn.Module]
) -> dict[str, list[Extent]]:
    """The extent of every call of each of `modules`, per image, in evaluation mode.

    A module that the forward pass does not call has an empty list. The network is left as it was.
    """
    seen: dict[str, list[Extent]] = {name: [] for name in modules}

    def watch(name: str) -> Callable[[nn.Module, Any, Any, Any], None]:
        def note(module: nn.Module, given: Any, named: Any, output: Any) -> None:  # noqa: ANN401
            seen[name].append(_extent(module, given[0] if given else named["input"], output))

        return note

    handles = [
        module.register_forward_hook(watch(name), with_kwargs=True)
        for name, module in modules.items()
    ]
    modes = {module: module.training for module in network.modules()}
    arguments = (example_input,) if isinstance(example_input, Tensor) else tuple(example_input)
    try:
        with torch.no_grad():
            network.eval()(*arguments)
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes.items():
            module.training = training
    return seen


def _extent(module: nn.Module, given: Tensor, output: Tensor) -> Extent:
    if isinstance(module, nn.Conv2d):
        (height_in, width_in), (height_out, width_out) = given.shape[-2:], output.shape[-2:]
        return Extent(
            height_in=height_in, width_in=width_in, height_out=height_out, width_out=width_out
        )
    # Positions of anything else lie on one line: tokens, or the pixels of a 1-d or 3-d convolution.
    if isinstance(module, nn.Linear):
        before = after = output[0].numel() // output.shape[-1] if output.dim() > 1 else 1
    else:
        before, after = given.shape[2:].numel(), output.shape[2:].numel()
    return Extent(height_in=before, width_in=1, height_out=after, width_out=1)
