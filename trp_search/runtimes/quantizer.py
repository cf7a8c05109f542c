"""Networks in int8: the interface of a runtime's quantiser, and the network in its file."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import final

import torch
from torch import Tensor, nn
from typing_extensions import override

from trp_search.errors import InputError, one_line
from trp_search.records import QuantizerName, Target
from trp_search.runtimes.onnx import write_onnx

Session = Callable[[Tensor], Tensor]


class Calibrated(ABC):
    """A network whose ranges are known, to be written with some or all of its layers in int8.

    Attributes:
        layers: the names of its layers that have weights.
    """

    layers: tuple[str, ...]

    @abstractmethod
    def write(self, path: Path, *, in_float: Collection[str] = ()) -> None:
        """Writes the file, with these layers left in float."""


class Quantizer(ABC):
    """Post-training quantisation by one runtime's own tool, and the runtime.

    Static, weights by channel. Each is a file of this folder, named as in `records.QuantizerName`
    with `_int8`, with an instance of a final class as its `QUANTIZER`.
    """

    @abstractmethod
    def check(self) -> None:
        """Raises InputError where a package is missing."""

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Versions of the tool and the runtime."""

    @abstractmethod
    def calibrate(self, path: Path, images: Sequence[Tensor], place: Path) -> Calibrated:
        """The network of an ONNX file with the ranges that its tensors take on `images`.

        Args:
            path: written by `write_onnx`, batch norms folded.
            images: batches (n, c, h, w) on the CPU.
            place: a folder for files that are needed meanwhile.
        """

    @abstractmethod
    def session(self, path: Path, *, threads: int, size: Sequence[int] | None = None) -> Session:
        """A function from images to logits; with a `size` for batches of (n, c, h, w) alone."""

    @abstractmethod
    def weight_bytes(self, path: Path) -> int:
        """Bytes of the tensors in the file, which are the weights and their scales."""


def quantizer(name: QuantizerName) -> Quantizer:
    """The quantiser of the runtime of this name."""
    found: Quantizer = importlib.import_module(f"trp_search.runtimes.{name}_int8").QUANTIZER
    return found


def calibrated(
    name: QuantizerName, network: nn.Module, images: Sequence[Tensor], place: Path
) -> Calibrated:
    """A network with the ranges that its tensors take on `images`.

    Args:
        name: of the runtime whose tool measures them.
        network: in evaluation mode, on the CPU, batch norms folded; may be changed.
        images: batches (n, c, h, w) on the CPU, the first of at least two.
        place: a folder for files that are needed meanwhile.

    Raises:
        InputError: the tool refuses the network.
    """
    path = place / "float.onnx"
    with _refusal_told(name):
        write_onnx(network, images[0][:2], path)
    return ranged(name, path, images, place)


def ranged(name: QuantizerName, path: Path, images: Sequence[Tensor], place: Path) -> Calibrated:
    """As `calibrated`, of the network in an ONNX file."""
    with _refusal_told(name):
        return quantizer(name).calibrate(path, images, place)


@contextmanager
def _refusal_told(name: QuantizerName) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001  exporters and quantisers raise anything
        raise InputError(f"{name} cannot quantise this network: {one_line(error)}") from None


@final
class QuantizedNetwork(nn.Module):
    """An int8 network in its file, which its runtime runs on as many threads as PyTorch has.

    Raises:
        InputError: the file or the runtime is not there.
    """

    def __init__(self, path: Path, runtime: QuantizerName) -> None:
        super().__init__()
        self._path, self.runtime = path, runtime
        self._quantizer = quantizer(runtime)
        self._quantizer.check()
        for file in self.files:
            if not file.is_file():
                raise InputError(f"{file}: no such int8 network; trp-search quantize makes it")
        self._sessions: dict[int, Session] = {}

    @override
    def forward(self, images: Tensor) -> Tensor:
        threads = torch.get_num_threads()
        if threads not in self._sessions:
            self._sessions[threads] = self._opened(threads=threads)
        return self._sessions[threads](images.cpu()).to(images.device)

    @property
    def files(self) -> list[Path]:
        """Its files: OpenVINO's weights are beside the network."""
        beside = self._path.with_suffix(".bin")
        return [self._path, beside] if self.runtime == "openvino" else [self._path]

    def call(self, images: Tensor, target: Target) -> Callable[[], Tensor]:
        """The network as a call on `images` on a target.

        Raises:
            InputError: the target is of another runtime or device, or the file cannot be run.
        """
        if (target.runtime, target.device) != (self.runtime, "cpu"):
            raise InputError(
                f"{self._path.name}: is int8 for {self.runtime} on the CPU; target "
                f"{target.name!r} is {target.runtime} on {target.device}"
            )
        session = self._opened(threads=target.threads, size=tuple(images.shape))
        return lambda: session(images)

    def _opened(self, *, threads: int, size: Sequence[int] | None = None) -> Session:
        try:
            return self._quantizer.session(self._path, threads=threads, size=size)
        except Exception as error:  # noqa: BLE001  runtimes raise anything
            raise InputError(f"{self._path}: cannot be run: {one_line(error)}") from None
