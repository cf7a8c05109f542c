"""`nn.MultiheadAttention` with its projections as layers of their own, which can then be factored.

Torch's attention keeps the weights of three projections in one packed parameter and reads the
weight of the fourth: no layer in a projection's place would be called. Networks are analysed, and
handed over, with `Attention` in its place.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize
from typing_extensions import override

from trp_search.lowrank.tracing import arguments
from trp_search.tasks.modes import evaluating
from trp_search.workloads.eager import check_eager

PROJECTIONS = ("q", "k", "v")


@final
class Attention(nn.Module):
    """The same outputs as a `nn.MultiheadAttention`, from the layers q, k, v and out_proj.

    Args:
        given: whose settings and weights these are; `out_proj` is its own, the others share memory
            with its weights.
    """

    # Torch's transformer layers read both: their fused path, which reads weights, is not for this.
    in_proj_bias = None
    _qkv_same_embed_dim = False

    def __init__(self, given: nn.MultiheadAttention) -> None:
        super().__init__()
        self.embed_dim, self.num_heads = given.embed_dim, given.num_heads
        self.dropout, self.batch_first = given.dropout, given.batch_first
        self.q, self.k, self.v = (_linear(given, name) for name in PROJECTIONS)
        self.out_proj = given.out_proj
        self.training = given.training

    @override
    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """As `nn.MultiheadAttention.forward`."""
        if is_causal and attn_mask is None:
            raise RuntimeError("is_causal is a hint about attn_mask, which is missing")
        q, k, v = self._heads(self.q(query)), self._heads(self.k(key)), self._heads(self.v(value))
        dropout = self.dropout if self.training else 0.0
        weights = None
        if is_causal and key_padding_mask is None and not need_weights:
            mixed = functional.scaled_dot_product_attention(
                q, k, v, dropout_p=dropout, is_causal=True
            )
        else:
            mask = self._mask(q, attn_mask, key_padding_mask)
            if need_weights:
                products = q * (q.shape[-1] ** -0.5) @ k.mT
                scores = products if mask is None else products + mask
                weights = functional.dropout(scores.softmax(-1), dropout, self.training)
                mixed = weights @ v
            else:
                mixed = functional.scaled_dot_product_attention(
                    q, k, v, attn_mask=mask, dropout_p=dropout
                )
        answer: Tensor = self.out_proj(mixed.movedim(-2, self._sequence).flatten(-2))
        if weights is not None and average_attn_weights:
            weights = weights.mean(-3)
        return answer, weights

    @property
    def _sequence(self) -> int:
        """The axis of positions once heads have an axis, whether or not there is a batch axis."""
        return -3 if self.batch_first else 0

    def _heads(self, given: Tensor) -> Tensor:
        """(..., heads, positions, width)."""
        return torch.unflatten(given, -1, (self.num_heads, -1)).movedim(self._sequence, -2)

    def _mask(self, q: Tensor, attention: Tensor | None, padding: Tensor | None) -> Tensor | None:
        """Both masks as one that is added to the products."""
        found = None if attention is None else _added(attention, q)
        if found is not None and found.dim() == 3 and q.dim() == 4:
            found = torch.unflatten(found, 0, (-1, self.num_heads))
        if padding is None:
            return found
        padding = _added(padding, q)[..., None, None, :]
        return padding if found is None else found + padding


def _added(mask: Tensor, like: Tensor) -> Tensor:
    """A mask to be added: of a mask of booleans, true is minus infinity."""
    if mask.dtype is not torch.bool:
        return mask.to(like.dtype)
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, float("-inf"))


def weight_at(network: nn.Module, name: str) -> tuple[Any, slice]:
    """The parameter that holds the weight of the layer `name`, or None; the rows of it that do.

    Raises:
        AttributeError: there is no such layer.
    """
    owner, _, child = name.rpartition(".")
    parent = network.get_submodule(owner)
    if isinstance(parent, nn.MultiheadAttention) and child in PROJECTIONS:
        return _place(parent, child)
    return getattr(parent.get_submodule(child), "weight", None), slice(None)


def _place(given: nn.MultiheadAttention, name: str) -> tuple[nn.Parameter, slice]:
    if given._qkv_same_embed_dim:
        return given.in_proj_weight, _rows(given, name)
    packed: nn.Parameter = getattr(given, f"{name}_proj_weight")
    return packed, slice(None)


def _rows(given: nn.MultiheadAttention, name: str) -> slice:
    start = PROJECTIONS.index(name) * given.embed_dim
    return slice(start, start + given.embed_dim)


def _linear(given: nn.MultiheadAttention, name: str) -> nn.Linear:
    """A projection as a layer that shares memory with `given`."""
    packed, rows = _place(given, name)
    weight, bias = packed.detach()[rows], given.in_proj_bias
    out, width = weight.shape
    made = nn.Linear(width, out, bias=bias is not None, device="meta")  # draws no numbers
    made.training = given.training
    made.weight = nn.Parameter(weight, requires_grad=packed.requires_grad)
    if bias is not None:
        part = bias.detach()[_rows(given, name)]
        made.bias = nn.Parameter(part, requires_grad=bias.requires_grad)
    return made


def opened(network: nn.Module, example_input: Tensor | Sequence[Any] | None = None) -> nn.Module:
    """`network` with `Attention` wherever it can be; it shares all weights and is not changed.

    The network itself if it has no such attention, or does not run on `example_input` without, as
    when it reads the packed weight. Raises InputError where `check_eager` refuses the network.
    """
    check_eager(network, where="network")
    fit = _fit(network)
    if not fit:
        return network
    found = _opened(network, fit, {})
    if example_input is not None:
        given = arguments(example_input)
        try:
            with evaluating(found), torch.no_grad():
                found(*given)
        except Exception:  # noqa: BLE001  a network may raise anything
            return network
    return found


def open_(network: nn.Module, name: str) -> None:
    """Opens the attention that the layer `name` is part of, or stands beside, in place.

    Beside: torch's transformer layers read the weights of all their layers in a fused path that
    needs their attention closed, and on tensors that hold no padding.
    """
    parts = name.split(".")
    around = [network.get_submodule(".".join(parts[:depth])) for depth in range(len(parts))]
    for module in around:
        _unnest_(module)
    asked = [m.self_attn if isinstance(m, nn.TransformerEncoderLayer) else m for m in around]
    if any(isinstance(module, nn.MultiheadAttention) for module in asked):
        keys, fit = {id(module) for module in asked}, _fit(network)
        _replace_(network, {key: Attention(one) for key, one in fit.items() if key in keys})


def _unnest_(module: nn.Module) -> None:
    if isinstance(module, nn.TransformerEncoder):
        module.use_nested_tensor = False


def _replace_(network: nn.Module, made: Mapping[int, Attention]) -> None:
    """Puts each of `made` where the module of that identity is, with weights of its own."""
    for attention in made.values():
        for parameter in attention.parameters():
            parameter.data = parameter.data.clone()
    for parent in list(network.modules()):
        for child, module in parent._modules.items():
            if id(module) in made:
                parent._modules[child] = made[id(module)]


def _fit(network: nn.Module) -> dict[int, nn.MultiheadAttention]:
    """Each attention that `Attention` can replace, by identity."""
    holders = Counter(id(p) for m in network.modules() for p in m.parameters(recurse=False))
    return {
        id(module): module
        for module in network.modules()
        if type(module) is nn.MultiheadAttention
        and module.bias_k is None
        and not module.add_zero_attn
        and not (module._forward_hooks or module._forward_pre_hooks)
        and not parametrize.is_parametrized(module)
        and all(holders[id(p)] == 1 for p in module.parameters())
    }


def _opened(
    module: nn.Module, fit: dict[int, nn.MultiheadAttention], made: dict[int, nn.Module]
) -> nn.Module:
    """`module`, copied only where an attention is inside; `made` has what was met before."""
    if id(module) in made:
        return made[id(module)]
    if id(module) in fit:
        made[id(module)] = Attention(fit[id(module)])
        return made[id(module)]
    made[id(module)] = module
    held = {key: m and _opened(m, fit, made) for key, m in module._modules.items()}
    if any(held[key] is not m for key, m in module._modules.items()):
        found = copy.copy(module)
        found.__dict__["_modules"] = held
        _unnest_(found)
        made[id(module)] = found
    return made[id(module)]
