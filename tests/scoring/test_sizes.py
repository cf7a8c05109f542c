"""Bytes of weights."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import scipy.sparse
import torch
from torch import nn

from trp_search.records import Layer
from trp_search.runs.fine_tuning import hold_zeros
from trp_search.scoring.sizes import csr_bytes, weight_bytes
from trp_search.store import RunFolder
from trp_search.training.checkpoint import save_weights


@pytest.fixture
def matrix() -> numpy.ndarray:
    draws = numpy.random.default_rng(0).random((7, 11)).astype(numpy.float32)
    return draws * (draws > 0.6)


def held(matrix: numpy.ndarray) -> int:
    stored = scipy.sparse.csr_matrix(matrix)
    return stored.data.nbytes + stored.indices.nbytes + stored.indptr.nbytes


def sparse(name: str, *, kept: int, of: int, biases: int) -> Layer:
    return Layer(
        name=name,
        scheme="sparse",
        rank=None,
        full_rank=None,
        macs=kept,
        dense_macs=of,
        parameters=kept + biases,
        dense_parameters=of + biases,
        reason=None,
    )


def test_compressed_rows_take_what_scipy_holds(matrix: numpy.ndarray):
    assert csr_bytes(int(numpy.count_nonzero(matrix)), rows=7) == held(matrix)


@pytest.mark.parametrize("bias", [False, True])
def test_a_sparse_layer_counts_as_compressed_rows(
    matrix: numpy.ndarray, bias: bool, tmp_path: Path
):
    network = nn.Sequential(nn.Linear(4, 11), nn.Linear(11, 7, bias=bias))
    network[1].weight.data = torch.from_numpy(matrix)
    kept, biases = int(numpy.count_nonzero(matrix)), 7 * bias
    layer = sparse("1", kept=kept, of=matrix.size, biases=biases)
    save_weights(tmp_path / "weights", network)
    whole = (tmp_path / "weights").stat().st_size
    assert weight_bytes(network, [layer]) == whole - matrix.nbytes + held(matrix)
    assert weight_bytes(network) == whole


def test_a_sparse_part_of_an_attention_s_weight_counts_and_stays_sparse_while_it_trains():
    network = nn.MultiheadAttention(8, 2, batch_first=True)
    zeros = torch.rand(8, 8, generator=torch.Generator().manual_seed(0)) < 0.8
    with torch.no_grad():
        network.in_proj_weight[8:16][zeros] = 0
    kept = int((~zeros).sum())
    layer = sparse("k", kept=kept, of=64, biases=8)
    rows = csr_bytes(kept, rows=8)
    assert weight_bytes(network, [layer]) == weight_bytes(network) - 256 + rows
    remove = hold_zeros(network, layer)
    images = torch.randn(2, 3, 8)
    for held_now in (True, False):
        network.zero_grad()
        network(images, images, images)[0].square().sum().backward()
        gradient = network.in_proj_weight.grad
        assert gradient[8:16][zeros].any() != held_now
        assert gradient[:8].any()
        remove()


def test_tied_weights_are_stored_twice_and_counted_so(tmp_path: Path):
    network = nn.Sequential(nn.Linear(5, 5), nn.BatchNorm1d(5), nn.Linear(5, 5))
    network[2].weight = network[0].weight
    save_weights(tmp_path / "weights", network)
    assert weight_bytes(network) == (tmp_path / "weights").stat().st_size


def test_what_a_point_says_is_what_its_file_takes(trained_run: RunFolder):
    for point in trained_run.read_points():
        assert point.bytes == trained_run.weights(point).stat().st_size
        assert point.dense_bytes == trained_run.point("baseline").bytes
