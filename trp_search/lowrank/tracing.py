"""Inputs and outputs of layers, from forward passes with temporary hooks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from trp_search.errors import InputError, one_line
from trp_search.lowrank.kernels import Extent
from trp_search.tasks.modes import evaluating

Note = Callable[[str, nn.Module, Tensor, Tensor], None]


def watch(
    network: nn.Module, modules: Mapping[str, nn.Module], note: Note, batches: Iterable[Tensor]
) -> None:
    """Forward passes of `network` over calibration images, as `watching` would have them.

    Raises:
        InputError: there are no images, or the network does not run on a batch.
    """
    number = -1
    with watching(network, modules, note):
        for number, batch in enumerate(batches):
            if not isinstance(batch, Tensor):
                kind = type(batch).__name__
                raise InputError(f"calibration: batch {number} is no tensor of images but a {kind}")
            try:
                network(batch)
            except InputError:
                raise
            except Exception as error:
                raise InputError(
                    f"calibration: the network does not run on batch {number}: {one_line(error)}"
                ) from error
    if number < 0:
        raise InputError("calibration: there are no images")


@contextmanager
def watching(network: nn.Module, modules: Mapping[str, nn.Module], note: Note) -> Iterator[None]:
    """Calls `note(name, module, given, output)` at every call of `modules` inside the block.

    Calls that take or return no tensor are left out: a subclass may have its own signature.
    The network is in evaluation mode inside the block, and restored afterwards.
    """

    def hook_of(name: str) -> Callable[[nn.Module, Any, Any, Any], None]:
        def hook(module: nn.Module, given: Any, named: Any, output: Any) -> None:  # noqa: ANN401
            first = next(iter((*given, *named.values())), None)
            if isinstance(first, Tensor) and isinstance(output, Tensor):
                note(name, module, first, output)

        return hook

    handles = [
        module.register_forward_hook(hook_of(name), with_kwargs=True)
        for name, module in modules.items()
    ]
    try:
        with evaluating(network):
            yield
    finally:
        for handle in handles:
            handle.remove()


def extents(
    network: nn.Module, example_input: Tensor | Sequence[Any], modules: Mapping[str, nn.Module]
) -> dict[str, list[Extent]]:
    """The extent of every call of each of `modules`, per image, in evaluation mode.

    Positions on any axis count. A module that the forward pass does not call has an empty list. The
    network is left as it was.
    """
    seen: dict[str, list[Extent]] = {name: [] for name in modules}
    images = images_in(example_input)

    def note(name: str, module: nn.Module, given: Tensor, output: Tensor) -> None:
        seen[name].append(_extent(module, given, output, images=images))

    with watching(network, modules, note), layer_by_layer():
        try:
            run(network, example_input)
        except Exception as error:
            raise InputError(
                f"network: it does not run on the example input: {one_line(error)}"
            ) from error
    return seen


@torch.no_grad()
def run(network: nn.Module, example_input: Tensor | Sequence[Any]) -> Any:  # noqa: ANN401
    """The output of one forward pass."""
    return network(*arguments(example_input))


def images_in(example_input: Tensor | Sequence[Any]) -> int:
    """The length of the batch axis: the first axis of the first tensor.

    Raises:
        InputError: the batch is empty.
    """
    first = next((given for given in arguments(example_input) if isinstance(given, Tensor)), None)
    batch = first.shape[0] if first is not None and first.dim() > 1 else 1
    if batch == 0:
        raise InputError("example_input: its batch is empty")
    return batch


@contextmanager
def full_precision(network: nn.Module) -> Iterator[None]:
    """Turns autocast off, on the device of `network`, inside the block."""
    device = next((parameter.device.type for parameter in network.parameters()), "cpu")
    with torch.autocast(device, enabled=False):
        yield


@contextmanager
def layer_by_layer() -> Iterator[None]:
    """Inside the block, torch's transformer layers call their submodules: no fused path."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def arguments(example_input: Tensor | Sequence[Any]) -> tuple[Any, ...]:
    """The arguments of a forward pass; InputError if `example_input` is neither of its kinds."""
    if isinstance(example_input, Tensor):
        return (example_input,)
    if not isinstance(example_input, Sequence):
        raise InputError(
            f"example_input: {example_input!r:.80} is neither a tensor nor a list of arguments"
        )
    return tuple(example_input)


def _extent(module: nn.Module, given: Tensor, output: Tensor, *, images: int) -> Extent:
    """Positions per image; axes folded into the batch are stacked along the height."""
    if isinstance(module, nn.Linear):
        before, after = given.numel() // module.in_features, output.numel() // module.out_features
    else:
        assert isinstance(module, _ConvNd)
        before, after = given.numel() // module.in_channels, output.numel() // module.out_channels
    # The width of a 3-d kernel is its plane; 1-d positions and tokens lie on one line.
    axes = len(module.kernel_size) if isinstance(module, _ConvNd) else 1
    width_in, width_out = (
        math.prod(each.shape[each.dim() - axes + 1 :]) for each in (given, output)
    )
    return Extent(
        height_in=math.ceil(before / (width_in * images)),
        width_in=width_in,
        height_out=math.ceil(after / (width_out * images)),
        width_out=width_out,
    )
