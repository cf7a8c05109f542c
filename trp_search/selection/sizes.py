"""How many bytes the weights of a network take."""

from __future__ import annotations

from pathlib import Path

from safetensors import safe_open

from trp_search.records import Point

_WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}


def file_bytes(path: Path, point: Point) -> int:
    """Of the file of the point's weights, its sparse layers as compressed rows would take them."""
    size = path.stat().st_size
    sparse = [layer for layer in point.layers if layer.is_sparse]
    if sparse:
        with safe_open(path, "np") as file:
            for layer in sparse:
                weight = file.get_slice(f"{layer.name}.weight")
                rows, columns = weight.get_shape()
                wide = _WIDTHS[weight.get_dtype()]
                nonzeros = layer.parameters - (layer.dense_parameters - rows * columns)
                size += csr_bytes(nonzeros, rows, bytes_per_value=wide) - wide * rows * columns
    return size


def csr_bytes(
    nonzeros: int, rows: int, *, bytes_per_value: int = 4, bytes_per_index: int = 4
) -> int:
    """What a matrix takes in compressed sparse rows: values, their columns, starts of rows."""
    return nonzeros * (bytes_per_value + bytes_per_index) + (rows + 1) * bytes_per_index
