"""Trials whose own network is served in int8: scored and stored by the real runtime."""

from __future__ import annotations

import dataclasses
import shutil
from unittest import mock

import pytest

from tests.runs.trained import begun, ended
from trp_search.errors import InputError
from trp_search.records import USUAL_QUANTIZER, MaxDrop, Point, Ranks
from trp_search.runs import trial
from trp_search.runs.compress import recut
from trp_search.runs.confirm import confirm, plan
from trp_search.runs.quantize import quantize
from trp_search.runs.refit import refit
from trp_search.store import RunFolder

pytestmark = pytest.mark.slow

SPACE = {
    "workload": {"network": "small_resnet", "data": {"name": "digits", "subset": 200}},
    "training": {"epochs": 2, "batch_size": 50, "learning_rate": 0.05},
    "space": {
        "precision": ["float32", "int8"],
        "scheme": "spatial",
        "energy": 0.8,
        "period": 2,
        "start": "scratch",
        "distillation": 0,
    },
    "objectives": ["accuracy", "bytes"],
    "extra_cuts": {"speedups": [2], "energies": []},
    "rungs": {"first": 1},
    "trials": 2,
}


@pytest.fixture(scope="module")
def made(space, tmp_path_factory) -> RunFolder:
    """A run with its baseline, trial 0 in float32 and trial 1, the same in int8."""
    with mock.patch("trp_search.space.cuts.CONTROL_ENERGIES", (0.8,)):
        folder = begun(space, tmp_path_factory.mktemp("run") / "run")
    for number, precision in enumerate(("float32", "int8")):
        ended(folder, space.trial_spec({"served_precision": precision}, number=number))
    return folder


@pytest.fixture
def run(made, tmp_path) -> RunFolder:
    return RunFolder.open(shutil.copytree(made.path, tmp_path / "run"))


def of(run: RunFolder, trial: str) -> dict[str, Point]:
    """The points of a trial that differ in what the trial does alone, by what follows its name."""
    return {
        point.id.removeprefix(trial): dataclasses.replace(point, id="p", trial="t", seconds=0.0)
        for point in run.read_points()
        if point.trial == trial
    }


def test_a_trial_in_int8_is_the_one_in_float_and_a_point_more(made):
    floats, others = of(made, "0"), of(made, "1")
    own = others.pop("-int8")
    assert floats[""].role == own.role == "trial"
    assert others[""].role == "derived"
    assert others | {"": floats[""]} == floats | {"": dataclasses.replace(others[""], role="trial")}
    assert made.trial("1").read_result().own.id == "1-int8"
    assert {p.settings["served_precision"] for p in (*floats.values(), *others.values())} == {
        "float32"
    }
    assert own.settings == others[""].settings | {"served_precision": "int8"}


def test_its_point_is_what_quantise_makes_of_the_float_network(run):
    (later,) = quantize(run, [run.point("0")], USUAL_QUANTIZER)
    own, same = of(run, "1")["-int8"], dataclasses.replace(later, id="p", trial="t", seconds=0.0)
    assert own.int8.of == "1"
    assert (
        dataclasses.replace(same, role="trial", int8=dataclasses.replace(same.int8, of="1")) == own
    )
    files = [run.weights(run.point(name)).read_bytes() for name in ("0-int8", "1-int8")]
    assert files[0] == files[1]


def test_networks_at_searched_ranks_are_in_int8_as_well_where_their_trial_is(made):
    own = made.point("1-int8")
    ranks = {layer.name: max(1, layer.rank // 2) for layer in own.layers if layer.rank}
    for trained, kinds in (("0", ["float"]), ("1", ["float", "int8"])):
        spec = made.trial(trained).read_spec()
        cut = dataclasses.replace(spec.cuts[0], keep=Ranks(ranks))
        batch = dataclasses.replace(
            spec,
            name=f"ranks-{trained}",
            kind="ranks",
            weights_of=trained,
            training=None,
            int8=None,
            cuts=(cut,),
        )
        points = list(trial.run(batch, made))[-1].points
        assert ["int8" if point.int8 else "float" for point in points] == kinds
        assert {(point.role, point.by_ranks) for point in points} == {("derived", True)}
    plain, quantized = points
    assert quantized.int8.of == plain.id
    assert quantized.bytes < 0.5 * plain.bytes
    assert quantized.settings["served_precision"] == "int8"
    assert made.weights(quantized).exists()


def test_a_rung_sees_the_network_in_int8(made):
    (now, _), (then, last) = (made.trial(name).read_epochs() for name in ("1", "0"))
    assert now.rung_score.bytes < 0.45 * then.rung_score.bytes
    assert now.rung_score.speedup == then.rung_score.speedup
    assert last.rung_score is None


def test_a_killed_one_goes_on_to_the_same_point(space, made, run):
    spec = made.trial("1").read_spec()
    shutil.rmtree(run.trial("1").path)
    ended(run, spec, epochs=1)
    again = ended(run, spec)
    known = {point.id: point for point in made.read_points()}
    for point in again.points:
        assert dataclasses.replace(point, seconds=known[point.id].seconds) == known[point.id]
    files = [folder.weights(known["1-int8"]).read_bytes() for folder in (run, made)]
    assert files[0] == files[1]


def test_other_seeds_are_scored_in_int8_as_well(run):
    (spec, points) = next(one for one in plan(run, seeds=1) if one[0].name == "confirm-1-1")
    *_, result = confirm(run, spec, points)
    assert result.ended_well
    assert "1-int8" in {point.id for point in points}
    scores = {point.id.removeprefix("confirm-1-1"): point.score for point in result.points}
    for point in points:
        (found,) = run.read_repeats()[point.id]
        assert found.score == scores[point.id.removeprefix("1")]
    assert not [*run.trial(spec.name).path.glob("point-*")]


def test_its_float_network_is_what_is_refitted(run):
    *_, result = refit(run, "1")
    (own,) = result.points
    assert own.int8 is None
    (found,) = quantize(run, [own], USUAL_QUANTIZER)
    assert (found.int8.of, found.role, found.searched) == (own.id, "refit", False)
    with pytest.raises(InputError, match="was trained on validation; --max-drop is not for it"):
        recut(run, "refit-1", dataclasses.replace(own.cut, keep=MaxDrop(0.1)))
    with pytest.raises(InputError, match="was trained on validation; --max-drop is not for it"):
        next(quantize(run, [own], USUAL_QUANTIZER, max_drop=0.1))
