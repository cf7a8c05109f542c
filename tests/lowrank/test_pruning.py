"""Channels that leave: what the network computes then, what it costs, and how it is built again."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional

from trp_search.errors import InputError
from trp_search.lowrank import filters
from trp_search.lowrank.cutting import Cutter
from trp_search.lowrank.prunable import prunable
from trp_search.lowrank.rebuild import rebuild
from trp_search.records import Cut, MaxDrop, Parameters, Ratio, Speedup, to_dict
from trp_search.scoring.flops import count

CRITERIA = ("magnitude", "bn-scale", "lasso", "thinet")


class Residual(nn.Module):
    """Adds, joins, splits by depth, reads flattened images: every tie of channels."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.inner, self.between = nn.Conv2d(16, 12, 1), nn.BatchNorm2d(12)
        self.deep = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.outer, self.after = nn.Conv2d(12, 16, 1), nn.BatchNorm2d(16)
        self.up = nn.ConvTranspose2d(32, 8, 2, stride=2)
        self.head = nn.Linear(8 * 12 * 12, 10)

    def forward(self, images):
        first = functional.relu(self.norm(self.stem(images)))
        second = functional.relu(self.between(self.inner(first)))
        second = functional.relu(self.after(self.outer(self.deep(second)))) + first
        both = torch.cat([first, second], 1)
        return self.head(functional.relu(self.up(both)).flatten(1))


