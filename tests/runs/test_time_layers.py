"""The times of layers without a run; what they are is of no concern here."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trp_search import LatencySpeedup, TrainedRankPruning, decompose, time_layers
from trp_search.errors import InputError

IMAGES = torch.rand(2, 3, 9, 9)


def network():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 24, 3), nn.Flatten()
    return nn.Sequential(*layers)


@pytest.mark.slow
def test_layers_are_timed_on_a_copy_and_a_cut_keeps_to_what_the_table_says():
    given = network()
    times = time_layers(given, IMAGES, layers="all, !0", seconds=0.0)
    assert given.training
    assert all(
        a.equal(b)
        for a, b in zip(given.state_dict().values(), network().state_dict().values(), strict=True)
    )
    assert {name for name, _ in times.saved} == {"3"}
    assert times.total > 0
    best = times.total / min(
        times.total - max(steps.saved.values()) for steps in times.saved.values()
    )
    asked = max(1.0, 0.9 * best)
    cut = decompose(given.eval(), IMAGES, LatencySpeedup(asked), scheme="per-layer", times=times)
    assert times.total / times.milliseconds(cut.layers) >= asked * (1 - 1e-8)
    assert cut.layers[0].scheme is None


@pytest.mark.slow
def test_a_table_is_of_one_network_at_one_size():
    given, asked = network().eval(), LatencySpeedup(1)
    times = time_layers(given, IMAGES, seconds=0.0)
    other = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 48, 5), nn.Flatten())
    said = r"times: are of a network with \S+ multiply-adds for an image, not with \S+; call"
    for cut, images in ((other.eval(), IMAGES), (given, torch.rand(1, 3, 32, 32))):
        with pytest.raises(InputError, match=said):
            decompose(cut, images, asked, times=times)
        with pytest.raises(InputError, match=said):
            TrainedRankPruning(cut, images, asked, times=times)
    assert decompose(given, torch.rand(5, 3, 9, 9), asked, times=times).layers


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"example_input": torch.rand(3, 9)},
            r"example_input: has shape \(3, 9\), not \(n, c, h, w\)",
        ),
        ({"runtime": "jax"}, "time_layers: runtime: 'jax': input should be 'eager'"),
        ({"threads": 0}, "time_layers: threads: 0 is not in"),
    ],
)
def test_what_cannot_be_is_one_line(given, said):
    with pytest.raises(InputError, match=said):
        time_layers(network(), **{"example_input": IMAGES, **given})
