"""Serving of networks: the interface of a runtime, and networks prepared for a target."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import ClassVar

import torch
from torch import Tensor, nn

from trp_search.errors import InputError, one_line
from trp_search.records import Device, RuntimeName, Target
from trp_search.runtimes.fold import fold_batch_norm
from trp_search.runtimes.quantizer import QuantizedNetwork

Call = Callable[[], Tensor]
# Sequences of layers that take the place of those named, and the call of a network with them, or
# None where it cannot.
Parts = Mapping[str, Sequence[nn.Module]]
Exchanged = Callable[[Parts], Call | None]
IN_FILE = "as in its int8 file"


class Runtime(ABC):
    """One way to serve a network.

    Each runtime is a file of this folder, named as in `records.RuntimeName`, with an instance of a
    final class as its `RUNTIME`.

    Attributes:
        packages: packages whose versions are recorded with measurements.
        devices: devices that it can run on.
    """

    packages: ClassVar[tuple[str, ...]] = ("torch",)
    devices: ClassVar[tuple[Device, ...]] = ("cpu", "cuda")

    @abstractmethod
    def prepare(self, network: nn.Module, images: Tensor, target: Target) -> Call:
        """A function of no arguments that returns the logits of `images` once computed.

        Args:
            network: in evaluation mode, on the CPU; may be changed.
            images: one batch, (n, c, h, w).
            target: runtime and device; PyTorch's CPU threads are set already.
        """

    def exchange(self, network: nn.Module, images: Tensor, target: Target) -> Exchanged | None:
        """What serves `network` with some layers exchanged for less than `prepare` takes, if any.

        Arguments as those of `prepare`.
        """
        del network, images, target
        return None

    def check(self, device: Device) -> None:
        """Raises InputError where this machine lacks the device or a required package."""
        if device not in self.devices:
            raise InputError(
                f"device: {device} is none of this runtime's {', '.join(self.devices)}"
            )
        if device == "cuda" and not torch.cuda.is_available():
            raise InputError("device: cuda: this machine has no GPU that PyTorch can use")

    def versions(self) -> dict[str, str]:
        """Versions of the serving software."""
        return {name: version(name) for name in self.packages}


def runtime(name: RuntimeName) -> Runtime:
    """The runtime of this name."""
    found: Runtime = importlib.import_module(f"trp_search.runtimes.{name}").RUNTIME
    return found


def serve(
    network: nn.Module, target: Target, *, channels: int, fold: bool = True
) -> tuple[Call, str]:
    """`network`, its batch norms folded, as a call on a batch of noise; and the folding outcome.

    An int8 network is what its file holds.

    Raises:
        InputError: the batch does not fit in memory, or as the target's runtime does.
    """
    images = noise(target, channels=channels)
    if isinstance(network, QuantizedNetwork):
        return network.call(images, target), IN_FILE
    _check_runs(network, images, target)
    folded, batch_norm = fold_batch_norm(network, images) if fold else (network, "not folded")
    return ready(folded, images, target), batch_norm


def _check_runs(network: nn.Module, images: Tensor, target: Target) -> None:
    try:
        with torch.inference_mode():
            network.eval()(images)
    except Exception as error:  # noqa: BLE001  a network may raise anything
        size = f"{target.height} x {target.width}"
        said = f"the network does not run on images of {size} pixels: {one_line(error)}"
        raise InputError(f"target {target.name!r}: {said}") from None


def exchanging(network: nn.Module, target: Target, *, channels: int) -> Exchanged:
    """`network`, its batch norms folded, as what serves it with some layers exchanged."""
    images = noise(target, channels=channels)
    _check_runs(network, images, target)
    folded, _ = fold_batch_norm(network, images)
    found = runtime(target.runtime).exchange(folded.eval(), images, target)
    return found or (lambda _: None)


def noise(target: Target, *, channels: int) -> Tensor:
    """A batch on which a target times networks, the same in every process.

    Raises:
        InputError: it does not fit in memory.
    """
    size = (target.batch, channels, target.height, target.width)
    try:
        return torch.randn(size, generator=torch.Generator().manual_seed(0))
    except (RuntimeError, MemoryError):
        shown = " x ".join(map(str, size))
        raise InputError(f"target {target.name!r}: {shown} values do not fit in memory") from None


def ready(network: nn.Module, images: Tensor, target: Target) -> Call:
    """`network` as a call on `images` under the target's runtime, which is checked first.

    Raises:
        InputError: the runtime is not there, or refuses the network.
    """
    serving = runtime(target.runtime)
    serving.check(target.device)
    try:
        return serving.prepare(network.eval(), images, target)
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001  compilers and exporters raise anything
        said = one_line(error)
        raise InputError(f"{target.runtime} cannot serve this network: {said}") from None
