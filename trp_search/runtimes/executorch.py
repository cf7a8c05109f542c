"""ExecuTorch with XNNPACK, as on phones: a network as a file, and the file in its runtime."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import final

import torch
from torch import Tensor, nn
from typing_extensions import override

from trp_search.records import Device, Target
from trp_search.runtimes.installed import check_installed
from trp_search.runtimes.quiet import quiet
from trp_search.runtimes.serving import Call, Runtime


def check_executorch() -> None:
    """Raises InputError when ExecuTorch is not installed."""
    check_installed("executorch", "executorch")


def write_executorch(network: nn.Module, images: Tensor, path: Path) -> None:
    """Writes `network` to `path`; it takes batches of the size of `images`."""
    check_executorch()
    with quiet():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import (  # noqa: PLC0415  optional
            XnnpackPartitioner,
        )
        from executorch.exir import to_edge_transform_and_lower  # noqa: PLC0415  optional

        program = torch.export.export(network, (images,))
        lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
        path.write_bytes(lowered.to_executorch().buffer)


@final
class ExecuTorch(Runtime):
    """The network lowered to XNNPACK for the size of its images."""

    packages = ("torch", "executorch")
    devices = ("cpu",)

    @override
    def check(self, device: Device) -> None:
        super().check(device)
        check_executorch()

    @override
    def prepare(self, network: nn.Module, images: Tensor, target: Target) -> Call:
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "network.pte"
            write_executorch(network.cpu(), images, path)
            with quiet():
                from executorch.extension.pybindings import portable_lib  # noqa: PLC0415  optional

                portable_lib._unsafe_reset_threadpool(target.threads)
                module = portable_lib._load_for_executorch(str(path))

        def call() -> Tensor:
            logits: Tensor = module.forward([images])[0]
            return logits

        return call


RUNTIME = ExecuTorch()
