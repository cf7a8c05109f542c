"""Torch's attention, opened: the same outputs, from four layers that can be factored."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import VisionTransformer

from trp_search import Energy, Speedup, TrainedRankPruning, decompose
from trp_search.export.weightless import Weightless, give_memory_
from trp_search.lowrank.attention import Attention, opened
from trp_search.lowrank.rebuild import rebuild
from trp_search.lowrank.tracing import layer_by_layer
from trp_search.records import Error, Joint, Parameters, Ratio, Value
from trp_search.runtimes.onnx import onnx_session, write_onnx
from trp_search.runtimes.pt2 import write_program
from trp_search.training.joint import JointTraining

TOKENS = torch.randn(2, 6, 16, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
PROJECTIONS = ("q", "k", "v", "out_proj")


def encoder(*, batch_first=True):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=batch_first)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=batch_first).eval()


def vision(*, layers=2):
    torch.manual_seed(0)
    network = VisionTransformer(16, 8, layers, 2, 16, 32, num_classes=5)
    nn.init.normal_(network.heads.head.weight)
    return network.eval()


def both():
    torch.manual_seed(0)
    return nn.Transformer(16, 2, 1, 1, 32, batch_first=True).eval()


class Crossed(nn.Module):
    """Keys and values of other widths than the queries, and weights that are asked for."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.attention = nn.MultiheadAttention(16, 4, kdim=12, vdim=20, batch_first=True)

    def forward(self, x):
        mixed, weights = self.attention(x, x[..., :12], torch.cat([x, x[..., :4]], -1))
        return mixed + weights.sum(1).unsqueeze(-1)


NETWORKS = {
    "encoder": (encoder(), TOKENS),
    "sequence first": (encoder(batch_first=False), TOKENS),
    "vision": (vision(), IMAGES),
    "encoder and decoder": (both(), (TOKENS, TOKENS[:, :4])),
    "other widths": (Crossed().eval(), TOKENS),
}
each = pytest.mark.parametrize("name", NETWORKS)


def called(network, example):
    with torch.no_grad(), layer_by_layer():
        return network(*(example if isinstance(example, tuple) else (example,)))


def counted(network, example):
    with FlopCounterMode(display=False) as counter:
        called(network, example)
    return counter.get_flop_counts()


def total(network, example):
    return sum(counted(network, example)["Global"].values()) // 2


@given(
    batch_first=st.booleans(),
    batched=st.booleans(),
    bias=st.booleans(),
    widths=st.sampled_from([{}, {"kdim": 6, "vdim": 10}]),
    mask=st.sampled_from(["none", "full", "by head"]),
    padded=st.booleans(),
    added=st.booleans(),
    asked=st.booleans(),
    averaged=st.booleans(),
)
@settings(deadline=None, max_examples=80)
def test_opened_attention_answers_as_torchs(
    batch_first, batched, bias, widths, mask, padded, added, asked, averaged
):
    torch.manual_seed(0)
    closed = nn.MultiheadAttention(8, 2, bias=bias, batch_first=batch_first, **widths).eval()
    if bias:
        nn.init.normal_(closed.in_proj_bias)
    sizes = (5, 8), (7, widths.get("kdim", 8)), (7, widths.get("vdim", 8))
    drawn = [torch.randn(3, length, width) for length, width in sizes]
    taken = [x if batch_first else x.transpose(0, 1) for x in drawn]
    padding = torch.zeros(3, 7, dtype=torch.bool)
    padding[:, 5:] = True
    hidden = {"none": None, "full": torch.rand(5, 7) < 0.2, "by head": torch.rand(6, 5, 7) < 0.2}
    masks = [padding if padded else None, hidden[mask]]
    if added:
        masks = [None if one is None else -9.0 * one for one in masks]
    if not batched:
        taken = [x[0] for x in drawn]
        masks[0] = masks[0][0] if padded else None
        masks[1] = masks[1][:2] if mask == "by head" else masks[1]
    options = dict(zip(("key_padding_mask", "attn_mask"), masks, strict=True))
    options |= {"need_weights": asked, "average_attn_weights": averaged}
    torch.testing.assert_close(Attention(closed)(*taken, **options), closed(*taken, **options))


def test_a_causal_hint_is_taken_as_torch_takes_it():
    torch.manual_seed(0)
    closed = nn.MultiheadAttention(16, 2, batch_first=True).eval()
    mask = nn.Transformer.generate_square_subsequent_mask(6)
    for asked in (True, False):
        options = {"attn_mask": mask, "is_causal": True, "need_weights": asked}
        expected = closed(TOKENS, TOKENS, TOKENS, **options)
        torch.testing.assert_close(Attention(closed)(TOKENS, TOKENS, TOKENS, **options), expected)
    with pytest.raises(RuntimeError, match="is_causal"):
        Attention(closed)(TOKENS, TOKENS, TOKENS, is_causal=True)


