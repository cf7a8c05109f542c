"""A network as Python source that needs only PyTorch and safetensors."""

from __future__ import annotations

import copy
import re
import types
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Tracer

from trp_search.runtimes.constructors import NoSourceError, layer_call, tensor_call
from trp_search.runtimes.unfused import unfuse_

_FILE = '''\
"""The network of this folder, without the package that made it.

    from network import load
    network = load()  # an nn.Module in evaluation mode, on the CPU
"""

from pathlib import Path

{imports}
from safetensors.torch import load_file
from torch import nn


class Network(nn.Module):
    """Layers by the names that their weights have."""

    def __init__(self):
        super().__init__()
{layers}

{forward}


def _add(root, name, part):
    *folders, last = name.split(".")
    for folder in folders:
        if folder not in root._modules:
            root.add_module(folder, nn.Module())
        root = root._modules[folder]
    setattr(root, last, part)


def load(folder=Path(__file__).parent):
    """The network with its weights; nothing is unpickled."""
    network = Network()
    stored = load_file(Path(folder) / "{weights}")
    network.load_state_dict({{name: stored[name] for name in network.state_dict()}})
    return network.eval()
'''


def as_source(network: nn.Module, *, weights: str) -> str:
    """The source of a module with `load()`, which builds `network` from the file `weights`.

    Raises:
        NoSourceError: the network's operations depend on its images, or some parts are not
            PyTorch's own.
    """
    for name, _ in network.named_modules():
        if '"' in name or "\\" in name or not name.isprintable():  # tracing puts it between quotes
            raise NoSourceError(f"a layer is named {name!r}")
    network.eval()
    stored = network.state_dict()
    traced = _traced(network, stored)
    for node in traced.graph.nodes:
        node.type = None  # an annotation may name any type
    code = traced.graph.python_code("self")
    layers = [_part(name, part, stored) for name, part in _parts(traced)]
    called = {name: value for name, value in code.globals.items() if _stands_in(code.src, name)}
    return _FILE.format(
        imports="\n".join(_imports(called)),
        layers="\n".join(f"        {line}" for line in layers),
        forward="\n".join(f"    {line}".rstrip() for line in code.src.strip().splitlines()),
        weights=weights,
    )


def _traced(network: nn.Module, stored: Mapping[str, Tensor]) -> GraphModule:
    """The network's operations on its images, with as few precomputed constants as possible.

    A tracer that does not follow buffers turns values computed from buffers alone into constants; a
    tracer that follows buffers cannot trace every network.
    """
    traced = _trace(network, Tracer())
    if all(name in stored for name, part in _parts(traced) if isinstance(part, Tensor)):
        return traced
    following = Tracer()
    following.proxy_buffer_attributes = True
    try:
        return _trace(network, following)
    except NoSourceError:
        return traced


def _trace(network: nn.Module, tracer: Tracer) -> GraphModule:
    copied = copy.deepcopy(network)  # a tracer leaves the constants it meets in the module
    unfuse_(copied)
    try:
        return GraphModule(copied, tracer.trace(copied))
    except Exception as error:  # noqa: BLE001  tracing may raise anything
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise NoSourceError(f"it cannot be traced: {reason[:160]}") from None


def _parts(traced: GraphModule) -> list[tuple[str, nn.Module | Tensor]]:
    """Every layer that is called, and every tensor used outside layers."""
    found: dict[str, nn.Module | Tensor] = {}
    for node in traced.graph.nodes:
        if node.op == "call_module":
            found[node.target] = traced.get_submodule(node.target)
        elif node.op == "get_attr":
            owner, _, name = node.target.rpartition(".")
            found[node.target] = getattr(traced.get_submodule(owner), name)
    return list(found.items())


def _part(name: str, part: nn.Module | Tensor, stored: Mapping[str, Tensor]) -> str:
    if isinstance(part, Tensor):
        call = tensor_call(name, part, stored=name in stored)
    else:
        call = layer_call(name, part)
    return f"_add(self, {name!r}, {call})"


def _imports(names: dict[str, object]) -> list[str]:
    """Imports for names in the traced code; only PyTorch and the standard library are allowed."""
    lines = {"import torch"}
    for name, value in names.items():
        if value is getattr:  # of a tensor's shape, say
            continue
        module = value.__name__ if isinstance(value, types.ModuleType) else _home(value)
        if module is None or module.partition(".")[0] not in ("torch", "math", "operator"):
            raise NoSourceError(f"it calls {name}, which is not PyTorch's")
        if isinstance(value, types.ModuleType):
            lines.add(f"import {module}" if name == module else f"import {module} as {name}")
        elif not isinstance(value, (torch.device, type(None))):
            lines.add(f"from {module} import {getattr(value, '__name__', name)} as {name}")
    return sorted(lines)


def _stands_in(source: str, name: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(name)}\b", source) is not None


def _home(value: object) -> str | None:
    return getattr(value, "__module__", None) or type(value).__module__