def trained(network, seed=0):
    """With statistics and scales of its own."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean):
                tensor.copy_(torch.randn(tensor.shape, generator=generator))
            module.running_var.uniform_(0.5, 2.0, generator=generator)
    return network.eval()


@pytest.fixture
def residual():
    torch.manual_seed(0)
    return trained(Residual())


IMAGES = torch.randn(24, 3, 6, 6, generator=torch.Generator().manual_seed(1))


def cut_of(keep, importance="magnitude", **options):
    images = {"calibration_images": 24} if importance in ("lasso", "thinet") else {}
    return Cut(keep=keep, scheme="prune", importance=importance, **images, **options)


def pruned(network, wanted, images=IMAGES):
    cutter = Cutter(
        network,
        images[:1],
        macs=count(network, images[:1]).macs,
        samples=lambda number: images[:number].split(8),
    )
    return cutter.cut(wanted)


def costs(network):
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return count(network, IMAGES[:1]).macs, parameters


@pytest.mark.parametrize("allocation", ["knapsack", "uniform"])
@pytest.mark.parametrize("importance", CRITERIA)
def test_a_budget_is_met_closely_and_the_widths_build_the_network_again(
    residual, importance, allocation
):
    before = copy.deepcopy(residual.state_dict())
    macs, parameters = costs(residual)
    most = parameters * 9 // 10
    for keep in (Speedup(2.0), Parameters(most)):
        found = pruned(residual, cut_of(keep, importance, allocation=allocation))
        left = costs(found.network)
        part = macs / left[0] / 2 if isinstance(keep, Speedup) else most / left[1]
        assert 1 <= part < 1.15
        assert found.macs == left[0] == macs - sum(x.dense_macs - x.macs for x in found.layers)
        held = [x for m in found.network.modules() if isinstance(m, nn.BatchNorm2d) for x in [m]]
        others = sum(2 * norm.num_features for norm in held)
        assert left[1] == sum(layer.parameters for layer in found.layers) + others
        again = Residual().eval()
        rebuild(again, found.layers, found.widths)
        again.load_state_dict(found.network.state_dict())
        assert torch.equal(again(IMAGES), found.network(IMAGES))
    after = residual.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


@pytest.mark.parametrize("importance", CRITERIA)
def test_channels_that_change_nothing_leave_first_and_nothing_changes(residual, importance):
    with torch.no_grad():
        for channels in (residual.inner, residual.deep):
            channels.weight[::2] = 0
            channels.bias[::2] = 0
        residual.outer.weight[:, ::2] = 0
        for name in ("weight", "bias", "running_mean"):
            getattr(residual.between, name)[::2] = 0
    wanted = residual(IMAGES)
    found = pruned(residual, cut_of(Ratio(0.5), importance, layers="inner"))
    narrow = {"inner": (16, 6), "between": (6, 6), "deep": (6, 6), "outer": (6, 16)}
    assert found.widths == narrow
    torch.testing.assert_close(found.network(IMAGES), wanted, rtol=1e-4, atol=1e-4)


def test_channels_that_others_can_stand_for_are_made_up_for():
    torch.manual_seed(3)
    network = nn.Sequential(
        nn.Conv2d(3, 12, 3), nn.ReLU(), nn.Conv2d(12, 8, 3), nn.Flatten(), nn.Linear(32, 4)
    ).requires_grad_(requires_grad=False)
    for tensor in (network[0].weight, network[0].bias):
        tensor[6:] = 1.5 * tensor[:6]
    network[2].weight[:, 6:] = 2 * network[2].weight[:, :6]
    wanted = network(IMAGES)
    found = pruned(network, cut_of(Ratio(0.5), "lasso", layers="0")).network(IMAGES)
    assert (found - wanted).norm() < 0.01 * wanted.norm()
    by_size = pruned(network, cut_of(Ratio(0.5), layers="0")).network(IMAGES)
    assert (by_size - wanted).norm() > 0.05 * wanted.norm()


def test_fitted_weights_answer_as_the_least_squares_do():
    generator = torch.Generator().manual_seed(4)
    read = torch.randn(10, 300, dtype=torch.float64, generator=generator)
    read[5:] += read[:5]
    weight, kept = torch.randn(3, 10, dtype=torch.float64, generator=generator), torch.arange(6)
    found = filters.fitted(weight, read @ read.T, kept)
    best = torch.linalg.lstsq(read[kept].T, (weight @ read).T).solution.T
    torch.testing.assert_close(found, best, rtol=1e-3, atol=1e-3)


def test_what_is_lost_is_what_the_best_scales_of_the_units_left_miss():
    parts = torch.randn(7, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    gram, order = parts @ parts.T, torch.randperm(7, generator=torch.Generator().manual_seed(1))
    lost = filters._lost(gram, order)
    whole = parts.sum(0)
    for gone in range(7):
        kept = parts[order[gone:]]
        scales = torch.linalg.lstsq(kept.T, whole).solution
        missed = (whole - scales @ kept).square().sum() / whole.square().sum()
        torch.testing.assert_close(lost[gone], missed, rtol=0, atol=1e-3)


def test_greed_removes_at_each_step_what_the_outputs_miss_least():
    parts = torch.randn(6, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    order = filters._by_greed(parts @ parts.T).tolist()
    for step in range(6):
        gone = order[:step]
        missed = {
            unit: float(parts[[*gone, unit]].sum(0).square().sum())
            for unit in set(range(6)) - set(gone)
        }
        assert order[step] == min(missed, key=missed.__getitem__)


def test_the_lasso_keeps_the_units_that_answer_alone():
    generator = torch.Generator().manual_seed(3)
    parts = torch.randn(9, 60, dtype=torch.float64, generator=generator)
    parts[[1, 4, 7]] *= 20
    order = filters._by_lasso(parts @ parts.T).tolist()
    assert set(order[-3:]) == {1, 4, 7}
    assert sorted(order) == list(range(9))


def test_the_lasso_ranks_every_unit_of_a_wide_layer():
    generator = torch.Generator().manual_seed(5)
    parts = torch.randn(560, 80, dtype=torch.float64, generator=generator)
    first = filters._by_lasso(parts @ parts.T + 80 * torch.eye(560)).tolist()[:40]
    assert first != sorted(first), "units that no step of the path was left for come by their index"


def test_factors_after_pruning_have_ranks_that_are_multiples(residual):
    wanted = Cut(
        keep=Speedup(3.0), scheme="prune", importance="magnitude", factors="channel", multiple=3
    )
    ranks = [layer.rank for layer in pruned(residual, wanted).layers if layer.scheme == "channel"]
    assert ranks
    assert all(rank % 3 == 0 for rank in ranks)


@pytest.mark.parametrize("importance", ["magnitude", "thinet"])
def test_layers_are_factored_once_they_have_lost_channels(residual, importance):
    macs, _ = costs(residual)
    options = {"factors": "per-layer", "calibration_images": 24}
    wanted = Cut(keep=Speedup(4.0), scheme="prune", importance=importance, **options)
    found = pruned(residual, wanted)
    left, parameters = costs(found.network)
    assert 4 <= macs / left < 5
    assert found.macs == left == macs - sum(x.dense_macs - x.macs for x in found.layers)
    norms = [m for m in found.network.modules() if isinstance(m, nn.BatchNorm2d)]
    others = sum(2 * norm.num_features for norm in norms)
    assert parameters == sum(layer.parameters for layer in found.layers) + others
    assert {"pruned", "channel"} <= {layer.scheme for layer in found.layers}
    again = Residual().eval()
    rebuild(again, found.layers, found.widths)
    again.load_state_dict(found.network.state_dict())
    assert torch.equal(again(IMAGES), found.network(IMAGES))


def test_units_are_multiples_where_asked(residual):
    found = pruned(residual, cut_of(Speedup(1.8), multiple=4))
    modules = dict(residual.named_modules())
    for name, widths in found.widths.items():
        module = modules[name]
        full = getattr(module, "out_channels", getattr(module, "num_features", 10))
        assert widths[1] in {full, *range(4, full, 4)}


class Reshaped(nn.Module):
    """Has the number of its channels in its forward pass; the mix runs with fewer, as another."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.first, self.second = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 16, 1)
        self.norm, self.last = nn.LayerNorm(16), nn.Conv2d(16, 4, 1)

    def forward(self, images):
        found = self.second(functional.relu(self.first(images)))
        if self.kind == "fixed":
            found = found.reshape(len(found), 16, *found.shape[2:])
        elif self.kind == "mixed":
            found = found - found.mean(1, keepdim=True)
        elif self.kind == "norm":
            found = self.norm(found.movedim(1, -1)).movedim(-1, 1)
        return self.last(found)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("fixed", "without some of its channels"),
        ("mixed", "without some of its channels"),
        ("norm", "tied to a LayerNorm"),
    ],
)
def test_a_network_that_relies_on_channels_keeps_them_and_loses_others(kind, reason):
    torch.manual_seed(0)
    network = Reshaped(kind).eval()
    found = pruned(network, cut_of(Ratio(0.5)))
    layers = {layer.name: layer for layer in found.layers}
    assert (layers["first"].rank, layers["second"].rank_in) == (8, 8)
    assert layers["second"].rank == 16
    assert reason in prunable(network, IMAGES[:1], "auto").reasons["second"]
    with pytest.raises(InputError, match=reason):
        pruned(network, cut_of(Ratio(0.5), layers="second"))


