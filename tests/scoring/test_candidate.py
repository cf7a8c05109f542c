import copy
import dataclasses

import pytest
import torch
from torch import nn

from trp_search.errors import InputError
from trp_search.lowrank.decompose import decompose
from trp_search.records import Cut, DataSpec, Energy, NetworkSpec, Parameters, Speedup
from trp_search.scoring.candidate import Cuts, cost_of, example, score_uncut
from trp_search.tasks import TASKS
from trp_search.tasks.task import DivergedError
from trp_search.training.regulariser import TrainedRankPruning
from trp_search.workloads import data, networks

TASK = TASKS["classification"]


@pytest.fixture(scope="module")
def splits():
    spec = DataSpec(name="digits", subset=300, heldout_subset=50, validation=0.25)
    return data.load(spec, split_seed=0, outside_weights=False, device="cpu")


@pytest.fixture
def network():
    torch.manual_seed(0)
    return networks.build(NetworkSpec(name="small_resnet"), channels=1, classes=10).eval()


def test_where_nothing_is_factored_the_network_stays_as_it_is(network, splits):
    uncut = score_uncut(network, splits, TASK)
    kept = Cuts(network, splits, TASK).score(Cut(keep=Energy(1.0)))
    assert kept.validation == uncut.validation
    assert kept.made.cost == uncut.made.cost
    assert kept.made.batch_norm == "as trained"


def test_statistics_are_re_estimated_after_a_cut_unless_switched_off(network, splits):
    cut = Cut(keep=Energy(0.5), batch_norm_images=100)
    on = Cuts(network, splits, TASK).score(cut)
    off = Cuts(network, splits, TASK).score(Cut(keep=Energy(0.5), reestimate_batch_norm=False))
    assert on.made.batch_norm == "re-estimated on 100 training images"
    assert off.made.batch_norm == "as trained"
    assert on.made.cost == off.made.cost
    assert on.validation.loss != off.validation.loss
    before = network.state_dict()
    after = off.made.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before if "running" in name)


def test_a_cut_that_takes_nothing_away_leaves_statistics_as_they_are(network, splits):
    pruning = TrainedRankPruning(
        network, example(splits.shape, "cpu"), Energy(0.8), scheme="spatial", period=1
    )
    for _ in range(40):  # until the least of what is left is more than a fifth
        pruning.before_forward()
    cuts = Cuts(network, splits, TASK)
    same = cuts.score(Cut(scheme="spatial", keep=Energy(0.8)))
    uncut = score_uncut(network, splits, TASK)
    assert same.made.batch_norm == "as trained"
    assert same.made.cost.macs < uncut.made.cost.macs
    assert same.validation.score.value == uncut.validation.score.value
    further = cuts.score(Cut(scheme="spatial", keep=Energy(0.5)))
    assert further.made.batch_norm == "re-estimated on 225 training images"


def test_what_has_no_price_is_said_of_the_cost(splits):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(64, 10)

        def forward(self, x):
            return self.head(torch.fft.fft(x.flatten(1)).abs())

    assert cost_of(Odd(), splits).counted == "with aten::fft_fft as free"


def test_a_network_whose_loss_is_not_finite_has_no_score(network, splits):
    with torch.no_grad():
        network.conv1.weight.fill_(float("nan"))
    with pytest.raises(DivergedError, match="not finite"):
        score_uncut(network, splits, TASK)


SAMPLE = 40


@pytest.fixture(scope="module")
def trained(splits):
    """Good enough that a rough cut is clearly worse: 77 % of the 75 validation images."""
    torch.manual_seed(0)
    network = networks.build(NetworkSpec(name="small_resnet"), channels=1, classes=10)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    for epoch in range(8):
        for images, labels in splits.train.batches(45, seed=0, epoch=epoch):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images), labels).backward()
            optimizer.step()
    return network.eval()


@pytest.fixture(scope="module")
def cuts(trained, splits):
    return Cuts(trained, splits, TASK)


def per_layer(speedup, **options):
    return Cut(scheme="per-layer", keep=Speedup(speedup), **options)


# Slower than what loses less: one share of rank in every layer, statistics left as they were.
ROUGH = Cut(keep=Speedup(1.5), allocation="uniform", reestimate_batch_norm=False)
RACE = (
    *(per_layer(speedup) for speedup in (1.5, 2.0, 4.0)),
    *(Cut(scheme=s, keep=Energy(e)) for s in ("channel", "spatial") for e in (0.9, 0.6)),
    ROUGH,
)


def on_sample(trained, splits, wanted):
    """Each cut by itself on the race's sample."""
    sample = dataclasses.replace(splits, validation=splits.validation.sample(SAMPLE))
    alone = Cuts(trained, sample, TASK)
    return {cut: alone.score(cut) for cut in wanted}


