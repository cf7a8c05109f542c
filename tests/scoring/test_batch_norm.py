import copy

import torch
from torch import nn

from trp_search.scoring.batch_norm import reestimate


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten())


def test_statistics_become_those_of_the_images():
    network = small()
    images = torch.randn(3, 10, 1, 6, 6)
    assert reestimate(network, images) == 30
    outputs = torch.stack([network[0](batch) for batch in images])
    means = outputs.mean((1, 3, 4)).mean(0)
    variances = torch.stack([o.var((0, 2, 3)) for o in outputs]).mean(0)
    torch.testing.assert_close(network[1].running_mean, means, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(network[1].running_var, variances, atol=1e-5, rtol=1e-4)


def test_weights_modes_and_momenta_stay():
    network = small().eval()
    network[2].train()
    before = copy.deepcopy(list(network.parameters()))
    reestimate(network, torch.randn(2, 5, 1, 6, 6))
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    assert [m.training for m in network] == [False, False, True, False]
    assert network[1].momentum == 0.1


def test_a_network_without_statistics_needs_no_images():
    assert reestimate(nn.Sequential(nn.Linear(2, 2)), iter([])) == 0
