"""Multiply-adds of a network, by fvcore. One multiply-add counts one."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from trp_search.lowrank.tracing import layer_by_layer
from trp_search.progress import tell
from trp_search.tasks.modes import evaluating

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # importing it scripts functions, which torch deprecates
    from fvcore.nn import FlopCountAnalysis, jit_handles

Handle = Callable[[list[Any], list[Any]], Any]


def _attention(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """Two products per head: queries with keys (..., L, S), and attention weights with values."""
    query, key = jit_handles.get_shape(inputs[0]), jit_handles.get_shape(inputs[1])
    result = jit_handles.get_shape(outputs[0])
    return Counter({"attention": prod(query) * key[-2] + prod(result) * key[-2]})


COUNTED: dict[str, Handle] = {
    "_convolution": jit_handles.conv_flop_jit,
    "linear": jit_handles.linear_flop_jit,
    "addmm": jit_handles.addmm_flop_jit,
    "mm": jit_handles.matmul_flop_jit,
    "matmul": jit_handles.matmul_flop_jit,
    "bmm": jit_handles.bmm_flop_jit,
    "einsum": jit_handles.einsum_flop_jit,
    "scaled_dot_product_attention": _attention,
}

# Free by convention: batch norm folds into its convolution; the rest is normalisation, pooling,
# activation or a change of shape, which the literature's counts leave out. Operators that torch
# itself calls element-wise, or views, are not listed: see `_is_free`.
FREE = (  # noqa: SIM905  read as words
    "batch_norm layer_norm group_norm instance_norm rms_norm _weight_norm "
    "hardswish hardswish_ prelu glu log_sigmoid softmax log_softmax norm linalg_vector_norm "
    "max_pool1d max_pool1d_with_indices max_pool2d max_pool2d_with_indices max_pool3d "
    "max_pool3d_with_indices max_unpool2d max_unpool3d avg_pool1d avg_pool2d avg_pool3d "
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d "
    "adaptive_max_pool2d adaptive_max_pool3d fractional_max_pool2d fractional_max_pool3d "
    "mean sum amax amin argmax argmin var std "
    "dropout dropout_ feature_dropout alpha_dropout feature_alpha_dropout "
    "unsafe_chunk unsafe_split cat stack index index_put_ repeat roll pad constant_pad_nd "
    "im2col col2im pixel_shuffle pixel_unshuffle channel_shuffle meshgrid copy_ type_as "
    "zeros zero_ ones zeros_like ones_like full full_like new_zeros new_full new_empty empty "
    "arange fill_ rand randn rand_like randn_like size numel Int ScalarImplicit floor_divide "
    "upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d "
    "_upsample_nearest_exact2d _upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d "
    "upsample_trilinear3d upsample_bicubic2d"
).split()

_TABLE: dict[str, Handle | None] = {
    **{f"aten::{name}": None for name in FREE},
    **{f"aten::{name}": handle for name, handle in COUNTED.items()},
}


def _is_free(operator: str) -> bool:
    """Whether torch calls the operator element-wise, or its result a view of its input."""
    if operator == "prim::PythonOp.CrossMapLRN2d":  # the only normalisation in Python
        return True
    name = operator.removeprefix("aten::").removesuffix("_")  # in-place operators lack tags
    packet = getattr(torch.ops.aten, name, None)
    overloads = [getattr(packet, one) for one in packet.overloads()] if packet else []
    return any(torch.Tag.pointwise in one.tags or _views(one) for one in overloads)


def _views(overload: torch._ops.OpOverload) -> bool:
    returned = overload._schema.returns
    return bool(returned) and all(r.alias_info and not r.alias_info.is_write for r in returned)


@dataclass(frozen=True, kw_only=True)
class Count:
    """Multiply-adds of one forward pass, and the operators of unknown cost."""

    macs: int
    unknown: tuple[str, ...]


def count(network: nn.Module, example_input: Tensor) -> Count:
    """Counts one forward pass of `network` in evaluation mode on a (1, C, H, W) `example_input`.

    Do not publish a count with `unknown` operators, which count as zero.
    """
    tell("counting multiply-adds")
    # The fused path hides attention's products in one operator.
    with evaluating(network), layer_by_layer(), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        analysis = FlopCountAnalysis(network, example_input)
        analysis.unsupported_ops_warnings(enabled=False)
        analysis.uncalled_modules_warnings(enabled=False)
        analysis.tracer_warnings("none")
        analysis.clear_op_handles()
        analysis.set_op_handle(**_TABLE)
        macs = int(analysis.total())
        unsupported = sorted(analysis.unsupported_ops())
    unknown = tuple(name for name in unsupported if not _is_free(name))
    return Count(macs=macs, unknown=unknown)
