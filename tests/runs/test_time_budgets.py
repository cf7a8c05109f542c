"""Trials towards a budget in time: by the run's table alone, whose times are made up here."""

from __future__ import annotations

import dataclasses
import json

import pytest

from trp_search.lowrank.costs import measure_each
from trp_search.lowrank.schemes import SCHEMES
from trp_search.records import LatencySpeedup, TrialResult
from trp_search.runs import setup, trial
from trp_search.runs.environment import write_environment
from trp_search.scoring.candidate import example
from trp_search.scoring.flops import count
from trp_search.space import read_space
from trp_search.store import RunFolder, write_whole
from trp_search.workloads import data

SPACE = {
    "workload": {
        "network": "small_resnet",
        "data": {"name": "digits", "subset": 200, "heldout_subset": 100},
    },
    "training": {"epochs": 1, "batch_size": 50, "learning_rate": 0.05},
    "extra_cuts": {"speedups": [], "energies": [], "latency_speedups": [1.25]},
    "target": {"name": "there"},
    "trials": 1,
}
ASKED = 1.5
METHODS = ("plain", "trp", "elastic")
OWN = {
    "method": list(METHODS),
    "scheme": "spatial",
    "layers": "all",
    "latency_speedup": ASKED,
    "cut_latency_speedup": ASKED,
    "period": 2,
    "start": "scratch",
    "elastic_images": 0,
    "training": {"epochs": 2},
}


def slow(name: str) -> bool:
    """Whether a layer's pairs are slower than it at any rank."""
    return name.endswith("conv1")


def begun(place, space):
    """A run with a table by which every other layer is worth no cut."""
    folder = RunFolder.create(place)
    write_environment(folder, seed=space.seed)
    write_whole(folder.search, space.dump())
    spec = space.baseline_spec()
    image = example(data.describe(spec.workload.data), "cpu")
    network = setup.untrained(spec).eval()
    macs = count(network, image).macs
    schemes = [SCHEMES[name] for name in ("channel", "spatial")]
    rows = measure_each(network, image, schemes, layers="all")
    layers = [
        {
            "layer": one.name,
            "scheme": one.scheme.name,
            "step": 1,
            "saved": {
                str(rank): -1.0 if slow(one.name) else 1.5 * (one.dense_macs - one.macs((rank,)))
                for rank in range(1, one.full_ranks[-1] + 1)
            },
        }
        for row in rows
        for one in row
        if one.reason is None
    ]
    target = {"name": "there", "height": image.shape[2], "width": image.shape[3]}
    about = {"target": target, "machine": "none", "versions": {}}
    about |= {"milliseconds": macs, "macs": macs, "layers": layers}
    write_whole(folder.times, json.dumps(about))
    return folder


def ended(folder, spec) -> TrialResult:
    *_, result = trial.run(spec, folder)
    assert isinstance(result, TrialResult)
    assert result.ended_well, result.why_not
    return result


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> RunFolder:
    """A run with its baseline and a trial of each method that may have a budget in time."""
    space = read_space(SPACE | {"space": OWN}, tmp_path_factory.mktemp("space") / "x.yaml")
    folder = begun(tmp_path_factory.mktemp("run") / "run", space)
    specs = [space.trial_spec({"method": name}, number=n) for n, name in enumerate(METHODS)]
    for spec in (space.baseline_spec(), *specs):
        folder.add_points(ended(folder, spec).points)
    return folder


@pytest.mark.slow
def test_points_keep_to_the_budget_by_the_table_and_what_is_slower_stays_dense(made):
    keeps = {point.id: point.cut.keep for point in made.read_points() if point.cut is not None}
    asked = {name: keep for name, keep in keeps.items() if isinstance(keep, LatencySpeedup)}
    assert asked.keys() >= {"0", "1", "2", "plain-1.25x-on-the-clock"}
    for name, keep in asked.items():
        point = made.point(name)
        assert point.latency_speedup >= keep.amount * (1 - 1e-8)
        cut = {layer.name for layer in point.layers if layer.scheme is not None}
        assert cut
        assert not any(map(slow, cut))
    assert not made.cut_times.exists(), "trials time nothing"


@pytest.mark.slow
@pytest.mark.parametrize("trial_name", ["0", "1", "2"])
def test_the_same_cut_of_the_same_weights_is_the_same_network(made, trial_name):
    known = made.point(trial_name)
    again = trial.cut_again(made, trial_name, known.cut)
    assert again == dataclasses.replace(known, seconds=again.seconds)
