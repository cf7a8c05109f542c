"""The forward and backward pass of a batch; on CUDA the passes are recorded once and replayed."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor, nn
from typing_extensions import override

Loss = Callable[[Tensor, Tensor], Tensor]


class Passes(ABC):
    """A callable from images (n, c, h, w) and labels (n,) to gradients."""

    @abstractmethod
    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """Replaces earlier gradients by the batch's; the returned loss stays on the device."""


@final
class Eager(Passes):
    """Operation by operation, as PyTorch does."""

    def __init__(self, network: nn.Module, loss: Loss) -> None:
        self._network = network
        self._loss = loss

    @override
    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        self._network.zero_grad(set_to_none=True)
        loss = self._loss(images, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()


@final
class Recorded(Passes):
    """One CUDA graph for every batch; all batches must have one shape.

    A small network's step is hundreds of kernels of a few microseconds each, which the host takes
    longer to launch than the device to run. The first batches run eagerly, while cuDNN and the
    allocator settle; a recording itself computes nothing. A network that cannot be recorded, for
    instance because it reads a value on the host, trains on eagerly, with a warning.
    """

    def __init__(self, network: nn.Module, loss: Loss) -> None:
        self._eager = Eager(network, loss)
        self._plain = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._given: tuple[Tensor, Tensor] | None = None
        self._loss: Tensor | None = None
        self._refused = False

    @override
    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        if self._refused:
            return self._eager(images, labels)
        if self._plain < _PLAIN:
            self._plain += 1
            return self._aside(images, labels)
        if self._graph is None and not self._record(images, labels):
            return self._eager(images, labels)
        assert self._graph is not None
        assert self._given is not None
        assert self._loss is not None
        for own, given in zip(self._given, (images, labels), strict=True):
            own.copy_(given)
        self._graph.replay()
        return self._loss.clone()  # the next replay writes it anew

    def _aside(self, images: Tensor, labels: Tensor) -> Tensor:
        """Runs on another stream, like a recording: backward's state is tied to its stream."""
        here = torch.cuda.current_stream()
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            loss = self._eager(images, labels)
        here.wait_stream(aside)
        return loss

    def _record(self, images: Tensor, labels: Tensor) -> bool:
        own = images.clone(memory_format=torch.preserve_format), labels.clone()
        graph = torch.cuda.CUDAGraph()
        try:
            # Another thread of the process may allocate during the capture.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                loss = self._eager(*own)
        except RuntimeError as error:
            self._refused = True
            _leave_capture(images.device)
            reason = str(error).strip().partition("\n")[0]
            warnings.warn(f"trained without a CUDA graph: {reason}", stacklevel=2)
            return False
        self._graph, self._given, self._loss = graph, own, loss
        return True


def _leave_capture(device: torch.device) -> None:
    """Resets the device's generator, which a failed recording leaves in capture."""
    used = torch.cuda.default_generators[device.index or 0]
    fresh = torch.Generator(device).manual_seed(used.initial_seed())
    used.graphsafe_set_state(fresh.graphsafe_get_state())


_PLAIN = 3
