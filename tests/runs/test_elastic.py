"""One elastic training in a run: resumed, cut further, exported whole and cut again."""

from __future__ import annotations

import json

import pytest
import torch

from tests.runs.trained import DATA
from trp_search import Speedup
from trp_search.cli import main
from trp_search.errors import InputError
from trp_search.export.load import load
from trp_search.lowrank.nested import factors_of
from trp_search.records import Cut, Ranks
from trp_search.runs import networks
from trp_search.runs.compress import recut

pytestmark = pytest.mark.usefixtures("verified_here")

SPACE = {
    "workload": {"network": "small_resnet", "data": DATA},
    "training": {"epochs": 2, "batch_size": 50, "learning_rate": 0.05},
    "space": {
        "method": "elastic",
        "scheme": "spatial",
        "elastic_highest": 4.0,
        "elastic_images": 32,
        "batch_norm_images": 100,
        "training": {"epochs": 4},
    },
    "extra_cuts": {"speedups": [1.5, 2.0], "calibration_images": 32},
    "trials": 1,
}


def test_its_points_reach_their_budgets_with_nested_factors(once):
    points = {point.id: point for point in once.read_points() if point.trial == "0"}
    assert points.keys() == {"0", "0-uncut", "0-nested-1.5x", "0-nested-2x"}
    for name, speedup in (("0", 3.0), ("0-nested-1.5x", 1.5), ("0-nested-2x", 2.0)):
        assert points[name].speedup >= speedup
        assert {layer.scheme for layer in points[name].layers} == {None, "spatial"}
    whole = factors_of(networks.trained(once, "0"))
    cut = networks.network_of(once, points["0"])
    for layer in points["0"].layers:
        if layer.rank is not None:
            first = cut.get_submodule(layer.name)[0].weight
            own = whole[layer.name].left[0, :, : layer.rank].mT.reshape(first.shape)
            assert torch.equal(first, own)


def test_each_epoch_scores_a_slow_a_middle_and_a_fast_cut(once):
    reports = once.trial("0").read_epochs()
    assert len(reports) == 2
    for report in reports:
        assert [round(score.speedup, 1) for score in report.curve] == [1.5, 2.0, 3.0]


def test_a_killed_training_goes_on_bit_for_bit(once, resumed):
    one, other = (folder.trial("0") for folder in (once, resumed))
    assert one.weights.read_bytes() == other.weights.read_bytes()
    assert one.nested.read_bytes() == other.nested.read_bytes()


def test_ranks_are_those_of_a_vector(once):
    full = {
        name: found.left.shape[-1]
        for name, found in factors_of(networks.trained(once, "0")).items()
    }
    vector = {name: 1 + most // 5 for name, most in full.items()}
    point = recut(once, "0", Cut(scheme="nested", keep=Ranks(vector)))
    assert {layer.name: layer.rank for layer in point.layers if layer.rank} == vector
    assert not point.by_ranks, "a person asked for it"


def test_a_run_s_own_training_is_cut_by_its_own_factors(once, capsys):
    cut = ["cut", str(once.path), "--trial", "0", "--speedup"]
    known = {point.id for point in once.read_points()}
    assert main([*cut, "2"]) == 0
    assert {point.id for point in once.read_points()} == known, "2x is one of its own cuts"
    assert main([*cut, "2.2", "--allocation", "uniform"]) == 0
    assert once.read_points()[-1].cut.scheme == "nested"
    assert main([*cut, "2.2", "--scheme", "channel"]) == 0
    assert once.read_points()[-1].cut.scheme == "channel"


def test_the_exported_whole_is_cut_to_any_budget(once, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(once.path), "--point", "0-uncut", "--out", "whole"]) == 0
    assert main(["cut", "whole", "--speedup", "2.7", "--out", "faster"]) == 0
    card = json.loads((tmp_path / "faster/card.json").read_text())
    layers = card["point"]["layers"]
    assert card["point"]["dense_macs"] >= 2.7 * card["point"]["macs"]
    whole, faster = factors_of(networks.trained(once, "0")), load("faster")
    for layer in layers:
        if layer["rank"] is not None:
            own = whole[layer["name"]].left[0, :, : layer["rank"]].mT
            first = faster.get_submodule(layer["name"])[0].weight
            assert torch.equal(first, own.reshape(first.shape))
    assert main(["cut", "whole", "--max-drop", "0.5", "--out", "small"]) == 0
    with (tmp_path / "whole/nested.safetensors").open("ab") as file:
        file.truncate(1 << 30)
    assert main(["cut", "whole", "--speedup", "2", "--out", "large"]) == 2
    assert "is too large for nested factors" in capsys.readouterr().err
    assert not (tmp_path / "faster/nested.safetensors").exists()


def test_factors_of_other_weights_are_refused(once, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(once.path), "--point", "0-uncut", "--out", "whole"]) == 0
    baseline = once.trial("baseline").weights
    (tmp_path / "whole/weights.safetensors").write_bytes(baseline.read_bytes())
    capsys.readouterr()
    assert main(["cut", "whole", "--speedup", "2", "--out", "faster"]) == 2
    assert "not this network's nested factors" in capsys.readouterr().err
    assert not (tmp_path / "faster").exists()


def test_only_an_elastic_trial_has_factors(once):
    with pytest.raises(InputError, match="no nested factors"):
        recut(once, "baseline", Cut(scheme="nested", keep=Speedup(2)))
