import pytest
import torch
from torch import nn

from trp_search.errors import InputError
from trp_search.lowrank.costs import measure_each
from trp_search.lowrank.decompose import decompose
from trp_search.lowrank.schemes import SCHEMES
from trp_search.lowrank.times import LayerTimes, Steps
from trp_search.records import LatencySpeedup, NetworkSpec, Speedup
from trp_search.training.regulariser import TrainedRankPruning
from trp_search.workloads.networks import build

EXAMPLE = torch.zeros(1, 3, 32, 32)
IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def network():
    torch.manual_seed(0)
    return build(NetworkSpec(name="resnet20"), channels=3, classes=10).eval()


@pytest.mark.parametrize(
    ("scheme", "speedup"),
    [*((scheme, 2.0) for scheme in SCHEMES), ("spatial", 4.0), ("per-layer", 3.0)],
)
def test_projected_weights_lose_nothing_when_they_are_cut_to_that_budget(scheme, speedup):
    trained = network()
    before = trained(IMAGES)
    pruning = TrainedRankPruning(
        trained, EXAMPLE, layers="all", scheme=scheme, keep=Speedup(speedup)
    )
    pruning.before_forward()
    projected = trained(IMAGES)
    assert (projected - before).abs().max() > 0.01
    cut = decompose(trained, EXAMPLE, scheme=scheme, keep=Speedup(speedup))
    torch.testing.assert_close(cut.network(IMAGES), projected, atol=2e-3, rtol=1e-3)
    reached = sum(layer.dense_macs for layer in cut.layers) / sum(
        layer.macs for layer in cut.layers
    )
    assert speedup <= reached


def test_a_projection_to_a_budget_loses_less_than_one_energy_in_all_layers():
    def lost(trained):
        plain = network()
        pairs = zip(plain.modules(), trained.modules(), strict=True)
        return sum(
            float((a.weight - b.weight).detach().square().sum() / a.weight.detach().square().sum())
            for a, b in pairs
            if isinstance(a, nn.Conv2d | nn.Linear)
        )

    budgeted = network()
    TrainedRankPruning(
        budgeted, EXAMPLE, layers="all", scheme="spatial", keep=Speedup(2.0)
    ).before_forward()
    even = decompose(network(), EXAMPLE, scheme="spatial", keep=Speedup(2.0), allocation="energy")
    kept = [layer.kept["spatial"] for layer in even.layers if layer.rank]
    assert 0 < lost(budgeted) < sum(1 - share for share in kept)


def test_ranks_are_chosen_anew_at_every_projection():
    trained = network()
    pruning = TrainedRankPruning(
        trained, EXAMPLE, layers="all", scheme="channel", keep=Speedup(3.0), period=1
    )

    def ranks():
        pruning.before_forward()
        pruning.before_step()
        return [
            int(torch.linalg.matrix_rank(m.weight.flatten(1), rtol=1e-4))
            for m in trained.modules()
            if isinstance(m, nn.Conv2d)
        ]

    first = ranks()
    with torch.no_grad():
        late = trained.get_submodule("stages.2.2.conv2")
        late.weight.copy_(
            torch.randn(late.weight.shape, generator=torch.Generator().manual_seed(1))
        )
        early = trained.get_submodule("stages.0.0.conv1")
        early.weight.copy_(early.weight[:1].expand_as(early.weight).clone())
    second = ranks()
    assert second != first
    assert pruning.iteration == 2


def test_a_speedup_of_one_changes_no_weight_by_more_than_rounding():
    trained = network()
    pruning = TrainedRankPruning(trained, EXAMPLE, layers="all", keep=Speedup(1.0))
    pruning.before_forward()
    for now, then in zip(trained.parameters(), network().parameters(), strict=True):
        torch.testing.assert_close(now, then, atol=1e-5, rtol=0)


def test_layers_that_are_not_selected_count_with_what_they_cost():
    with pytest.raises(
        InputError, match=r"speedup: 300x cannot be reached; the best is \d+\.\d\dx"
    ):
        TrainedRankPruning(network(), EXAMPLE, keep=Speedup(300.0), layers="kxk")


