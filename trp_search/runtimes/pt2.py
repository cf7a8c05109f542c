"""A network as a torch.export program, which PyTorch alone loads."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, fx, nn

from trp_search.runtimes.quiet import quiet


def write_program(network: nn.Module, images: Tensor, path: Path) -> None:
    """Writes `network` to `path`; it takes any batch.

    Args:
        network: in evaluation mode.
        images: at least two images, as the exporter treats a batch of one as constant.
        path: the file.
    """
    with quiet():
        program = torch.export.export(
            network, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},)
        )
        for module in program.graph_module.modules():
            for node in module.graph.nodes if isinstance(module, fx.GraphModule) else ():
                node.meta.pop("stack_trace", None)  # lines of code, with paths on this machine
        torch.export.save(program, path)
