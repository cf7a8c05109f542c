"""Inputs and outputs of layers, from forward passes with temporary hooks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils import _pytree as pytree

from trp_search.errors import InputError, one_line
from trp_search.lowrank.kernels import Extent
from trp_search.lowrank.reads import probed
from trp_search.tasks.modes import evaluating

Note = Callable[[str, nn.Module, Tensor, Tensor], None]


def watch(
    network: nn.Module, modules: Mapping[str, nn.Module], note: Note, batches: Iterable[Tensor]
) -> None:
    """Forward passes of `network` over calibration images, as `watching` would have them.

    Raises:
        InputError: there are no images.
    """
    empty = True
    with watching(network, modules, note):
        for batch in batches:
            network(batch)
            empty = False
    if empty:
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


def needed(
    network: nn.Module,
    example_input: Tensor | Sequence[Any],
    layers: Mapping[str, nn.Module],
    calls: Mapping[str, int],
) -> dict[str, str]:
    """The `layers` that the network needs as they are, with the reason.

    Another module stands in the place of all of them, and of each where that changes anything: a
    network that asks for a layer's class calls it and answers otherwise.

    Args:
        network: not changed; in the mode that counts.
        example_input: input of its forward pass.
        layers: by name.
        calls: number of calls of each layer.
    """
    devices = {p.device.index or 0 for p in network.parameters() if p.device.type == "cuda"}

    def answer() -> Any:  # noqa: ANN401
        with torch.random.fork_rng(devices=sorted(devices)):  # the same random numbers every time
            return run(network, example_input)

    def found(some: Mapping[str, nn.Module]) -> dict[str, str]:
        otherwise = "the network answers otherwise with another module in its place"
        failed, differs = "", False
        with probed(network, some) as probes:
            try:
                differs = not alike(answer(), whole)
            except Exception as error:  # noqa: BLE001  a network may raise anything
                failed = f"the network needs it: {one_line(error)}"
        missed = {name: probe.missed(calls.get(name, 0)) for name, probe in probes.items()}
        # Where no two answers are alike, a difference tells nothing.
        if not failed and not (differs and alike(answer(), whole)):
            return {name: reason for name, reason in missed.items() if reason is not None}
        if len(some) == 1:
            return {name: failed or missed[name] or otherwise for name in some}
        each = [found({name: layer}) for name, layer in some.items()]
        together = {name: reason for one in each for name, reason in one.items()}
        return together or dict.fromkeys(some, failed or otherwise)

    whole = answer()
    return found(layers)


@torch.no_grad()
def run(network: nn.Module, example_input: Tensor | Sequence[Any]) -> Any:  # noqa: ANN401
    """The output of one forward pass."""
    return network(*arguments(example_input))


def alike(one: Any, other: Any) -> bool:  # noqa: ANN401
    """Whether two outputs, of any structure, differ by rounding alone."""
    found, wanted = pytree.tree_leaves(one), pytree.tree_leaves(other)
    return len(found) == len(wanted) and all(map(_close, found, wanted))


def _close(one: object, other: object) -> bool:
    if not (isinstance(one, Tensor) and isinstance(other, Tensor)):
        return True
    if one.is_nested or one.layout is not torch.strided:
        return True
    if one.shape != other.shape:
        return False
    one, other = one.double(), other.double()
    most = float(other.abs().max()) if other.numel() else 0.0
    return torch.allclose(one, other, atol=_ROUNDING * most, equal_nan=True)


_ROUNDING = 1e-3


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
