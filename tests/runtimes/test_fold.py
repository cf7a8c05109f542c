from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from trp_search.runtimes.fold import fold_batch_norm


@pytest.mark.parametrize("which", ["plain", "pairs"])
def test_a_folded_network_answers_as_before_without_batch_norms(
    which: str, images: Tensor, request: pytest.FixtureRequest
):
    network: nn.Module = request.getfixturevalue(which)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    folded, said = fold_batch_norm(network, images)
    assert said == "folded"
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    torch.testing.assert_close(folded(images), network(images), rtol=1e-4, atol=1e-5)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_network_without_batch_norm_says_so(images: Tensor):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    folded, said = fold_batch_norm(network, images)
    assert said == "none in the network"
    assert torch.equal(folded(images), network(images))


def test_a_batch_norm_that_follows_no_convolution_is_left_and_told(images: Tensor):
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    folded, said = fold_batch_norm(network, images)
    assert said == "1 of 2 folded"
    torch.testing.assert_close(folded(images), network(images))


class Branching(nn.Module):
    """Its path depends on the images, so that it cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images) if images.sum() > 0 else self.body(-images)


def test_a_network_that_cannot_be_traced_is_left_and_told(images: Tensor):
    network = Branching().eval()
    folded, said = fold_batch_norm(network, images)
    assert said == "not folded: TraceError"
    assert torch.equal(folded(images), network(images))


class Shared(nn.Module):
    """One convolution under two batch norms: folding either would change the other's."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.one, self.other = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.one.running_mean = torch.tensor([1.0, 2.0, 3.0])

    def forward(self, images: Tensor) -> Tensor:
        return self.other(self.conv(self.one(self.conv(images))))


def test_a_network_that_would_answer_otherwise_is_left_and_told(images: Tensor):
    network = Shared().eval()
    folded, said = fold_batch_norm(network, images)
    assert torch.allclose(folded(images), network(images), atol=1e-5)
    assert said == "not folded: the answers would change"
