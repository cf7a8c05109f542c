"""The layers that suit a network where nobody chose."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from trp_search.errors import InputError
from trp_search.lowrank.costs import settled
from trp_search.lowrank.decompose import decompose
from trp_search.records import Energy, NetworkSpec
from trp_search.training.regulariser import TrainedRankPruning
from trp_search.workloads.networks import build

IMAGE = torch.zeros(1, 3, 16, 16)


def encoder():
    return nn.Sequential(
        nn.Conv2d(3, 16, 4, 4),
        nn.Flatten(2),
        nn.Linear(16, 16),
        nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 1),
        nn.Linear(16, 4),
    )


def resnet():
    return build(NetworkSpec(name="small_resnet"), channels=3, classes=4)


@pytest.mark.parametrize(("make", "word"), [(encoder, "all"), (resnet, "kxk")])
def test_auto_is_where_the_multiply_adds_are(make, word):
    assert settled(make(), IMAGE, "auto") == word


@pytest.mark.parametrize("layers", ["auto", "all", "kxk", "3"])
def test_training_truncates_the_layers_that_a_cut_may_replace(layers):
    network = encoder()
    pruning = TrainedRankPruning(network, IMAGE, Energy(0.5), layers=layers)
    cut = decompose(network, IMAGE, Energy(0.5), layers=layers)
    dense = {layer.name for layer in cut.layers if layer.rank is None}
    saving = "no rank"  # a cut may find that nothing is saved, which training cannot know
    left = {x.name for x in cut.layers if x.name in dense and not x.reason.startswith(saving)}
    assert set(pruning.left_out) <= left
    assert set(pruning.layers).isdisjoint(pruning.left_out)
    assert set(pruning.layers) | set(pruning.left_out) == {layer.name for layer in cut.layers}


def test_a_pattern_is_kept_by_name_with_its_reason():
    cut = decompose(encoder(), IMAGE, Energy(0.3), layers="all, !4, !3.layers.*.self_attn")
    reasons = {layer.name: layer.reason for layer in cut.layers}
    assert reasons["4"] == "excluded by 4"
    assert reasons["3.layers.0.self_attn.q"] == "excluded by 3.layers.*.self_attn"
    assert cut.layers[0].rank is not None


def test_a_name_that_no_layer_has_is_one_line():
    with pytest.raises(InputError, match=r"^layers: 'body' matches no convolution"):
        decompose(resnet(), IMAGE, Energy(0.5), layers="body")


def test_settings_in_the_place_of_the_example_are_one_line():
    code = """
from torch import nn
from trp_search import Energy, InputError, TrainedRankPruning, decompose
network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.TransformerEncoderLayer(8, 2, 8))
for call in (TrainedRankPruning, decompose):
    try:
        call(network, Energy(0.5), Energy(0.5))
    except InputError as error:
        print(error)
"""
    # In a process of its own: here types are checked before the call.
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    line = "example_input: Energy(energy=0.5) is neither a tensor nor a list of arguments"
    assert found.stdout.splitlines() == [line, line]
