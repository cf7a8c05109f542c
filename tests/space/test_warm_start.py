import pytest

from tests.space.files import loaded, refusal
from trp_search.space import changed, warm_start

SPACE = """\
workload: {network: small_resnet, data: digits}
training: {epochs: 4}
space:
  scheme: [channel, spatial]
  energy: {by_scheme: {channel: {low: 0.8, high: 0.99}, spatial: {low: 0.9, high: 0.99}}}
  period: [5, 20, never]
  nuclear_weight: {low: 1.0e-6, high: 1.0e-3, log: true}
  start: scratch
  training: {epochs: {low: 2, high: 8, step: 2}, nesterov: [true, false]}
trials: 4
"""


def test_without_any_nothing_is_tried_first(tmp_path):
    assert warm_start.parameters(loaded(tmp_path, SPACE)) == []


def test_a_setting_is_what_the_study_draws_for_its_scheme(tmp_path):
    given = "{scheme: spatial, energy: 0.95, period: never, start: scratch, epochs: 6}"
    space = loaded(tmp_path, f"{SPACE}warm_start: [{given}]\n")
    (drawn,) = warm_start.parameters(space)
    assert drawn == {"scheme": "spatial", "energy_spatial": 0.95, "period": "never", "epochs": 6}
    spec = space.trial_spec(drawn | {"nuclear_weight": 1e-5, "nesterov": True}, number=0)
    assert (spec.pruning.scheme, spec.pruning.keep.energy, spec.pruning.period) == (
        "spatial",
        0.95,
        None,
    )
    assert spec.training.epochs == 6


def test_the_papers_setting_is_tried_with_each_scheme(tmp_path):
    space = loaded(tmp_path, f"{SPACE}warm_start: [paper]\n")
    own = {"period": 20, "nuclear_weight": pytest.approx(3e-4 / 20)}
    assert warm_start.parameters(space) == [
        {"scheme": scheme, f"energy_{scheme}": 0.98} | own for scheme in ("channel", "spatial")
    ]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("{scheme: spatial, energy: 0.85}", "energy: 0.85 is not in [0.9, 0.99]"),
        ("{energy: 0.95}", "energy: needs the scheme beside it"),
        ("{scheme: decoupled}", "scheme: 'decoupled' is not one of channel, spatial"),
        ("{period: 6}", "period: 6 is not one of 5, 20, never"),
        ("{epochs: 5}", "epochs: 5 is not in [2, 8] by steps of 2"),
        ("{epochs: many}", "epochs: 'many' is not in [2, 8] by steps of 2"),
        ("{nesterov: 1}", "nesterov: 1 is not one of True, False"),
        ("{start: baseline}", "start: 'baseline' is not the space's 'scratch'"),
        ("{energie: 0.9}", "energie: is no entry of the space"),
    ],
)
def test_a_setting_outside_the_space_is_refused_with_its_place(tmp_path, given, problem):
    said = refusal(tmp_path, f"{SPACE}warm_start: [{{period: 5}}, {given}]\n")
    assert said == f"warm_start[1].{problem}"


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("[papers]", "warm_start[0]: 'papers' is not paper"),
        ("paper", "warm_start: 'paper' is not a list"),
    ],
)
def test_what_is_no_setting_is_told_in_one_line(tmp_path, given, problem):
    assert refusal(tmp_path, f"{SPACE}warm_start: {given}\n") == problem


@pytest.mark.parametrize("weight", [0.0, 0.8])
def test_a_share_of_distillation_begins_another_search(tmp_path, weight):
    varied = SPACE.replace("  period", "  distillation: {low: 0, high: 1}\n  period")
    space = loaded(tmp_path, varied)
    drawn = {"scheme": "spatial", "energy_spatial": 0.95, "period": 5, "epochs": 4}
    drawn |= {"nuclear_weight": 1e-4, "nesterov": True, "distillation": weight}
    spec = space.trial_spec(drawn, number=7)
    assert warm_start.setting_of(space, spec)["distillation"] == weight
    asked = space.model_copy(update={"warm_start": ("paper",)})
    alone = [setting["distillation"] for setting in warm_start.parameters(asked)]
    assert alone == [0.0, 0.0], "the paper's is by labels"


def test_a_cut_without_training_says_nothing_of_distillation(tmp_path):
    text = SPACE.replace("  period", "  method: [trp, plain]\n  distillation: [0.5, 1]\n  period")
    space = loaded(tmp_path, text)
    drawn = {"method": "plain", "scheme": "channel", "energy_channel": 0.9, "distillation": 0.5}
    setting = warm_start.setting_of(space, space.trial_spec(drawn, number=7))
    assert "distillation" not in setting
    assert not list(warm_start.problems(space, setting))


def test_a_setting_of_another_search_is_what_this_one_varies(tmp_path):
    space = loaded(tmp_path, SPACE)
    drawn = {"scheme": "channel", "energy_channel": 0.9, "period": 5, "epochs": 4}
    drawn |= {"nuclear_weight": 1e-5, "nesterov": False}
    setting = warm_start.setting_of(space, space.trial_spec(drawn, number=7))
    (again,) = warm_start.parameters(changed(space, warm_start=(setting,)))
    assert again.pop("nuclear_weight") == pytest.approx(1e-5)
    del drawn["nuclear_weight"]
    assert again == drawn


def test_a_weight_that_never_acted_is_left_to_be_proposed(tmp_path):
    """Without truncations the term acts only where it acts at every step."""
    never = {"scheme": "channel", "energy_channel": 0.9, "period": "never", "epochs": 4}
    never |= {"nuclear_weight": 1e-4, "nesterov": True}
    space = loaded(tmp_path, SPACE)
    setting = warm_start.setting_of(space, space.trial_spec(never, number=7))
    assert "nuclear_weight" not in setting
    assert list(warm_start.problems(space, setting)) == []

    space = loaded(tmp_path, SPACE.replace("start: scratch", "nuclear_every_step: true"))
    setting = warm_start.setting_of(space, space.trial_spec(never, number=7))
    assert setting["nuclear_weight"] == 1e-4