@each
def test_at_full_rank_a_network_is_itself(name):
    network, example = NETWORKS[name]
    before = copy.deepcopy(network.state_dict())
    names = [layer.name for layer in decompose(network, example, Energy(1.0)).layers]
    cut = decompose(network, example, dict.fromkeys(names, 99))
    assert all(layer.rank == layer.full_rank for layer in cut.layers)
    torch.testing.assert_close(
        called(cut.network, example), called(network, example), rtol=1e-5, atol=1e-5
    )
    assert network.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())


@each
@pytest.mark.parametrize("scheme", ["channel", "per-layer"])
def test_a_cut_costs_what_its_records_say(name, scheme):
    network, example = NETWORKS[name]
    cut = decompose(network, example, Speedup(2), scheme=scheme)
    found, images = counted(cut.network, example), 2
    for layer in cut.layers:
        inside = found[f"{type(cut.network).__name__}.{layer.name}"] if layer.rank else None
        assert inside is None or sum(inside.values()) == 2 * images * layer.macs, layer.name
    dense = total(network, example)
    saved = images * sum(layer.dense_macs - layer.macs for layer in cut.layers)
    assert total(cut.network, example) == dense - saved <= dense / 2
    fewer = sum(layer.dense_parameters - layer.parameters for layer in cut.layers)
    numbers = [sum(p.numel() for p in one.parameters()) for one in (network, cut.network)]
    assert numbers[0] - numbers[1] == fewer


