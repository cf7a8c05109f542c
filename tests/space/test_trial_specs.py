from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.space.files import loaded, refusal
from trp_search import records
from trp_search.errors import InputError
from trp_search.records import Allocation, Cut, Distillation, Energy, Speedup
from trp_search.space import Parameter, Scalar, SearchSpace, warm_start

TEXT = """
workload: {network: resnet20, data: digits}
training: {epochs: 30, learning_rate: 0.1}
space:
  scheme: [channel, spatial]
  start: [baseline, scratch]
  energy: {by_scheme: {channel: {low: 0.8, high: 0.99}, spatial: [0.9, 0.95]}}
  period: [5, 20, never]
  nuclear_weight: {low: 1e-6, high: 1e-3, log: true}
  nuclear_every_step: [false, true]
  training:
    epochs: {low: 2, high: 8, step: 2}
    milestones: [[0.5], [0.5, 0.75]]
    momentum: 0.8
seed: 3
"""
DRAWN: dict[str, Scalar] = {
    "scheme": "spatial",
    "start": "scratch",
    "energy_spatial": 0.95,
    "period": 20,
    "nuclear_weight": 1e-4,
    "nuclear_every_step": False,
    "epochs": 4,
    "milestones": "0.5, 0.75",
}
FIXED = "workload: {network: resnet20, data: digits}\ntraining: {epochs: 3}\ntrials: 1\n"


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
        Parameter(name="nuclear_weight", low=1e-6, high=1e-3, log=True),
        Parameter(name="nuclear_every_step", choices=(False, True)),
        Parameter(name="epochs", low=2, high=8, step=2, integer=True),
        Parameter(name="milestones", choices=("0.5", "0.5, 0.75")),
    )


def test_with_one_scheme_an_entry_by_scheme_goes_by_its_own_name(tmp_path):
    text = f"{FIXED}space: {{energy: {{by_scheme: {{channel: [0.8, 0.9], spatial: 0.7}}}}}}"
    one = loaded(tmp_path, text)
    assert one.parameters() == (Parameter(name="energy", choices=(0.8, 0.9)),)
    spec = one.trial_spec({"energy": 0.8}, number=0)
    assert spec.pruning is not None
    assert spec.pruning.keep.energy == 0.8


def test_a_draw_becomes_the_trial_it_names(space):
    spec = space.trial_spec(DRAWN, number=7)
    assert (spec.name, spec.start, spec.device, spec.threads) == ("7", "scratch", "cpu", 1)
    assert spec.pruning is not None
    assert (spec.pruning.scheme, spec.pruning.keep.energy) == ("spatial", 0.95)
    assert spec.pruning.period == 20
    assert spec.cuts == (Cut(scheme="spatial", keep=Energy(0.95)),)
    assert spec.training == replace(space.training, epochs=4, milestones=(0.5, 0.75), momentum=0.8)


def test_the_pull_per_step_is_the_same_for_every_period(space):
    for period in (5, 20):
        pruning = space.trial_spec({**DRAWN, "period": period}, number=0).pruning
        assert (pruning.nuclear_weight, pruning.period) == (1e-4, period)


def test_a_pull_at_every_step_is_given_as_it_is(space):
    drawn = {**DRAWN, "nuclear_every_step": True}
    for period in (20, "never"):
        pruning = space.trial_spec({**drawn, "period": period}, number=0).pruning
        assert pruning.nuclear_weight == 1e-4


def test_never_is_a_period_without_a_nuclear_weight(space):
    pruning = space.trial_spec({**DRAWN, "period": "never"}, number=0).pruning
    assert (pruning.period, pruning.nuclear_weight) == (None, 0.0)


def test_a_trial_from_the_baseline_is_short_unless_its_space_says_how_long(space, tmp_path):
    def training(space: SearchSpace, start: str):
        return space.trial_spec(DRAWN | {"start": start}, number=0).training

    silent = TEXT.replace("    epochs: {low: 2, high: 8, step: 2}\n", "")
    found = [training(loaded(tmp_path, silent), start) for start in ("baseline", "scratch")]
    assert [(one.epochs, one.learning_rate) for one in found] == [(8, 0.02), (30, 0.1)]
    assert training(space, "baseline").epochs == 4
    brought = silent.replace("data: digits}", "data: digits, weights: mine.safetensors}")
    assert training(loaded(tmp_path, brought), "baseline").epochs == 30, "its recipe is the trials'"


