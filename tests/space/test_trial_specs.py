from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trp_search.records import Cut
from trp_search.space import Parameter, SearchSpace, Value, load_space

TEXT = """
workload: {network: resnet20, data: digits}
training: {epochs: 30, learning_rate: 0.1}
space:
  scheme: [channel, spatial]
  start: [baseline, scratch]
  energy: {by_scheme: {channel: {low: 0.8, high: 0.99}, spatial: [0.9, 0.95]}}
  period: [5, 20, never]
  nuclear_weight_per_step: {low: 1e-6, high: 1e-3, log: true}
  nuclear_every_step: [false, true]
  training:
    epochs: {low: 2, high: 8, step: 2}
    milestones: [[0.5], [0.5, 0.75]]
    momentum: 0.8
seed: 3
"""
DRAWN: dict[str, Value] = {
    "scheme": "spatial",
    "start": "scratch",
    "energy_spatial": 0.95,
    "period": 20,
    "nuclear_weight_per_step": 1e-4,
    "nuclear_every_step": False,
    "epochs": 4,
    "milestones": "0.5, 0.75",
}
FIXED = "workload: {network: resnet20, data: digits}\ntraining: {epochs: 3}\ntrials: 1\n"


def loaded(folder: Path, text: str) -> SearchSpace:
    path = folder / "x.yaml"
    path.write_text(text)
    return load_space(path)


@pytest.fixture(scope="module")
def space(tmp_path_factory) -> SearchSpace:
    return loaded(tmp_path_factory.mktemp("space"), TEXT)


def test_what_varies_is_a_parameter_and_nothing_else_is(space):
    assert space.parameters() == (
        Parameter(name="scheme", choices=("channel", "spatial")),
        Parameter(name="start", choices=("baseline", "scratch")),
        Parameter(name="energy_channel", low=0.8, high=0.99, scheme="channel"),
        Parameter(name="energy_spatial", choices=(0.9, 0.95), scheme="spatial"),
        Parameter(name="period", choices=(5, 20, "never")),
        Parameter(name="nuclear_weight_per_step", low=1e-6, high=1e-3, log=True),
        Parameter(name="nuclear_every_step", choices=(False, True)),
        Parameter(name="epochs", low=2, high=8, step=2, integer=True),
        Parameter(name="milestones", choices=("0.5", "0.5, 0.75")),
    )


def test_with_one_scheme_an_entry_by_scheme_goes_by_its_own_name(tmp_path):
    text = f"{FIXED}space: {{energy: {{by_scheme: {{channel: [0.8, 0.9], spatial: 0.7}}}}}}"
    one = loaded(tmp_path, text)
    assert one.parameters() == (Parameter(name="energy", choices=(0.8, 0.9)),)
    spec = one.trial_spec({"energy": 0.8}, name="0", repeat=0)
    assert spec.pruning is not None
    assert spec.pruning.energy == 0.8


def test_a_draw_becomes_the_trial_it_names(space):
    spec = space.trial_spec(DRAWN, name="7", repeat=0)
    assert (spec.name, spec.start, spec.device, spec.threads) == ("7", "scratch", "cpu", 1)
    assert spec.pruning is not None
    assert (spec.pruning.scheme, spec.pruning.energy) == ("spatial", 0.95)
    assert spec.pruning.period == 20
    assert spec.cuts == (Cut(scheme="spatial", energy=0.95, layers="kxk"),)
    assert spec.training == replace(space.training, epochs=4, milestones=(0.5, 0.75), momentum=0.8)


def test_the_pull_per_step_is_the_same_for_every_period(space):
    for period in (5, 20):
        pruning = space.trial_spec({**DRAWN, "period": period}, name="0", repeat=0).pruning
        assert math.isclose(pruning.nuclear_weight / period, 1e-4)


def test_a_pull_at_every_step_is_given_as_it_is(space):
    drawn = {**DRAWN, "nuclear_every_step": True}
    for period in (20, "never"):
        pruning = space.trial_spec({**drawn, "period": period}, name="0", repeat=0).pruning
        assert pruning.nuclear_weight == 1e-4


