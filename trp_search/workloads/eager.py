"""Checks that a module is plain PyTorch with its weights, so that its layers can be replaced."""

from __future__ import annotations

import torch
from torch import fx, nn
from torch.nn.parameter import is_lazy

from trp_search.errors import InputError


def check_eager(network: object, *, where: str) -> None:
    """Raises InputError, `where` first, unless `network` is a module whose layers can be replaced.

    Compiled, scripted and exported code keeps the layers it was made of: changes to them would be
    lost. A lazy layer would be initialised by inspecting it. With another default device than the
    CPU, tensors would be made on both.
    """
    device = torch.get_default_device()
    if device.type != "cpu":
        raise InputError(
            f"{where}: torch's default device is {device}: call this inside of "
            "`with torch.device('cpu'):`; the network may be on any device"
        )
    if not isinstance(network, nn.Module):
        raise InputError(f"{where}: {type(network).__name__} is no torch.nn.Module")
    for name, module in network.named_modules():
        problem = _problem(module)
        if problem is not None:
            raise InputError(f"{where}: {f'its part {name!r}' if name else 'it'} {problem}")


def _problem(module: nn.Module) -> str | None:
    if "_orig_mod" in module._modules or module._compiled_call_impl is not None:
        return "is compiled: pass the module as it was, and compile what comes of it"
    if isinstance(module, torch.jit.ScriptModule):
        # An activation that is scripted by itself has nothing to cut.
        weights = next(module.parameters(), None)
        return (
            None if weights is None else "is scripted: pass the module as it was before torch.jit"
        )
    if _is_exported(module):
        return "is exported: pass the module as it was before torch.export"
    own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    if any(is_lazy(tensor) for tensor in own):
        kind = type(module).__name__
        return f"has no weights yet ({kind}): call the network on an input once, before"
    if any(tensor.is_meta for tensor in own):
        return "is on the meta device: its weights have no values"
    return None


def _is_exported(module: nn.Module) -> bool:
    """Whether a module is a graph of PyTorch's operators, which read weights by themselves."""
    own = vars(module)
    graph = own.get("graph", own.get("_graph"))
    return isinstance(graph, fx.Graph) and any(
        isinstance(node.target, torch._ops.OpOverload) for node in graph.nodes
    )