def test_what_trains_learns_from_the_baseline_unless_its_space_says_no(space, tmp_path):
    def found(own: str, **drawn: Scalar) -> Distillation | None:
        made = loaded(tmp_path, f"{FIXED}space: {{energy: 0.9, {own}}}")
        return made.trial_spec(drawn, number=0).distillation

    assert space.trial_spec(DRAWN, number=0).distillation == Distillation()
    assert space.baseline_spec().distillation is None
    assert found("distillation: 0") is None
    asked = found("distillation: [0, 1], distillation_temperature: 2", distillation=1)
    assert asked == Distillation(weight=1, temperature=2)
    assert found("method: plain") is None, "it trains nothing"
    assert found("method: plain, fine_tuning_epochs: 2") == Distillation()


def test_one_trial_can_have_all_that_makes_trp_better(tmp_path):
    own = "method: trp, scheme: per-layer, speedup: 3, truncation_images: 64"
    own += ", calibration_images: 64, fine_tuning_epochs: 1, distillation: 0.5"
    spec = loaded(tmp_path, f"{FIXED}space: {{{own}, training: {{epochs: 3}}}}").trial_spec(
        {}, number=0
    )
    assert spec.pruning == records.Pruning(
        scheme="per-layer", keep=Speedup(3), calibration_images=64
    )
    assert spec.cuts == (Cut(scheme="per-layer", keep=Speedup(3), calibration_images=64),)
    assert spec.training is not None
    assert spec.fine_tuning is not None
    assert (spec.training.epochs, spec.fine_tuning.epochs) == (2, 1)
    assert spec.distillation == Distillation()


def test_repeats_differ_and_settings_share_their_seeds(space):
    seeds = [space.trial_spec(DRAWN, number=0, repeat=repeat).seed for repeat in range(20)]
    assert len(set(seeds)) == 20
    other = {**DRAWN, "epochs": 8, "scheme": "channel", "energy_channel": 0.9}
    assert space.trial_spec(other, number=9, repeat=4).seed == seeds[4]
    assert space.trial_spec(DRAWN, number=0).split_seed == 3
    assert space.baseline_spec().seed == 3


def test_a_cut_may_be_apart_from_the_training_energy(tmp_path):
    by_energy = loaded(tmp_path, f"{FIXED}space: {{energy: 0.9, cut_energy: 0.8}}")
    assert by_energy.trial_spec({}, number=0).cuts[0].keep == Energy(0.8)
    by_value = loaded(tmp_path, f"{FIXED}space: {{energy: 0.9, cut_value: 0.05}}")
    cut = by_value.trial_spec({}, number=0).cuts[0]
    assert cut.keep == records.Value(0.05)


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
    assert [(cut.scheme, cut.keep) for cut in spec.cuts] == [
        (scheme, Energy(energy)) for scheme in ("channel", "spatial") for energy in energies
    ]


def test_weights_from_outside_are_not_trained_before_the_search(tmp_path):
    text = FIXED.replace("data: digits", "data: digits, weights: w.safetensors")
    assert loaded(tmp_path, text).baseline_spec().training is None


def test_part_of_a_gpu_is_cuda(tmp_path):
    space = loaded(tmp_path, f"{FIXED}resources: {{cpus: 3, gpus: 0.25}}")
    spec = space.trial_spec({}, number=0)
    assert (spec.device, spec.threads) == ("cuda", 3)


def test_a_violation_is_how_far_a_point_misses_its_bound(tmp_path, make_point):
    bounds = "constraints: {accuracy: 0.9, speedup: 2, parameters: 1000}"
    space = loaded(tmp_path, f"{FIXED}{bounds}")
    point = make_point("0", correct=160, speedup=4.0, parameters=1500)
    expected = {"accuracy": 0.1, "speedup": -2.0, "parameters": 500.0}
    assert space.violations(point) == pytest.approx(expected)


@st.composite
def draws(draw: st.DrawFn, parameters: tuple[Parameter, ...]) -> dict[str, Scalar]:
    drawn: dict[str, Scalar] = {}
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
    spec = space.trial_spec(drawn, number=0)
    assert spec.pruning.scheme == spec.cuts[0].scheme == drawn["scheme"]
    assert spec.pruning.keep.energy == drawn[f"energy_{drawn['scheme']}"]
    assert spec.training.epochs == drawn["epochs"]


SPEEDUP = f"{FIXED}space: {{scheme: spatial, speedup: {{low: 1.5, high: 4.0}}}}"
CURVE = (
    "extra_cuts: {speedups: [2, 3.5], energies: [0.9, 0.7], images: 300, calibration_images: 64}"
)


