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

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its import scripts functions, which torch deprecates
    from fvcore.nn import FlopCountAnalysis, jit_handles

Handle = Callable[[list[Any], list[Any]], Any]


def _attention(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """Two products per head: queries with keys (..., L, S), and those weights with values."""
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

# Free by convention: batch norm folds into its convolution; the rest is element-wise, pooling,
# activation or a change of shape, which the literature's counts leave out.
FREE = (  # noqa: SIM905  read as words
    "batch_norm layer_norm group_norm "
    "relu relu_ relu6 hardtanh hardtanh_ hardswish hardswish_ hardsigmoid hardsigmoid_ sigmoid "
    "sigmoid_ silu silu_ gelu leaky_relu leaky_relu_ elu elu_ prelu tanh tanh_ softmax log_softmax "
    "max_pool2d avg_pool2d adaptive_avg_pool2d adaptive_max_pool2d mean sum max min "
    "add add_ sub sub_ rsub mul mul_ div div_ neg sqrt pow exp log clamp clamp_ clamp_min "
    "maximum minimum norm linalg_vector_norm dropout dropout_ feature_dropout "
    "flatten reshape view permute transpose t contiguous unflatten unsqueeze squeeze chunk split "
    "split_with_sizes cat stack slice select index index_put_ expand expand_as repeat roll pad "
    "constant_pad_nd pixel_shuffle narrow unbind meshgrid copy_ clone detach to type_as alias "
    "zeros zero_ ones zeros_like ones_like full full_like new_zeros new_full new_empty empty "
    "arange fill_ "
    "size numel Int ScalarImplicit floor_divide remainder masked_fill ne eq gt lt ge le "
    "upsample_nearest2d upsample_bilinear2d"
).split()

_TABLE: dict[str, Handle | None] = {
    **{f"aten::{name}": None for name in FREE},
    **{f"aten::{name}": handle for name, handle in COUNTED.items()},
}


@dataclass(frozen=True, kw_only=True)
class Count:
    """Multiply-adds of one forward pass, and the operators that no table knows."""

    macs: int
    unknown: tuple[str, ...]


def count(network: nn.Module, example_input: Tensor) -> Count:
    """Counts one forward pass of `network` in evaluation mode on a (1, C, H, W) `example_input`.

    A count with `unknown` operators is not one to publish: they were taken as zero.
    """
    modes = {module: module.training for module in network.modules()}
    fast_path = torch.backends.mha.get_fastpath_enabled()
    network.eval()
    # The fused path hides attention's products in one operator.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        analysis = FlopCountAnalysis(network, example_input)
        analysis.unsupported_ops_warnings(enabled=False)
        analysis.uncalled_modules_warnings(enabled=False)
        analysis.tracer_warnings("none")
        analysis.clear_op_handles()
        analysis.set_op_handle(**_TABLE)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            macs = int(analysis.total())
            unknown = tuple(sorted(analysis.unsupported_ops()))
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        for module, training in modes.items():
            module.training = training
    return Count(macs=macs, unknown=unknown)
