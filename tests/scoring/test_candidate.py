import pytest
import torch
from torch import nn

from trp_search.evaluation import DivergedError
from trp_search.records import Cut, DataSpec, NetworkSpec
from trp_search.scoring.candidate import Cuts, RefusedError, cost_of, score_uncut
from trp_search.workloads import data, networks


@pytest.fixture(scope="module")
def splits():
    spec = DataSpec(name="digits", subset=300, heldout_subset=50, validation=0.25)
    return data.load(spec, split_seed=0, outside_weights=False, device="cpu")


@pytest.fixture
def network():
    torch.manual_seed(0)
    return networks.build(NetworkSpec(name="small_resnet"), channels=1, classes=10).eval()


def test_where_nothing_is_factored_the_network_stays_as_it_is(network, splits):
    uncut = score_uncut(network, splits)
    kept = Cuts(network, splits).score(Cut(energy=1.0))
    assert kept.validation == uncut.validation
    assert kept.made.cost == uncut.made.cost
    assert kept.made.batch_norm == "as trained"


def test_statistics_are_re_estimated_after_a_cut_unless_switched_off(network, splits):
    cut = Cut(energy=0.5, batch_norm_images=100)
    on = Cuts(network, splits).score(cut)
    off = Cuts(network, splits).score(Cut(energy=0.5, reestimate_batch_norm=False))
    assert on.made.batch_norm == "re-estimated on 100 training images"
    assert off.made.batch_norm == "as trained"
    assert on.made.cost == off.made.cost
    assert on.validation.loss != off.validation.loss
    before = network.state_dict()
    after = off.made.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before if "running" in name)


def test_a_cost_that_is_unknown_is_refused_by_name(splits):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(64, 10)

        def forward(self, x):
            return self.head(torch.fft.fft(x.flatten(1)).abs())

    with pytest.raises(RefusedError, match="aten::fft_fft"):
        cost_of(Odd(), splits)


def test_a_network_whose_loss_is_not_finite_has_no_score(network, splits):
    with torch.no_grad():
        network.conv1.weight.fill_(float("nan"))
    with pytest.raises(DivergedError, match="not finite"):
        score_uncut(network, splits)