def test_a_trial_towards_a_speedup_is_trained_and_cut_by_it(tmp_path):
    space = loaded(tmp_path, SPEEDUP)
    assert space.parameters() == (Parameter(name="speedup", low=1.5, high=4.0),)
    spec = space.trial_spec({"speedup": 2.5}, number=0)
    assert spec.pruning.keep == Speedup(2.5)
    assert spec.cuts == (Cut(scheme="spatial", keep=Speedup(2.5)),)


@pytest.mark.parametrize(
    "entries",
    [
        "space: {speedup: {low: 1.5, high: 4.0}}",
        "space: {speedup: [2, 3], allocation: [knapsack, greedy], multiple: [1, 8]}",
        "space: {energy: [0.8, 0.9], cut_speedup: 2, calibration_images: [0, 256]}",
        "space: {energy: [0.8, 0.9]}\nextra_cuts: {speedups: [], energies: []}",
    ],
)
def test_a_space_of_speedups_or_with_a_curve_survives_a_dump(tmp_path, entries):
    space = loaded(tmp_path, f"{FIXED}{entries}")
    again = loaded(tmp_path, space.dump())
    assert again == space
    assert again.parameters() == space.parameters()


def test_energy_together_with_speedup_is_refused(tmp_path):
    said = refusal(tmp_path, f"{FIXED}space: {{energy: 0.9, speedup: [2, 3]}}")
    assert said == "space: takes one of energy and speedup"


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ("space: {speedup: 0.5}", "space.speedup: 0.5 is not at least 1"),
        ("space: {speedup: {low: 0.5, high: 2}}", "space.speedup.low: 0.5 is not at least 1"),
        ("space: {multiple: 0}", "space.multiple: 0 is not above 0"),
        ("space: {calibration_images: -1}", "space.calibration_images: -1 is not at least 0"),
        (
            "space: {allocation: knapsak}",
            f"space.allocation: 'knapsak' is not one of {', '.join(get_args(Allocation))}",
        ),
        ("extra_cuts: {speedups: [2, 0.5]}", "extra_cuts.speedups[1]: 0.5 is not at least 1"),
        ("extra_cuts: {energies: [0]}", "extra_cuts.energies[0]: 0 is not in (0, 1]"),
        ("extra_cuts: {image: 5}", "extra_cuts.image: unknown key; did you mean images?"),
    ],
)
def test_an_amount_that_cannot_be_is_told_of_in_one_line(tmp_path, entries, problem):
    assert refusal(tmp_path, f"{FIXED}{entries}") == problem


@pytest.mark.parametrize("trained", ["energy: 0.9", "speedup: 3.0"])
def test_a_cut_by_speedup_goes_before_what_was_trained_towards(tmp_path, trained):
    space = loaded(tmp_path, f"{FIXED}space: {{{trained}, cut_speedup: 2.0, multiple: 4}}")
    (cut,) = space.trial_spec({}, number=0).cuts
    assert (cut.keep, cut.multiple) == (Speedup(2.0), 4)


def test_how_a_budget_is_spread_is_the_trials_cut(tmp_path):
    entries = "{speedup: 2.0, allocation: [greedy, uniform], calibration_images: [0, 64]}"
    space = loaded(tmp_path, f"{FIXED}space: {entries}")
    spec = space.trial_spec({"allocation": "uniform", "calibration_images": 64}, number=0)
    assert (spec.cuts[0].allocation, spec.cuts[0].calibration_images) == ("uniform", 64)


def test_the_curve_is_what_a_trial_and_the_baseline_race(tmp_path):
    space = loaded(tmp_path, f"{FIXED}space: {{scheme: spatial, energy: 0.8}}\n{CURVE}")
    energies = tuple(Cut(scheme="spatial", keep=Energy(e)) for e in (0.9, 0.7))
    budgets = tuple(
        Cut(scheme="per-layer", keep=Speedup(s), calibration_images=64) for s in (2.0, 3.5)
    )
    spec = space.trial_spec({}, number=0)
    assert (spec.screening, spec.screening_images) == (energies + budgets, 300)
    plain = space.baseline_spec()
    assert (plain.screening, plain.screening_images) == (budgets, 300)
    assert len({cut.name for cut in (*spec.cuts, *spec.screening)}) == 5