@pytest.mark.parametrize(("between", "left"), [(nn.GLU(1), 8), (nn.PixelShuffle(2), 4)])
def test_channels_that_an_operation_folds_stay_and_others_leave(between, left):
    torch.manual_seed(0)
    rest = [nn.Conv2d(left, 8, 1), nn.ReLU(), nn.Conv2d(8, 4, 1)]
    network = nn.Sequential(nn.Conv2d(3, 16, 1), between, *rest).eval()
    found = pruned(network, cut_of(Ratio(0.5)))
    assert [layer.rank for layer in found.layers] == [None, 4, 4]
    assert "do not fall to single outputs" in prunable(network, IMAGES[:1], "auto").reasons["0"]


class Split(nn.Module):
    """Halves of a first layer, one of them used twice, as in a C2f block."""

    def __init__(self):
        super().__init__()
        self.first, self.inner = nn.Conv2d(3, 16, 1), nn.Conv2d(8, 8, 3, padding=1)
        self.last, self.head = nn.Conv2d(24, 12, 1), nn.Conv2d(12, 4, 1)

    def forward(self, images):
        one, two = self.first(images).chunk(2, 1)
        return self.head(self.last(torch.cat([one, two, self.inner(two)], 1)).relu())


def test_a_layer_whose_outputs_are_split_stays_for_a_reason_and_others_leave():
    torch.manual_seed(0)
    found = pruned(Split().eval(), cut_of(Ratio(0.5)))
    assert {layer.name: layer.rank for layer in found.layers}["last"] == 6
    assert {layer.name: layer.rank for layer in found.layers}["first"] in (None, 16)
    assert "first" in prunable(Split().eval(), IMAGES[:1], "auto").reasons