def test_never_is_a_period_without_a_nuclear_weight(space):
    pruning = space.trial_spec({**DRAWN, "period": "never"}, name="0", repeat=0).pruning
    assert (pruning.period, pruning.nuclear_weight) == (None, 0.0)
    assert space.settings({**DRAWN, "period": "never"})["period"] == "never"


def test_repeats_differ_and_settings_share_their_seeds(space):
    seeds = [space.trial_spec(DRAWN, name="0", repeat=repeat).seed for repeat in range(20)]
    assert len(set(seeds)) == 20
    other = {**DRAWN, "epochs": 8, "scheme": "channel", "energy_channel": 0.9}
    assert space.trial_spec(other, name="9", repeat=4).seed == seeds[4]
    assert space.trial_spec(DRAWN, name="0", repeat=0).split_seed == 3
    assert space.baseline_spec().seed == 3


def test_a_cut_may_be_apart_from_the_training_energy(tmp_path):
    by_energy = loaded(tmp_path, f"{FIXED}space: {{energy: 0.9, cut_energy: 0.8}}")
    assert by_energy.trial_spec({}, name="0", repeat=0).cuts[0].energy == 0.8
    by_value = loaded(tmp_path, f"{FIXED}space: {{energy: 0.9, cut_value: 0.05}}")
    cut = by_value.trial_spec({}, name="0", repeat=0).cuts[0]
    assert (cut.energy, cut.value) == (None, 0.05)


def test_settings_are_flat_and_say_what_was_drawn(space):
    shown = space.settings(DRAWN)
    assert shown["energy"] == 0.95
    assert shown["milestones"] == "0.5, 0.75"
    assert shown["nuclear_weight"] == pytest.approx(2e-3)
    assert all(isinstance(value, Value) for value in shown.values())


def test_the_baseline_is_plain_and_cut_by_every_scheme_that_can_be_drawn(space):
    spec = space.baseline_spec()
    assert (spec.name, spec.start, spec.pruning, spec.score_uncut) == (
        "baseline",
        "scratch",
        None,
        True,
    )
    assert spec.training == space.training
    energies = [0.99, 0.97, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6]
    assert [(cut.scheme, cut.energy) for cut in spec.cuts] == [
        (scheme, energy) for scheme in ("channel", "spatial") for energy in energies
    ]


def test_weights_from_outside_are_not_trained_before_the_search(tmp_path):
    text = FIXED.replace("data: digits", "data: digits, weights: w.safetensors")
    assert loaded(tmp_path, text).baseline_spec().training is None


def test_part_of_a_gpu_is_cuda(tmp_path):
    space = loaded(tmp_path, f"{FIXED}resources: {{cpus: 3, gpus: 0.25}}")
    spec = space.trial_spec({}, name="0", repeat=0)
    assert (spec.device, spec.threads) == ("cuda", 3)


def test_a_violation_is_how_far_a_point_misses_its_bound(tmp_path, make_point):
    bounds = "constraints: {accuracy: 0.9, speedup: 2, parameters: 1000}"
    space = loaded(tmp_path, f"{FIXED}{bounds}")
    point = make_point("0", correct=160, speedup=4.0, parameters=1500)
    expected = {"accuracy": 0.1, "speedup": -2.0, "parameters": 500.0}
    assert space.violations(point) == pytest.approx(expected)


@st.composite
def draws(draw: st.DrawFn, parameters: tuple[Parameter, ...]) -> dict[str, Value]:
    drawn: dict[str, Value] = {}
    for parameter in parameters:
        if parameter.scheme not in (None, drawn.get("scheme")):
            continue
        if parameter.choices is not None:
            drawn[parameter.name] = draw(st.sampled_from(parameter.choices))
        elif parameter.integer:
            drawn[parameter.name] = draw(st.integers(parameter.low, parameter.high))
        else:
            drawn[parameter.name] = draw(st.floats(parameter.low, parameter.high))
    return drawn


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_everything_that_can_be_drawn_is_a_trial(space, data):
    drawn = data.draw(draws(space.parameters()))
    spec = space.trial_spec(drawn, name="0", repeat=0)
    assert spec.pruning.scheme == spec.cuts[0].scheme == drawn["scheme"]
    assert spec.pruning.energy == drawn[f"energy_{drawn['scheme']}"]
    assert spec.training.epochs == drawn["epochs"]