def test_layers_that_a_space_leaves_out_stay_out_of_solved_cuts(tmp_path):
    for layers, own in (
        ("auto", "all"),
        ("kxk", "all"),
        ("'auto, !head'", "all, !head"),
        ("'fc*'", "fc*"),
    ):
        entries = f"method: ddlr-style, error: 0.2, layers: {layers}"
        space = loaded(tmp_path, f"{FIXED}space: {{{entries}}}")
        assert space.trial_spec({}, number=0).cuts[0].layers == own


def test_further_cuts_have_ranks_that_are_multiples_too(tmp_path):
    for entries in ("energy: 0.9", "method: elastic, scheme: spatial"):
        space = loaded(tmp_path, f"{FIXED}space: {{{entries}, multiple: 8}}\n{CURVE}")
        spec = space.trial_spec({}, number=0)
        assert spec.screening
        assert {cut.multiple for cut in (*spec.cuts, *spec.screening)} == {8}


def test_a_trials_own_cut_does_not_race_against_itself(tmp_path):
    space = loaded(tmp_path, f"{FIXED}space: {{scheme: spatial, energy: 0.9}}\n{CURVE}")
    spec = space.trial_spec({}, number=0)
    assert [cut.name for cut in spec.screening] == ["spatial-0.7", "2x", "3.5x"]


@pytest.mark.parametrize(
    ("entries", "further"),
    [
        ("energy: 0.9", 0),
        ("speedup: 2", 0),
        ("energy: 0.9, cut_energy: 0.8", 0),
        ("energy: 0.9, projection: false, nuclear_weight: 1e-3", 8),
        ("energy: 0.9, period: never", 8),
        ("method: nuclear, energy: 0.9, nuclear_weight: 1e-3", 8),
        ("method: decomposable, energy: 0.9", 8),
        ("method: plain, energy: 0.9", 0),
    ],
)
def test_what_truncations_trained_has_no_further_cuts_by_default(tmp_path, entries, further):
    space = loaded(tmp_path, f"{FIXED}space: {{{entries}}}")
    assert len(space.trial_spec({}, number=0).screening) == further
    assert [cut.keep.speedup for cut in space.baseline_spec().screening] == [1.5, 2, 3, 4, 6, 8]


def test_a_cut_of_all_layers_pooled_does_not_race_against_itself(tmp_path):
    own = "space: {energy: 0.9, allocation: pooled}"
    space = loaded(tmp_path, f"{FIXED}{own}\nextra_cuts: {{speedups: [2], energies: [0.9, 0.8]}}")
    screening = space.trial_spec({}, number=0).screening
    assert [cut.name for cut in screening] == [
        "channel-0.8-pooled",
        "channel-2x-pooled-weights-only",
    ]


def test_a_space_with_the_defaults_of_an_earlier_version_means_what_it_meant(tmp_path):
    own = "space: {energy: 0.9}"
    curve = "extra_cuts: {speedups: [1.5, 2, 3, 4, 6, 8], energies: [0.98, 0.9, 0.8]}"
    spec = loaded(tmp_path, f"{FIXED}{own}\n{curve}").trial_spec({}, number=0)
    amounts = [cut.keep.amount for cut in (*spec.cuts, *spec.screening)]
    assert amounts == [0.9, 0.98, 0.8, 1.5, 2, 3, 4, 6, 8]


def test_cuts_that_a_space_asks_for_are_of_every_trained_network(tmp_path):
    space = loaded(tmp_path, f"{FIXED}space: {{energy: 0.9}}\n{CURVE}")
    spec = space.trial_spec({}, number=0)
    assert [cut.name for cut in spec.screening] == ["channel-0.7", "2x", "3.5x"]
    half = loaded(tmp_path, f"{FIXED}space: {{energy: 0.9}}\nextra_cuts: {{speedups: [2]}}")
    assert [cut.name for cut in half.trial_spec({}, number=0).screening] == ["2x"]


def test_an_empty_curve_leaves_every_network_with_its_own_cuts(tmp_path):
    space = loaded(tmp_path, f"{FIXED}extra_cuts: {{speedups: [], energies: []}}")
    assert space.trial_spec({}, number=0).screening == space.baseline_spec().screening == ()


def test_the_baselines_budgets_need_no_entry_for_a_scheme_that_is_not_drawn(tmp_path):
    entries = "space: {scheme: spatial, energy: 0.9, layers: {by_scheme: {spatial: all}}}"
    screening = loaded(tmp_path, f"{FIXED}{entries}\n{CURVE}").baseline_spec().screening
    assert [(cut.keep, cut.layers) for cut in screening] == [
        (Speedup(2.0), "all"),
        (Speedup(3.5), "all"),
    ]


