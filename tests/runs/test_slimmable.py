"""One slimmable training in a run: resumed, cut to every budget, exported, and cut again."""

from __future__ import annotations

import json

import pytest
import torch

from tests.runs.trained import DATA
from trp_search.cli import main
from trp_search.export.load import load
from trp_search.runs import networks

pytestmark = pytest.mark.usefixtures("verified_here")

SPACE = {
    "workload": {"network": "small_resnet", "data": DATA},
    "training": {"epochs": 2, "batch_size": 50, "learning_rate": 0.05},
    "space": {
        "method": "slimmable",
        "slimmable_highest": 4.0,
        "allocation": "uniform",
        "cut_speedup": 3.0,
        "batch_norm_images": 100,
        "training": {"epochs": 4},
    },
    "extra_cuts": {"speedups": [1.5]},
    "trials": 1,
}


def test_its_points_are_the_leading_channels_of_one_network(once):
    points = {point.id: point for point in once.read_points() if point.trial == "0"}
    assert points.keys() == {"0", "0-uncut", "0-prune-1.5x-leading-uniform"}
    whole = networks.trained(once, "0")
    for name, speedup in (("0", 3.0), ("0-prune-1.5x-leading-uniform", 1.5)):
        assert speedup <= points[name].speedup < 1.15 * speedup
        cut = networks.network_of(once, points[name])
        assert any(layer.scheme == "pruned" for layer in points[name].layers)
        for (own, parameter), full in zip(cut.named_parameters(), whole.parameters(), strict=True):
            slices = tuple(slice(length) for length in parameter.shape)
            assert torch.equal(parameter, full[slices]), own
        assert points[name].batch_norm.startswith("re-estimated on 100")
    assert points["0-uncut"].batch_norm == "as trained"


def test_a_further_cut_has_widths_as_it_was_trained(once):
    assert main(["cut", str(once.path), "--trial", "0", "--speedup", "2"]) == 0
    cut = once.read_points()[-1].cut
    assert (cut.scheme, cut.importance, cut.allocation) == ("prune", "leading", "uniform")


def test_each_epoch_scores_budgets(once):
    for report in once.trial("0").read_epochs():
        assert [int(2 * score.speedup) / 2 for score in report.curve] == [1.5, 3.0]


def test_a_killed_training_goes_on_bit_for_bit(once, resumed):
    own, other = (one.trial("0").weights.read_bytes() for one in (resumed, once))
    assert own == other


def test_a_point_is_exported_and_the_whole_network_is_cut_again(once, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(once.path), "--point", "0", "--out", "small"]) == 0
    assert main(["export", str(once.path), "--point", "0-uncut", "--out", "whole"]) == 0
    assert main(["cut", "whole", "--speedup", "2", "--out", "faster"]) == 0
    whole, faster = load(tmp_path / "whole"), load(tmp_path / "faster")
    widths = json.loads((tmp_path / "faster/architecture.json").read_text())["widths"]
    assert widths
    for name, (_, kept) in widths.items():
        own, full = (one.get_submodule(name).weight for one in (faster, whole))
        assert torch.equal(own, full[tuple(map(slice, own.shape))])
        assert kept == len(own)
    with torch.no_grad():
        assert load(tmp_path / "small")(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