@each
def test_a_network_is_rebuilt_from_its_records(name):
    network, example = NETWORKS[name]
    cut = decompose(network, example, Parameters(sum(p.numel() for p in network.parameters()) // 2))
    fresh = copy.deepcopy(network)
    with Weightless(most=200):
        rebuild(fresh.to("meta"), cut.layers)
    give_memory_(fresh)
    fresh.load_state_dict(cut.network.state_dict())
    assert torch.equal(called(fresh, example), called(cut.network, example))


@each
@pytest.mark.parametrize("keep", [Ratio(0.3), Value(0.6)])
def test_what_training_truncated_is_cut_without_loss(name, keep):
    network, example = copy.deepcopy(NETWORKS[name])
    pruning = TrainedRankPruning(network, example, keep, period=1, layers="all")
    pruning.before_forward()
    cut = decompose(network, example, keep, layers="all")
    parts = [layer for layer in cut.layers if layer.name.endswith(PROJECTIONS)]
    assert any(layer.rank is not None for layer in parts)
    close = called(cut.network, example), called(network, example)
    torch.testing.assert_close(*close, rtol=1e-4, atol=1e-4)


def test_the_nuclear_term_pulls_at_a_packed_weight_as_at_three():
    closed = nn.Sequential(Crossed(), encoder())
    pull = TrainedRankPruning(
        closed, TOKENS, Energy(0.5), period=1, projection=False, nuclear_weight=0.1, layers="all"
    )
    for parameter in closed.parameters():
        parameter.grad = torch.zeros_like(parameter)
    pull.before_forward()
    pull.before_step()
    packed = closed[1].layers[0].self_attn.in_proj_weight
    for part, gradient in zip(packed.chunk(3), packed.grad.chunk(3), strict=True):
        left, values, right = torch.linalg.svd(part.detach())
        rank = int((values.square().cumsum(0) < 0.5 * values.square().sum()).sum()) + 1
        expected = 0.1 * left[:, :rank] @ right[:rank]
        torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-4)


def test_joint_training_at_the_highest_ratio_is_training():
    network = encoder()
    joint = JointTraining(network, TOKENS, Joint(lowest=1.0, highest=1.0, rank_min=16))

    def passes():
        network.zero_grad()
        loss = network(TOKENS).square().sum()
        loss.backward()
        return loss

    joint.backward(passes)
    found = [parameter.grad.clone() for parameter in network.parameters()]
    passes()
    expected = [parameter.grad for parameter in network.parameters()]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("scheme", ["ddlr-style", "net-trim"])
def test_solved_cuts_reach_into_attention(scheme):
    network = encoder()
    cut = decompose(network, TOKENS, Error(0.4), scheme=scheme, calibration=[TOKENS])
    parts = [layer for layer in cut.layers if layer.name.endswith(PROJECTIONS)]
    assert any(layer.reason is None for layer in parts)
    error = called(cut.network, TOKENS) - called(network, TOKENS)
    assert 0 < error.norm() < called(network, TOKENS).norm()


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")  # torch's own fused path
@pytest.mark.parametrize("part", ["linear1", "self_attn.k"])
def test_a_layer_that_is_cut_is_called_where_torch_would_fuse(part):
    network = encoder()
    cut = decompose(network, TOKENS, {f"layers.0.{part}": 16}).network.eval()
    padding = torch.zeros(2, 6, dtype=torch.bool)
    padding[:, 4:] = True
    with torch.no_grad():
        torch.testing.assert_close(cut(TOKENS), network(TOKENS), rtol=1e-4, atol=1e-4)
        found, expected = (x(TOKENS, src_key_padding_mask=padding) for x in (cut, network))
    torch.testing.assert_close(found[:, :4], expected[:, :4], rtol=1e-4, atol=1e-4)


def test_attention_of_which_nothing_is_cut_stays_torchs():
    cut = decompose(vision(), IMAGES, {"heads.head": 2})
    assert any(type(module) is nn.MultiheadAttention for module in cut.network.modules())
    assert not any(isinstance(module, Attention) for module in cut.network.modules())


class Reads(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.attention, self.last = nn.MultiheadAttention(16, 2), nn.Linear(16, 16)

    def forward(self, x):
        return self.last(self.attention(x, x, x)[0]) * self.attention.in_proj_weight.mean()


def twice():
    network = nn.Sequential(encoder(), encoder())
    network[1].layers[0].self_attn.in_proj_weight = network[0].layers[0].self_attn.in_proj_weight
    return network


def more(**options):
    network = encoder()
    for layer in network.layers:
        layer.self_attn = nn.MultiheadAttention(16, 2, batch_first=True, **options)
    return network.eval()


@pytest.mark.parametrize(
    "network",
    [Reads(), twice(), more(add_bias_kv=True), more(add_zero_attn=True)],
    ids=["read", "shared", "bias_kv", "zero_attn"],
)
def test_attention_that_cannot_be_opened_stays_dense_with_the_reason(network):
    cut = decompose(network, TOKENS, Energy(0.3))
    kept = [layer for layer in cut.layers if layer.name.endswith(PROJECTIONS)]
    assert "attention reads its weight directly" in {layer.reason for layer in kept}
    before = counted(network.eval(), TOKENS)
    saved = 2 * sum(layer.dense_macs - layer.macs for layer in cut.layers)
    assert total(cut.network, TOKENS) == sum(before["Global"].values()) // 2 - saved


def test_opening_shares_all_weights_and_copies_only_what_holds_attention():
    network = nn.Sequential(nn.Linear(16, 16), encoder())
    found = opened(network, TOKENS)
    assert found[0] is network[0]
    assert type(network[1].layers[0].self_attn) is nn.MultiheadAttention
    packed = network[1].layers[0].self_attn.in_proj_weight
    assert found[1].layers[0].self_attn.k.weight.data_ptr() == packed[16:].data_ptr()
    assert opened(nn.Sequential(nn.Linear(2, 2))) is not found
    plain = nn.Sequential(nn.Linear(2, 2))
    assert opened(plain) is plain


def test_a_network_with_cut_attention_is_written_as_onnx_and_as_a_program(tmp_path):
    name = "encoder.layers.encoder_layer_0"
    ranks = {f"{name}.self_attention.{part}": 4 for part in PROJECTIONS} | {f"{name}.mlp.0": 4}
    network = decompose(vision(layers=1), IMAGES, ranks).network.eval()
    expected = called(network, IMAGES)
    write_onnx(network, IMAGES, tmp_path / "network.onnx")
    found = onnx_session(tmp_path / "network.onnx", device="cpu", threads=1)(IMAGES)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    write_program(network, IMAGES, tmp_path / "network.pt2")
    program = torch.export.load(tmp_path / "network.pt2").module()
    torch.testing.assert_close(called(program, IMAGES), expected, rtol=1e-4, atol=1e-4)


def test_records_without_projections_leave_attention_as_it_was_stored():
    network = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(16, 4, 32), 1, enable_nested_tensor=False
    )
    cut = decompose(network, TOKENS, {"layers.0.linear1": 4})
    earlier = [layer for layer in cut.layers if not layer.name.endswith((".q", ".k", ".v"))]
    fresh = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(16, 4, 32), 1, enable_nested_tensor=False
    )
    rebuild(fresh, earlier)
    assert type(fresh.layers[0].self_attn) is nn.MultiheadAttention
    assert len(fresh.layers[0].linear1) == 2
