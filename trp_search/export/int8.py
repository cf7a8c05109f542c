"""The int8 network of a bundle: a file of its runtime, which a process of its own runs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import final

import torch
from torch import Tensor, nn
from typing_extensions import override

from trp_search.errors import InputError, TrpSearchError
from trp_search.export import alone
from trp_search.export.bundle import present
from trp_search.export.formats import FORMATS, WITHOUT, Format, agreement
from trp_search.records import QuantizerName
from trp_search.runtimes.quantizer import QuantizedNetwork
from trp_search.tasks.task import Task

INT8_NAME = "network-int8"
_CHUNK = 2**27  # bytes of images that one process gets


def _copied(network: nn.Module, images: Tensor, path: Path) -> None:
    del images
    assert isinstance(network, QuantizedNetwork)
    for file in network.files:
        shutil.copyfile(file, path.with_suffix(file.suffix))


# How each is loaded without this package stands in the card.
INT8: dict[QuantizerName, Format] = {
    "onnxruntime": Format(
        file=f"{INT8_NAME}.onnx",
        write=_copied,
        run=alone.run_alone(alone.ONNX, *WITHOUT, limited=True),
        check=FORMATS["onnx"].check,
    ),
    "openvino": Format(
        file=f"{INT8_NAME}.xml",
        beside=f"{INT8_NAME}.bin",
        write=_copied,
        run=alone.run_alone(alone.OPENVINO, *WITHOUT, limited=True),
        check=FORMATS["openvino"].check,
    ),
}
LOAD: dict[QuantizerName, tuple[str, ...]] = {
    "onnxruntime": (
        "import onnxruntime",
        'session = onnxruntime.InferenceSession("network-int8.onnx")',
        'logits = session.run(["logits"], {"images": images})[0]',
    ),
    "openvino": (
        "import openvino",
        'network = openvino.Core().compile_model("network-int8.xml", "CPU")',
        'logits = network(images)["logits"]',
    ),
}


@torch.no_grad()
def write_int8(
    bundle: Path, network: QuantizedNetwork, weights: nn.Module, images: Tensor, task: Task
) -> tuple[Format, float]:
    """Copies an int8 network into the bundle; returns it and how far it is from its `weights`.

    Raises:
        TrpSearchError: alone it does not run, or answers otherwise than in the run.
    """
    form = INT8[network.runtime]
    path = bundle / form.file
    form.write(network, images, path)
    found = form.run(path, images)
    try:
        agreement(network(images), found, task)
    except TrpSearchError as error:
        raise TrpSearchError(f"{form.file}: {error}") from None
    return form, float((found - weights(images)).abs().max())


@final
class Int8File(nn.Module):
    """The int8 network of a bundle, run by a process of its own with limited memory and time.

    Attributes:
        batch: images that are given at once with the least starts of processes.

    Raises:
        InputError: its runtime is not installed, or the file is not there.
    """

    def __init__(self, bundle: Path, runtime: QuantizerName, image: Tensor) -> None:
        super().__init__()
        self._form, self._runtime = INT8[runtime], runtime
        self._form.check()
        beside = [self._form.beside] if self._form.beside else []
        self._path, *_ = [present(bundle, name) for name in (self._form.file, *beside)]
        self.batch = max(alone.BATCH, _CHUNK // max(1, image.nbytes))

    @override
    def forward(self, images: Tensor) -> Tensor:
        try:
            found = self._form.run(self._path, images.cpu()).to(images.device)
        except TrpSearchError as error:
            raise InputError(f"{self._path}: {error}") from None
        if len(found) != len(images):
            raise InputError(f"{self._path}: gives {len(found)} answers for {len(images)} images")
        return found

    @property
    def network(self) -> QuantizedNetwork:
        """The same network, run by this process without limits."""
        return QuantizedNetwork(self._path, self._runtime)
