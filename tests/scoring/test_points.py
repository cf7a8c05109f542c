import dataclasses

import pytest
from torch import nn

from trp_search.records import (
    Cut,
    DataSpec,
    Distillation,
    Energy,
    NetworkSpec,
    Pruning,
    Speedup,
    Training,
    TrialSpec,
    Workload,
)
from trp_search.records.scores import share
from trp_search.scoring.candidate import CompressedNetwork, Cost, Scored
from trp_search.scoring.points import PointFactory
from trp_search.tasks.task import Evaluation

OWN = Cut(scheme="spatial", keep=Energy(0.9))
FURTHER = Cut(scheme="per-layer", keep=Speedup(2.5), calibration_images=256)
ENERGY = Cut(scheme="spatial", keep=Energy(0.8))
TRIAL = TrialSpec(
    kind="search",
    name="7",
    number=7,
    seed=3,
    start="scratch",
    workload=Workload(network=NetworkSpec(name="small_resnet"), data=DataSpec(name="digits")),
    training=None,
    pruning=Pruning(scheme="spatial", keep=Energy(0.9)),
    cuts=(OWN,),
    screening=(FURTHER, ENERGY),
)
BASELINE = dataclasses.replace(TRIAL, kind="baseline", name="baseline", pruning=None, screening=())
REFIT = dataclasses.replace(
    TRIAL, kind="refit", name="refit-7", screening=(), fit_on_validation=True
)


def test_a_point_says_what_its_network_learned_from():
    short = Training(epochs=1)
    asked = Distillation(weight=0.7, temperature=2)
    trained = dataclasses.replace(TRIAL, method="trp", training=short)
    settings = point(dataclasses.replace(trained, distillation=asked), OWN).settings
    assert (settings["distillation"], settings["distillation_temperature"]) == (0.7, 2)
    assert point(trained, OWN).settings["distillation"] == 0
    tuned = dataclasses.replace(
        TRIAL, method="plain", pruning=None, screening=(), fine_tuning=short, distillation=asked
    )
    assert point(tuned, OWN).settings["distillation"] == 0.7
    assert "distillation" not in point(tuned, OWN, untuned=True).settings
    assert "distillation" not in point(BASELINE, None).settings


def point(spec, cut, **options):
    origin = PointFactory(
        spec=spec,
        dense=Cost(macs=1000, parameters=90, bytes=360),
        seconds=4.0,
        predict=lambda _: None,
    )
    made = CompressedNetwork(
        network=nn.Identity(),
        layers=(),
        cost=Cost(macs=400, parameters=50, bytes=200),
        batch_norm="as trained",
    )
    scored = Scored(made=made, validation=Evaluation(score=share(3, 4), loss=0.5))
    return origin.point(scored, cut, **options)


@pytest.mark.parametrize(
    ("spec", "cut", "name", "role"),
    [
        (BASELINE, None, "baseline", "baseline"),
        (BASELINE, OWN, "plain-spatial-0.9", "control"),
        (BASELINE, FURTHER, "plain-2.5x", "control"),
        (TRIAL, OWN, "7", "trial"),
        (TRIAL, FURTHER, "7-2.5x", "derived"),
        (TRIAL, ENERGY, "7-spatial-0.8", "derived"),
        (REFIT, OWN, "refit-7", "refit"),
        (REFIT, FURTHER, "refit-7-2.5x", "refit"),
    ],
)
def test_a_point_is_named_after_its_trial_and_its_cut(spec, cut, name, role):
    found = point(spec, cut)
    assert (found.id, found.role, found.trial, found.cut) == (name, role, spec.name, cut)


@pytest.mark.parametrize(
    ("spec", "name"), [(TRIAL, "7-2.5x"), (BASELINE, "plain-2.5x")], ids=["trial", "plain"]
)
def test_what_a_race_left_behind_keeps_its_name_and_is_not_on_offer(spec, name):
    found = point(spec, FURTHER, screened_out=True)
    assert (found.id, found.role, found.searched) == (name, "screened_out", False)


def test_only_a_trials_points_are_searched():
    both = [point(TRIAL, OWN), point(TRIAL, FURTHER)]
    others = [point(BASELINE, None), point(BASELINE, OWN), point(REFIT, OWN)]
    assert [p.searched for p in (*both, *others)] == [True, True, False, False, False]


def test_a_point_has_what_was_measured():
    found = point(TRIAL, FURTHER)
    assert (found.score, found.loss) == (share(3, 4), 0.5)
    assert (found.speedup, found.parameters, found.dense_parameters) == (2.5, 50, 90)
    assert (found.scheme, found.seconds) == ("per-layer", 4.0)


def test_settings_say_what_was_trained_with_and_what_was_cut_by():
    found = point(TRIAL, FURTHER).settings
    assert (found["energy"], found["cut_speedup"], "cut_energy" in found) == (0.9, 2.5, False)
    assert (found["scheme"], found["calibration_images"]) == ("per-layer", 256)
    towards = dataclasses.replace(TRIAL, pruning=Pruning(scheme="spatial", keep=Speedup(2.0)))
    found = point(towards, FURTHER).settings
    assert (found["speedup"], found["cut_speedup"], "energy" in found) == (2.0, 2.5, False)
