"""Sizes in bytes of a network's weights."""

from __future__ import annotations

from collections.abc import Sequence

from safetensors.torch import save
from torch import nn

from trp_search.lowrank.attention import weight_at
from trp_search.records import Layer

_INDEX_BYTES = 4


def weight_bytes(network: nn.Module, layers: Sequence[Layer] = ()) -> int:
    """Bytes of the weights file, with sparse `layers` as compressed rows."""
    state = {
        name: t.detach().cpu().clone().contiguous() for name, t in network.state_dict().items()
    }
    size = len(save(state))
    for layer in layers:
        if layer.is_sparse:
            packed, own = weight_at(network, layer.name)
            weight = packed[own]
            nonzeros = layer.parameters - (layer.dense_parameters - weight.numel())
            rows = csr_bytes(nonzeros, len(weight), bytes_per_value=weight.element_size())
            size += rows - weight.nbytes
    return size


def csr_bytes(nonzeros: int, rows: int, *, bytes_per_value: int = 4) -> int:
    """Bytes of a matrix in compressed sparse rows: values, columns, row starts."""
    return nonzeros * (bytes_per_value + _INDEX_BYTES) + (rows + 1) * _INDEX_BYTES