def test_rungs_are_those_of_the_trials_own_training_and_the_baseline_has_none(tmp_path):
    space = loaded(
        tmp_path,
        "workload: {network: small_resnet, data: digits}\ntraining: {epochs: 40}\n"
        "space: {energy: 0.9, training: {epochs: [4, 12]}}\nrungs: {first: 1, factor: 3}\n",
    )
    found = [space.trial_spec({"epochs": n}, number=0).rungs for n in (4, 12)]
    assert found == [(1, 3), (1, 3, 9)]
    assert space.baseline_spec().rungs == ()


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ("rungs: {}\nrepeats: 2", "rungs: need repeats: 1, not 2"),
        ("rungs: {factor: 1}", "rungs.factor: 1 is not in (1, 100]"),
        (
            "rungs: {by: [speed]}",
            "rungs.by[0]: 'speed' is not one of accuracy, speedup, parameters",
        ),
        ("patience: {gain: 0.1}", "patience.trials: is missing; it takes a whole number"),
    ],
)
def test_how_a_search_ends_early_is_checked(tmp_path, entries, problem):
    assert refusal(tmp_path, f"{FIXED}{entries}").startswith(problem)


TARGET = "target: {name: here}\n"


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ("space: {latency_speedup: 2}", "space.latency_speedup: needs `target`"),
        ("space: {cut_milliseconds: 2}", "space.cut_milliseconds: needs `target`"),
        ("extra_cuts: {latency_speedups: [2]}", "extra_cuts.latency_speedups: needs `target`"),
        (
            f"{TARGET}extra_cuts: {{latency_speedups: [2, 2]}}",
            "extra_cuts.latency_speedups: duplicate value 2",
        ),
        (
            f"{TARGET}space: {{milliseconds: 2, scheme: [spatial, decoupled]}}",
            "space.scheme: decoupled pairs are not timed, which milliseconds needs",
        ),
        (
            f"{TARGET}space: {{latency_speedup: 2, method: [plain, prune]}}",
            "space.latency_speedup: method prune takes no time budget, but speedup",
        ),
        (
            f"{TARGET}space: {{speedup: 2, latency_speedup: 2}}",
            "space: takes one of speedup and latency_speedup",
        ),
    ],
)
def test_a_budget_in_time_is_of_pairs_and_of_a_target(tmp_path, entries, problem):
    assert refusal(tmp_path, f"{FIXED}{entries}").startswith(problem)


@pytest.mark.parametrize(
    ("method", "key"),
    [
        *((m, "latency_speedup") for m in ("plain", "trp", "nuclear", "decomposable")),
        ("elastic", "cut_latency_speedup"),
    ],
)
def test_a_budget_in_time_is_drawn_and_read_back(tmp_path, method, key):
    varied = f"space: {{method: {method}, {key}: [1.5, 2.5], nuclear_weight: 0.1}}"
    if method != "nuclear":
        varied = varied.replace(", nuclear_weight: 0.1", "")
    space = loaded(tmp_path, f"{FIXED}{TARGET}{varied}\nextra_cuts: {{latency_speedups: [3]}}")
    spec = space.trial_spec({key: 2.5}, number=0)
    asked = records.LatencySpeedup(2.5)
    assert spec.cuts[0].keep == asked
    assert spec.pruning is None or spec.pruning.keep == asked
    assert warm_start.setting_of(space, spec)[key] == 2.5
    assert records.from_json(records.TrialSpec, records.to_json(spec)) == spec
    trains = method != "plain"
    further = [cut.keep for cut in (spec if trains else space.baseline_spec()).screening]
    assert records.LatencySpeedup(3) in further


@pytest.mark.parametrize(
    "key", ["energy", "value", "ratio", "speedup", "parameters", "latency_speedup", "milliseconds"]
)
@pytest.mark.parametrize("amount", [-1, 0])
def test_what_is_out_of_bounds_is_told_alike_in_a_space_and_in_python(tmp_path, key, amount):
    with pytest.raises(InputError) as in_python:
        records.KEEPS[key](amount)
    with pytest.raises(InputError) as in_a_space:
        loaded(tmp_path, f"{FIXED}space: {{{key}: {amount}}}")
    said = str(in_python.value).partition(": ")[2]
    assert str(in_a_space.value) == f"{tmp_path / 'x.yaml'}: space.{key}: {said}"