@pytest.mark.parametrize("allocation", ["knapsack", "uniform"])
@pytest.mark.parametrize("speedup", [1.5, 2.0, 5.0])
def test_a_budget_is_met_within_two_per_cent_by_the_counted_multiply_adds(
    cuts, trained, splits, speedup, allocation
):
    made = cuts.score(per_layer(speedup, allocation=allocation)).made
    counted = cost_of(made.network, splits)
    assert made.cost == counted
    assert speedup <= cost_of(trained, splits).macs / counted.macs <= 1.02 * speedup


def test_a_budget_of_parameters_is_met(cuts, splits):
    made = cuts.score(Cut(scheme="per-layer", keep=Parameters(100_000))).made
    assert 98_000 <= cost_of(made.network, splits).parameters <= 100_000


def test_a_budget_out_of_reach_has_no_score_and_names_the_best(cuts):
    with pytest.raises(InputError, match=r"speedup: 99x cannot be reached; the best is \d"):
        cuts.score(per_layer(99.0))


def test_cuts_leave_the_network_as_it_is(trained, splits):
    before = copy.deepcopy(trained.state_dict())
    Cuts(trained, splits, TASK).screen(
        [per_layer(3.0, calibration_images=32), ROUGH], images=SAMPLE
    )
    after = trained.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_cut_by_activations_is_that_of_a_call_of_its_own_and_loses_less(cuts, trained, splits):
    aware = cuts.score(per_layer(4.0, calibration_images=64))
    apart = decompose(
        trained,
        example(splits.shape, "cpu"),
        scheme="per-layer",
        keep=Speedup(4.0),
        calibration=splits.train.samples(64, batch_size=32),
    )
    assert aware.made.layers == apart.layers
    assert aware.made.cost.macs <= cost_of(trained, splits).macs / 4
    assert aware.validation.loss < cuts.score(per_layer(4.0)).validation.loss


def test_what_is_out_of_reach_is_refused_with_its_reason_and_stops_nothing(cuts):
    screening = cuts.screen([per_layer(99.0), per_layer(2.0)], images=SAMPLE)
    assert [cut.name for cut, _ in screening.survivors] == ["2x-weights-only"]
    assert screening.behind == []
    (name,) = screening.refused
    assert name == "99x-weights-only"
    assert screening.refused[name].startswith("speedup: 99x cannot be reached; the best is ")


def test_survivors_are_scored_on_every_validation_image_and_the_rest_on_the_sample(
    cuts, trained, splits
):
    screening = cuts.screen(RACE, images=SAMPLE)
    assert screening.survivors
    assert screening.behind
    for cut, scored in screening.survivors:
        assert scored.validation.score.images == len(splits.validation)
        assert scored.validation == cuts.score(cut).validation
    alone = on_sample(trained, splits, RACE)
    for cut, scored in screening.behind:
        assert scored.validation == alone[cut].validation
        assert scored.validation.score.images == SAMPLE


def test_a_slower_and_clearly_worse_cut_falls_behind(cuts):
    screening = cuts.screen([ROUGH, per_layer(2.0)], images=SAMPLE)
    assert [cut for cut, _ in screening.survivors] == [per_layer(2.0)]
    assert [cut for cut, _ in screening.behind] == [ROUGH]


def test_the_best_at_its_speed_always_survives(cuts, trained, splits):
    survivors = [cut for cut, _ in cuts.screen(RACE, images=SAMPLE).survivors]
    alone = on_sample(trained, splits, RACE)
    for slowest in alone.values():
        fast = {c: s for c, s in alone.items() if s.made.cost.macs <= slowest.made.cost.macs}
        most = max(scored.validation.score.value for scored in fast.values())
        best = [cut for cut, scored in fast.items() if scored.validation.score.value == most]
        assert set(best) <= set(survivors)


def test_a_sample_of_every_image_scores_all_alike(cuts, splits):
    screening = cuts.screen([ROUGH, per_layer(2.0)], images=10 * len(splits.validation))
    images = [
        scored.validation.score.images for _, scored in (*screening.survivors, *screening.behind)
    ]
    assert images == [len(splits.validation)] * 2


def test_a_cut_that_the_two_counters_do_not_agree_on_gives_no_point(splits):
    class Traced(nn.Module):
        """Its second layer is no part of a graph once it is cut."""

        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(64, 64), nn.Linear(64, 64)
            self.head = nn.Linear(64, 10)

        def forward(self, x):
            found = self.first(x.flatten(1))
            if torch.jit.is_tracing() and not isinstance(self.second, nn.Linear):
                return self.head(found)
            return self.head(self.second(found))

    cut = Cut(keep=Energy(0.5))
    cuts = Cuts(Traced(), splits, TASK)
    with pytest.raises(
        InputError, match=r"^no speedup can be stated: fvcore counts [\d,]+ multiply"
    ):
        cuts.score(cut)
    assert (
        "torch's counter" in Cuts(Traced(), splits, TASK).screen([cut], images=10).refused[cut.name]
    )
