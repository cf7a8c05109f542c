"""Operations directly after each layer of a network: batch norm, ReLU, as far as torch.fx sees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import fx, nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd

from trp_search.tasks.modes import evaluating


@dataclass(frozen=True, kw_only=True)
class Follower:
    """The sole reader of a layer: a batch norm, by name, and whether its sole reader is a ReLU."""

    norm: str | None = None
    relu: bool = False


def followers(network: nn.Module) -> dict[str, Follower]:
    """Followers of each module called once in evaluation mode; empty if tracing fails."""
    with evaluating(network):
        try:
            graph = fx.Tracer().trace(network)
        except Exception:  # noqa: BLE001  tracing may raise anything
            return {}
    modules = dict(network.named_modules())
    calls = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    found = {}
    for node in graph.nodes:
        if node.op == "call_module" and calls[str(node.target)] == 1:
            name, reader = str(node.target), _reader(node)
            norm = _batch_norm(reader, modules) if isinstance(modules[name], _ConvNd) else None
            if norm is None or calls[norm] > 1:
                found[name] = Follower(relu=_is_relu(reader, modules))
            else:
                assert reader is not None
                found[name] = Follower(norm=norm, relu=_is_relu(_reader(reader), modules))
    return found


def _reader(node: fx.Node) -> fx.Node | None:
    """The operation that reads a value, if it is the only one."""
    readers = list(node.users)
    return readers[0] if len(readers) == 1 else None


def _batch_norm(node: fx.Node | None, modules: Mapping[str, nn.Module]) -> str | None:
    """The name of the batch norm, with statistics of its own, that a node calls."""
    if node is None or node.op != "call_module":
        return None
    module = modules[str(node.target)]
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    fixed = type(module) in kinds and module.running_mean is not None
    return str(node.target) if fixed else None


def _is_relu(node: fx.Node | None, modules: Mapping[str, nn.Module]) -> bool:
    if node is None:
        return False
    if node.op == "call_module":
        return type(modules[str(node.target)]) is nn.ReLU
    return node.target in _RELUS


_RELUS = (functional.relu, functional.relu_, torch.relu, torch.relu_, "relu", "relu_")
