"""Recording needs CUDA; without it only the plain way is tested."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from trp_search.records import Energy
from trp_search.training.passes import Eager, Passes, Recorded
from trp_search.training.regulariser import TrainedRankPruning
from trp_search.workloads.residual import ResidualNetwork

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
Kind = Callable[[nn.Module, Callable[[Tensor, Tensor], Tensor]], Passes]


class Dropped(nn.Module):
    """A network that draws random numbers and, if it is to, looks at a value on the host."""

    def __init__(self, *, looks: bool) -> None:
        super().__init__()
        self.looks = looks
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1))
        self.head = nn.Linear(8, 10)

    def forward(self, images: Tensor) -> Tensor:
        assert not self.looks or float(images.sum()) < torch.inf
        return self.head(self.body(images).flatten(1))


def residual() -> nn.Module:
    return ResidualNetwork(blocks=1, widths=(8, 16, 16), channels=3, classes=10)


def trained(
    kind: Kind, device: str, build: Callable[[], nn.Module] = residual
) -> tuple[Tensor, nn.Module, Passes]:
    """Losses of twelve steps with TRP in float64, the network and its passes."""
    torch.manual_seed(0)
    network = build().to(device, torch.float64).train()
    passes = kind(network, lambda x, y: functional.cross_entropy(network(x), y))
    pruning = TrainedRankPruning(
        network,
        torch.zeros(1, 3, 8, 8, dtype=torch.float64, device=device),
        Energy(0.9),
        period=5,
        nuclear_weight=1e-2,
    )
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    draws = torch.Generator().manual_seed(1)
    losses = []
    for _ in range(12):
        images = torch.randn(16, 3, 8, 8, generator=draws).to(device, torch.float64)
        labels = torch.randint(10, (16,), generator=draws).to(device)
        pruning.before_forward()
        losses.append(passes(images, labels))
        pruning.before_step()
        optimizer.step()
    return torch.stack(losses), network, passes


def test_gradients_take_the_place_of_earlier_ones():
    network = nn.Linear(2, 3)
    passes = Eager(network, lambda x, y: functional.cross_entropy(network(x), y))
    images, labels = torch.randn(5, 2), torch.tensor([0, 1, 2, 0, 1])
    first = passes(images, labels)
    assert not first.requires_grad
    once = network.weight.grad.clone()
    assert torch.equal(passes(images, labels), first)
    assert torch.equal(network.weight.grad, once)


@needs_cuda
def test_recorded_steps_are_the_plain_ones():
    plain, one, _ = trained(Eager, "cuda")
    fast, other, passes = trained(Recorded, "cuda")
    assert passes._graph is not None
    torch.testing.assert_close(fast, plain, rtol=1e-9, atol=1e-12)
    for name, tensor in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], tensor, rtol=1e-9, atol=1e-12)


@needs_cuda
def test_a_network_that_draws_is_recorded_and_draws_anew_each_time():
    losses, _, passes = trained(Recorded, "cuda", lambda: Dropped(looks=False))
    assert passes._graph is not None
    assert len(set(losses.tolist())) == len(losses)


@needs_cuda
def test_a_network_that_looks_at_a_value_trains_on_as_it_is():
    with pytest.warns(UserWarning, match="trained without a CUDA graph"):
        losses, _, passes = trained(Recorded, "cuda", lambda: Dropped(looks=True))
    assert passes._graph is None
    assert losses.isfinite().all()
