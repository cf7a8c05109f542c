"""What layers read and write: forward passes with hooks that are taken off again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from trp_search.lowrank.schemes import Extent

Note = Callable[[str, nn.Module, Tensor, Tensor], None]


@contextmanager
def watching(network: nn.Module, modules: Mapping[str, nn.Module], note: Note) -> Iterator[None]:
    """Calls `note(name, module, given, output)` at every call of `modules` inside the block.

    The network is in evaluation mode meanwhile, and afterwards as it was.
    """

    def hook_of(name: str) -> Callable[[nn.Module, Any, Any, Any], None]:
        def hook(module: nn.Module, given: Any, named: Any, output: Any) -> None:  # noqa: ANN401
            note(name, module, given[0] if given else named["input"], output)

        return hook

    handles = [
        module.register_forward_hook(hook_of(name), with_kwargs=True)
        for name, module in modules.items()
    ]
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes.items():
            module.training = training


def extents(
    network: nn.Module, example_input: Tensor | Sequence[Any], modules: Mapping[str, nn.Module]
) -> dict[str, list[Extent]]:
    """The extent of every call of each of `modules`, per image, in evaluation mode.

    A module that the forward pass does not call has an empty list. The network is left as it was.
    """
    seen: dict[str, list[Extent]] = {name: [] for name in modules}

    def note(name: str, module: nn.Module, given: Tensor, output: Tensor) -> None:
        seen[name].append(_extent(module, given, output))

    arguments = (example_input,) if isinstance(example_input, Tensor) else tuple(example_input)
    with watching(network, modules, note), torch.no_grad():
        network(*arguments)
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
