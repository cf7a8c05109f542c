"""Multiply-adds of single operators in a traced graph, and the operators that are free."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from math import isqrt, prod
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

Handle = Callable[[list[Any], list[Any]], int]


def _shape(value: Any) -> tuple[int, ...]:  # noqa: ANN401  a value of a graph, which torch types so
    return tuple(value.type().sizes())


def _sizes(values: Any) -> Iterator[tuple[int, ...]]:  # noqa: ANN401
    """Shapes of the tensors of a list in a graph."""
    return (_shape(value) for value in values.node().inputs())


def _convolution(inputs: list[Any], outputs: list[Any]) -> int:
    weight = _shape(inputs[1])
    transposed = len(inputs) > _TRANSPOSED and inputs[_TRANSPOSED].toIValue() is True
    positions = prod(_shape(inputs[0] if transposed else outputs[0])) // weight[0]
    return prod(weight) * positions


_TRANSPOSED = 6  # the argument of aten::convolution


def _deformable(inputs: list[Any], outputs: list[Any]) -> int:
    return _convolution([inputs[0], inputs[1]], outputs)


def _product(at: int) -> Handle:
    """A product of arguments `at` and after; the last axis of the first one is summed over."""

    def handle(inputs: list[Any], outputs: list[Any]) -> int:
        return prod(_shape(outputs[0])) * _shape(inputs[at])[-1]

    return handle


def _added_product(inputs: list[Any], outputs: list[Any]) -> int:
    """A sum over the batch of products."""
    del outputs
    return prod(_shape(inputs[1])) * _shape(inputs[2])[-1]


def _contraction(inputs: list[Any], outputs: list[Any]) -> int:
    """Free axes of both sides and the summed axes, each size once."""
    return isqrt(prod(_shape(inputs[0])) * prod(_shape(inputs[1])) * prod(_shape(outputs[0])))


def _chain(inputs: list[Any], outputs: list[Any]) -> int:
    del outputs
    return _by_torch(torch.linalg.multi_dot, *_sizes(inputs[0]))


def _einsum(inputs: list[Any], outputs: list[Any]) -> int:
    del outputs
    equation = inputs[0].toIValue()
    return _by_torch(lambda given: torch.einsum(equation, *given), *_sizes(inputs[1]))


def _by_torch(call: Callable[..., Any], *shapes: tuple[int, ...]) -> int:
    """Multiply-adds of the products that torch makes of `call` on tensors of these `shapes`."""
    with FlopCounterMode(display=False) as counter:
        call([torch.empty(shape, device="meta") for shape in shapes])
    return int(counter.get_total_flops()) // 2


def _bilinear(inputs: list[Any], outputs: list[Any]) -> int:
    """Each output weighs all pairs of one entry of either side."""
    return prod(_shape(outputs[0])) * prod(_shape(inputs[2])[1:])


def _recurrent(inputs: list[Any], outputs: list[Any]) -> int:
    """Each matrix of a layer acts at every step; packed sequences are counted as they are."""
    del outputs
    lists = [value for value in inputs if value.node().kind() == "prim::ListConstruct"]
    every = [size for value in lists for size in _sizes(value)]
    return prod(_shape(inputs[0])[:-1]) * sum(prod(size) for size in every if len(size) == _MATRIX)


_MATRIX = 2


def _cell(inputs: list[Any], outputs: list[Any]) -> int:
    del outputs
    return prod(_shape(inputs[0])[:-1]) * sum(prod(_shape(weight)) for weight in inputs[2:4])


def _attention(inputs: list[Any], outputs: list[Any]) -> int:
    """Two products per head: queries with keys (..., L, S), and attention weights with values."""
    keys = _shape(inputs[1])[-2]
    return (prod(_shape(inputs[0])) + prod(_shape(outputs[0]))) * keys


COUNTED: dict[str, Handle] = {
    **dict.fromkeys(
        ("_convolution", "_convolution_mode", "convolution", "thnn_conv2d"), _convolution
    ),
    **dict.fromkeys(
        ("linear", "mm", "bmm", "mv", "dot", "vdot", "inner", "matmul", "linalg_matmul"),
        _product(0),
    ),
    **dict.fromkeys(("addmm", "baddbmm", "addmv"), _product(1)),
    **dict.fromkeys(("linalg_multi_dot", "chain_matmul"), _chain),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), _recurrent),
    **dict.fromkeys(("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"), _cell),
    "addbmm": _added_product,
    "tensordot": _contraction,
    "einsum": _einsum,
    "bilinear": _bilinear,
    "scaled_dot_product_attention": _attention,
}

# Free by convention: batch norm folds into its convolution; the rest is normalisation, pooling,
# activation, resampling or a change of shape, which the literature's counts leave out. Operators
# that torch itself calls element-wise, or views, are not listed: see `is_free`.
FREE = {
    "normalisation": "*_norm *layer_norm* *batch_norm* norm norm_except_dim renorm weight_norm* "
    "_weight_norm* cosine_similarity pairwise_distance dist",
    "activation": "*softmax *sigmoid* *hardswish* *prelu* glu rrelu* *dropout special_*",
    "pooling": "*_pool[123]d* *unpool[23]d",
    "resampling": "*upsample_* grid_sampler* *affine_grid_generator *pixel_shuffle "
    "*pixel_unshuffle *channel_shuffle im2col col2im",
    "reduction": "sum* nansum mean nanmean prod all any amin amax argmin argmax aminmax var "
    "var_mean std std_mean median nanmedian mode kthvalue logsumexp cum* logcumsumexp "
    "count_nonzero trace diff *quantile trapz trapezoid",
    "creation": "zeros* ones* full* empty* new_* *_like rand* normal* uniform* bernoulli* "
    "multinomial arange range linspace logspace eye *_window tri[lu]_indices scalar_tensor "
    "one_hot zero fill* lift* complex polar",
    "copy": "clone copy *to_copy type_as to _cast_* contiguous *_copy item _local_scalar_dense "
    "_shape_as_tensor resize* set set_data",
    "shape": "cat concat* *stack repeat* tile roll flip* rot90 *pad *pad[123]d constant_pad_nd "
    "_pad_* *pad_sequence pad_packed_sequence *pack_padded_sequence diag* block_diag tril triu "
    "meshgrid cartesian_prod combinations broadcast_tensors atleast_[123]d unsafe_* _unsafe_view "
    "sum_to_size reshape_as",
    "indexing": "*index* *scatter* gather take* masked_* put select* where nonzero* argwhere "
    "searchsorted bucketize isin *unique* embedding* histc bincount",
    "order": "*sort topk",
    "comparison": "equal allclose isclose isreal is_* *equal less* greater* __* floor_divide",
    "other names of element-wise operators": "absolute arc* divide fix multiply negative subtract "
    "true_divide *cross outer ger kron addr",
    "loss": "*_loss* binary_cross_entropy* kl_div",
    "question": "data size* dim numel stride storage_offset sym_* Int Float Bool ScalarImplicit "
    "FloatImplicit IntImplicit len __range_length _assert* get_device result_type",
}
_PATTERNS = tuple(pattern for kind in FREE.values() for pattern in kind.split())
# Of other libraries, and the only normalisation in Python.
_FOREIGN = {"prim::PythonOp.CrossMapLRN2d", "torchvision::nms", "torchvision::roi_align"}
_FOREIGN |= {"torchvision::roi_pool", "torchvision::ps_roi_align", "torchvision::ps_roi_pool"}
HANDLES: dict[str, Handle] = {
    **{f"aten::{name}": handle for name, handle in COUNTED.items()},
    "torchvision::deform_conv2d": _deformable,
}


def is_free(operator: str) -> bool:
    """Whether an operator multiplies by no matrix: by its kind, or by what torch says of it."""
    space, _, name = operator.partition("::")
    if space != "aten":
        return operator in _FOREIGN
    name = name.removesuffix("_")  # in-place operators lack tags
    if any(fnmatchcase(name, pattern) for pattern in _PATTERNS):
        return True
    packet = getattr(torch.ops.aten, name, None)
    overloads = [getattr(packet, one) for one in packet.overloads()] if packet else []
    return any(torch.Tag.pointwise in one.tags or _views(one) for one in overloads)


def _views(overload: torch._ops.OpOverload) -> bool:
    returned = overload._schema.returns
    return bool(returned) and all(r.alias_info and not r.alias_info.is_write for r in returned)