def test_the_nuclear_term_pulls_at_the_budgets_ranks():
    trained = network()
    pruning = TrainedRankPruning(
        trained, EXAMPLE, layers="all", scheme="channel", keep=Speedup(4.0), nuclear_weight=1 / 20
    )
    pruning.before_forward()
    for parameter in trained.parameters():
        parameter.grad = torch.zeros_like(parameter)
    pruning.before_step()
    layer = trained.get_submodule("stages.1.1.conv1")
    pulled = torch.linalg.svdvals(layer.weight.grad.flatten(1))
    rank = int(torch.linalg.matrix_rank(layer.weight.flatten(1), rtol=1e-4))
    assert rank < 32
    torch.testing.assert_close(pulled[:rank], torch.ones(rank), atol=1e-3, rtol=0)
    assert float(pulled[rank:].max()) < 1e-3


def test_a_network_without_a_layer_to_train_so_says_what_it_can_reach():
    pair = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    with pytest.raises(
        InputError,
        match=r"2x cannot be reached; the best is 1\.00x while layers is kxk; all has more$",
    ):
        TrainedRankPruning(pair, torch.zeros(1, 8), keep=Speedup(2.0), layers="kxk")


@pytest.mark.parametrize("speedup", [1.1, 1.25, 1.5, 2.0])
def test_wide_layers_are_projected_to_the_budget_and_not_far_below(speedup):
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Linear(64, 400), nn.Linear(400, 400))
    pruning = TrainedRankPruning(wide, torch.zeros(1, 64), layers="all", keep=Speedup(speedup))
    pruning.before_forward()
    used = sum(
        min(layer.weight.numel(), rank * sum(layer.weight.shape))
        for layer in wide
        for rank in [int(torch.linalg.matrix_rank(layer.weight, rtol=1e-4))]
    )
    dense = sum(layer.weight.numel() for layer in wide)
    assert speedup <= dense / used <= 1.02 * speedup


def test_where_no_layer_is_selected_a_budget_of_one_changes_nothing():
    pair = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    before = [layer.weight.clone() for layer in pair]
    pruning = TrainedRankPruning(pair, torch.zeros(1, 8), keep=Speedup(1.0), layers="kxk", period=1)
    pruning.before_forward()
    assert all(torch.equal(old, layer.weight) for old, layer in zip(before, pair, strict=True))


def made_up(own, *, slow=()):
    """Times that are multiply-adds, but that pairs of layers whose name ends so are slower."""
    rows = measure_each(own, EXAMPLE, [SCHEMES["channel"], SCHEMES["spatial"]], layers="all")
    saved = {
        (one.name, one.scheme.name): Steps(
            step=1,
            saved={
                rank: -1.0 if one.name.endswith(slow) else float(one.dense_macs - one.macs((rank,)))
                for rank in range(1, one.full_ranks[-1] + 1)
            },
        )
        for row in rows
        for one in row
    }
    macs = sum(row.dense_macs for row in rows[0])
    return LayerTimes(total=float(macs), saved=saved, macs=macs)


@pytest.mark.parametrize("scheme", ["channel", "spatial"])
def test_where_time_is_multiply_adds_truncations_are_those_of_multiply_adds(scheme):
    def truncated(keep, times=None):
        trained = network()
        options = {"layers": "all", "scheme": scheme, "times": times}
        TrainedRankPruning(trained, EXAMPLE, keep, **options).before_forward()
        return trained(IMAGES)

    times = made_up(network())
    torch.testing.assert_close(truncated(LatencySpeedup(2.0), times), truncated(Speedup(2.0)))


@pytest.mark.parametrize("scheme", ["spatial", "per-layer"])
def test_truncations_to_a_budget_in_time_lose_nothing_when_cut_to_it_and_leave_what_is_slower(
    scheme,
):
    trained, asked = network(), LatencySpeedup(1.5)
    times = made_up(trained, slow=("conv1",))
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    options = {"layers": "all", "scheme": scheme, "times": times}
    TrainedRankPruning(trained, EXAMPLE, asked, **options).before_forward()
    moved = {
        name.removesuffix(".weight")
        for name, value in trained.state_dict().items()
        if not torch.allclose(value, before[name], atol=1e-5)
    }
    assert moved
    assert not any(name.endswith("conv1") for name in moved)
    cut = decompose(trained, EXAMPLE, asked, **options)
    torch.testing.assert_close(cut.network(IMAGES), trained(IMAGES), atol=2e-3, rtol=1e-3)
    assert times.milliseconds(cut.layers) <= times.total / 1.5 * (1 + 1e-8)


def test_a_budget_in_time_without_times_is_refused_in_one_line():
    line = r"^TrainedRankPruning: latency_speedup: 2 needs the times of layers on a target"
    with pytest.raises(InputError, match=line):
        TrainedRankPruning(network(), EXAMPLE, LatencySpeedup(2))