@pytest.mark.parametrize("importance", ["lasso", "thinet"])
def test_channels_whose_readers_answer_nothing_cost_nothing(importance):
    torch.manual_seed(0)
    parts = [nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 12, 1), nn.ReLU(), nn.Conv2d(12, 4, 1)]
    network = nn.Sequential(*parts).eval()
    with torch.no_grad():
        network[2].weight.zero_()
        network[2].bias.copy_(torch.arange(12) / 12)
    found = pruned(network, cut_of(Speedup(1.5), importance))
    torch.testing.assert_close(found.network(IMAGES), network(IMAGES), rtol=1e-3, atol=1e-4)


def test_bad_asks_are_refused_in_one_line(residual):
    bare = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))
    for network, wanted, line in (
        (residual, cut_of(Speedup(100.0)), "speedup: 100x cannot be reached; the best is"),
        (residual, cut_of(Speedup(100.0), layers="inner"), "while layers is inner; all has more"),
        (residual, cut_of(MaxDrop(0.01)), "max_drop: a cut alone has no scores"),
        (bare, cut_of(Speedup(2.0), "bn-scale"), "no channels to lose: no batch norm scales it"),
        (bare, cut_of(Speedup(2.0), layers="nowhere"), "'nowhere' matches no convolution"),
    ):
        with pytest.raises(InputError, match=line):
            pruned(network, wanted)
    for given, line in (
        ({"keep": {"speedup": 2.0}, "scheme": "prune"}, "importance goes with scheme prune"),
        (to_dict(cut_of(Speedup(2.0))) | {"keep": {"energy": 0.9}}, "takes a budget or a ratio"),
        (to_dict(cut_of(Speedup(2.0))) | {"allocation": "greedy"}, "takes knapsack or uniform"),
        (to_dict(cut_of(Speedup(2.0))) | {"importance": "lasso"}, "needs calibration_images"),
        (to_dict(cut_of(Ratio(0.5))) | {"factors": "channel"}, "scheme prune and a speedup"),
        ({"keep": {"speedup": 2.0}, "factors": "channel"}, "scheme prune and a speedup"),
    ):
        with pytest.raises(ValueError, match=line):
            Cut(**given)


@pytest.mark.parametrize(
    ("widths", "line"),
    [
        ({"none": (1, 1)}, "no layer 'none'"),
        ({"": (1, 1)}, "no layer ''"),
        ({"stem": (3, 17)}, "'stem' has 3 channels in and 16 out, and cannot have 3 and 17"),
        ({"stem": (4, 16)}, "cannot have 4 and 16"),
        ({"norm": (3, 4)}, "cannot have 3 and 4"),
        ({"deep": (3, 4)}, "cannot have 3 and 4"),
    ],
)
def test_widths_that_no_network_has_are_refused(residual, widths, line):
    with pytest.raises(InputError, match=line):
        rebuild(residual, (), widths)


def test_every_part_of_a_network_can_be_narrowed_to_one_channel():
    for read, written in itertools.product((1, 2), (1, 2)):
        network = Residual()
        rebuild(network, (), {"up": (read, written), "deep": (read, read), "norm": (read, read)})
        assert network.up(torch.zeros(1, read, 2, 2)).shape == (1, written, 4, 4)
        assert network.deep(torch.zeros(1, read, 4, 4)).shape[1] == read
        assert network.norm(torch.zeros(2, read, 2, 2)).shape[1] == read
