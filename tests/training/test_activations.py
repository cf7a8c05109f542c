"""Truncations by activations, and by the scheme of each layer, are those of the cut."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from trp_search.errors import InputError
from trp_search.lowrank.decompose import decompose
from trp_search.lowrank.schemes import SCHEMES
from trp_search.records import Energy, Keep, Ratio, Speedup
from trp_search.training.regulariser import TrainedRankPruning

EXAMPLE = torch.zeros(1, 3, 10, 10)


def images(seed: int) -> torch.Tensor:
    """Some whose pixels and channels are far from independent."""
    drawn = torch.randn(12, 3, 10, 10, generator=torch.Generator().manual_seed(seed))
    return functional.avg_pool2d(drawn, 3, 1, 1) * torch.tensor([3.0, 1.0, 0.2]).reshape(3, 1, 1)


BATCHES = [images(0), images(1)]


def network() -> nn.Sequential:
    """Two layers of one shape, one of them nearly separable, a strided one and a linear one."""
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(12, 12, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(12, 12, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(12, 20, (3, 5), stride=2),
        nn.Flatten(),
        nn.Linear(240, 7),
    ).eval()
    upright, level = torch.randn(12 * 3), torch.randn(12 * 3)
    weight = SCHEMES["spatial"].weight(torch.outer(upright, level)[None], (12, 12, 3, 3))
    made[2].weight.data += 0.3 * weight
    return made


def truncated(scheme: str, keep: Keep, calibration: list[torch.Tensor] | None) -> nn.Sequential:
    trained = network()
    TrainedRankPruning(
        trained, EXAMPLE, keep, scheme=scheme, layers="all", calibration=calibration
    ).before_forward()
    return trained


@pytest.mark.parametrize("scheme", [*SCHEMES, "per-layer"])
@pytest.mark.parametrize("calibration", [None, BATCHES], ids=["weights", "activations"])
def test_a_truncation_leaves_what_the_cut_leaves(scheme, calibration):
    keep = Energy(0.6) if scheme == "per-layer" else Ratio(0.2)
    trained = truncated(scheme, keep, calibration)
    cut = decompose(network(), EXAMPLE, keep, scheme=scheme, layers="all", calibration=calibration)
    assert len([layer for layer in cut.layers if layer.rank]) >= 3
    weights = [m for m in trained if isinstance(m, nn.Conv2d | nn.Linear)]
    for module, layer in zip(weights, cut.layers, strict=True):
        if layer.scheme is not None:
            given = torch.randn(3, module.weight.shape[1], 11, 11)
            given = given[..., 0, 0] if isinstance(module, nn.Linear) else given
            pair = cut.network.get_submodule(layer.name)
            torch.testing.assert_close(module(given), pair(given), atol=1e-3, rtol=1e-3)
    if scheme == "per-layer":
        assert len({layer.scheme for layer in cut.layers}) > 1


def test_a_truncation_by_activations_changes_outputs_less_than_one_by_weights():
    given, errors = torch.cat(BATCHES), []
    for calibration in (None, BATCHES):
        trained = truncated("spatial", Speedup(3.0), calibration)
        errors.append(float((trained(given) - network()(given)).detach().square().mean()))
    assert errors[1] < 0.8 * errors[0]


@pytest.mark.parametrize("keep", [Energy(0.7), Speedup(2.5)])
def test_each_layer_is_truncated_and_pulled_by_one_scheme(keep):
    def after(scheme: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
        trained = network()
        pruning = TrainedRankPruning(
            trained, EXAMPLE, keep, scheme=scheme, layers="all", period=1, nuclear_weight=1.0
        )
        for parameter in trained.parameters():
            parameter.grad = torch.zeros_like(parameter)
        pruning.before_forward()
        pruning.before_step()
        found = [(m.weight.detach(), m.weight.grad) for m in trained if hasattr(m, "weight")]
        return [(weight, grad) for weight, grad in found if grad is not None]

    for weight, pull in after("per-layer"):
        fits = [
            scheme
            for scheme, method in SCHEMES.items()
            if weight.dim() == 4 or scheme == "channel"
            for shape in [(*weight.shape, 1, 1)[:4]]
            for low, pulled in [
                (method.matrices(x.reshape(shape)) for x in (weight, pull)),
            ]
            if is_polar_of(pulled, low)
        ]
        assert fits, "the pull is U V^T of the truncated weight under one of the schemes"


def is_polar_of(pulled: torch.Tensor, low: torch.Tensor) -> bool:
    for one, matrix in zip(pulled, low, strict=True):
        u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
        rank = int((s > 1e-4 * s[0]).sum())
        if not torch.allclose(one, u[:, :rank] @ vh[:rank], atol=1e-3):
            return False
    return True


def test_activations_are_measured_anew_when_asked_and_not_in_between():
    seen: list[int] = []

    class Batches:
        def __iter__(self):
            seen.append(pruning.iteration)
            return iter(BATCHES)

    trained = network()
    pruning = TrainedRankPruning(
        trained,
        EXAMPLE,
        Energy(0.9),
        layers="all",
        period=2,
        calibration=Batches(),
        calibration_every=3,
    )
    for parameter in trained.parameters():
        parameter.grad = torch.ones_like(parameter)
    for iteration in range(14):
        if iteration == 9:
            pruning.before_epoch()
        pruning.before_forward()
        pruning.before_step()
    assert seen == [0, 6, 10, 12]


def test_measuring_leaves_the_network_as_it_was():
    trained = network().train()
    trained.append(nn.BatchNorm1d(7))
    before = copy.deepcopy(trained.state_dict())
    TrainedRankPruning(
        trained, EXAMPLE.expand(2, -1, -1, -1), Ratio(1.0), layers="all", calibration=BATCHES
    ).before_forward()
    assert trained.training
    for name, tensor in trained.state_dict().items():
        torch.testing.assert_close(tensor, before[name], atol=1e-5, rtol=1e-5)


def test_kernels_of_every_kind_are_weighed_as_in_the_cut():
    def kinds() -> nn.Sequential:
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3),
            nn.ConvTranspose2d(8, 8, 3),
            nn.Conv2d(8, 8, 3, groups=2),
            nn.Conv2d(8, 8, 3, groups=2),
        )

    for scheme in ("channel", "spatial"):
        trained = kinds()
        options = {"scheme": scheme, "layers": "all", "calibration": BATCHES}
        TrainedRankPruning(trained, EXAMPLE, Ratio(0.3), **options).before_forward()
        cut = decompose(kinds(), EXAMPLE, Ratio(0.3), **options)
        assert all(layer.rank for layer in cut.layers[1:])
        for index in (1, 2, 3):
            given = torch.randn(2, 8, 9, 9)
            expected = cut.network.get_submodule(f"{index}")(given)
            torch.testing.assert_close(trained[index](given), expected, atol=1e-3, rtol=1e-3)


def test_an_iterator_of_batches_is_refused():
    with pytest.raises(InputError, match="calibration: is read more than once; give a list"):
        TrainedRankPruning(network(), EXAMPLE, calibration=iter(BATCHES))
