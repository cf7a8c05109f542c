"""Selection of the layers that low-rank methods may change, with reasons for all others."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from trp_search import records
from trp_search.errors import InputError
from trp_search.lowrank.factoring import Factoring
from trp_search.lowrank.kernels import kind_of, shape_of, weight_of
from trp_search.lowrank.plain import effective
from trp_search.records.layers import Unselected
from trp_search.workloads.eager import check_eager


def select(
    network: nn.Module, scheme: Factoring, *, layers: records.Layers
) -> tuple[dict[str, nn.Module], dict[str, str]]:
    """Selected layers by name, and the reason for every other convolution or linear layer.

    Where `layers` is `auto`, all are selected: see `costs.settled`.

    Raises:
        InputError: `layers` is malformed or names no layer, or `check_eager` refuses the network.
    """
    selection = parsed(layers)
    check_eager(network, where="network")
    found = {n: m for n, m in network.named_modules() if _has_weight(m)}
    # Counted by name: a weight, or a whole module, under two names has two uses.
    named = network.named_modules(remove_duplicate=False)
    uses = Counter(id(p) for _, m in named for p in m.parameters(recurse=False))
    heads = {id(m.out_proj) for m in network.modules() if isinstance(m, nn.MultiheadAttention)}
    first = next((name for name, m in found.items() if not isinstance(m, nn.Linear)), None)
    if foreign := selection.foreign(found):
        raise InputError(f"layers: {foreign}")
    chosen: dict[str, nn.Module] = {}
    refused: dict[str, str] = {}
    for name, module in found.items():
        reason = _unfit(module, uses) or scheme.unfit(module)
        if id(module) in heads:
            reason = "attention reads its weight directly"
        if reason is None:
            outside = _outside_kxk(module, is_first=name == first)
            reason = selection.why_not(name, outside=outside if selection.word == "kxk" else None)
        if reason is None:
            chosen[name] = module
        else:
            refused[name] = reason
    return chosen, refused


def parsed(layers: records.Layers) -> records.Selection:
    """The selection that `layers` spells; raises InputError if it is malformed."""
    try:
        return records.Selection.of(layers)
    except ValueError as error:
        raise InputError(f"layers: {error}") from None


def _has_weight(module: nn.Module) -> bool:
    """Whether it is a convolution or linear layer; a subclass may have no weight of that name."""
    return kind_of(module) is not None and (
        parametrize.is_parametrized(module, "weight")
        or isinstance(getattr(module, "weight", None), Tensor)
    )


def _unfit(module: nn.Module, uses: Counter[int]) -> str | None:
    if parametrize.is_parametrized(module):
        return "its weight is parametrised"
    if module._forward_pre_hooks or module._forward_hooks:
        return "it has forward hooks"
    if effective(module) is None:
        return f"{type(module).__name__}: its forward does more than its one operation"
    if uses[id(module.weight)] > 1:
        return "its weight is used under several names"
    assert isinstance(module.weight, Tensor)
    return _unusual(module.weight)


def check_finite(name: str, module: nn.Module) -> None:
    """Raises InputError if a real weight has an entry that is not finite."""
    weight = weight_of(module)
    if _unusual(weight) is None and not weight.isfinite().all():
        raise InputError(f"layer {name!r}: its weight is not finite")


def _unusual(weight: Tensor) -> str | None:
    """Why a weight is not plain real numbers, the only kind decomposed here, or None."""
    if type(weight) not in (Tensor, nn.Parameter):
        return f"its weight is a {type(weight).__name__}"
    if weight.layout is not torch.strided:
        return f"its weight is stored as {weight.layout}"
    if weight.is_complex():
        return "its weight is complex"
    return None if weight.dtype in _REAL else f"its weight is {weight.dtype}"


_REAL = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def _outside_kxk(module: nn.Module, *, is_first: bool) -> str | None:
    if isinstance(module, nn.Linear):
        return Unselected("linear layer, not selected")
    if shape_of(module)[2:] == (1, 1):
        return Unselected("1x1 convolution, not selected")
    return Unselected("first convolution, not selected") if is_first else None
