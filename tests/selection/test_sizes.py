"""Bytes of weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import safetensors.torch
import scipy.sparse
import torch

from trp_search.records import Layer, Point
from trp_search.selection.sizes import csr_bytes, file_bytes


@pytest.fixture
def matrix() -> numpy.ndarray:
    draws = numpy.random.default_rng(0).random((7, 11)).astype(numpy.float32)
    return draws * (draws > 0.6)


def held(matrix: numpy.ndarray) -> int:
    stored = scipy.sparse.csr_matrix(matrix)
    return stored.data.nbytes + stored.indices.nbytes + stored.indptr.nbytes


def test_compressed_rows_take_what_scipy_holds(matrix: numpy.ndarray):
    assert csr_bytes(int(numpy.count_nonzero(matrix)), rows=7) == held(matrix)


@pytest.mark.parametrize("biases", [0, 7])
def test_a_sparse_layer_counts_as_compressed_rows(
    matrix: numpy.ndarray, biases: int, make_point: Callable[..., Point], tmp_path: Path
):
    tensors = {"last.weight": torch.from_numpy(matrix), "first.weight": torch.ones(4, 4)}
    tensors |= {"last.bias": torch.ones(biases)} if biases else {}
    safetensors.torch.save_file(tensors, tmp_path / "weights")
    kept = int(numpy.count_nonzero(matrix))
    layer = Layer(
        name="last",
        scheme="sparse",
        rank=None,
        full_rank=None,
        macs=kept,
        dense_macs=matrix.size,
        parameters=kept + biases,
        dense_parameters=matrix.size + biases,
        reason=None,
    )
    point = dataclasses.replace(make_point("1", correct=180, speedup=2.0), layers=(layer,))
    whole = (tmp_path / "weights").stat().st_size
    assert file_bytes(tmp_path / "weights", point) == whole - matrix.nbytes + held(matrix)
    dense = dataclasses.replace(point, layers=())
    assert file_bytes(tmp_path / "weights", dense) == whole
