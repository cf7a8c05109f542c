"""What a network is asked before anything trains, and that what passes can be trained."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from trp_search.errors import InputError
from trp_search.records import Cut, Speedup, TrialResult
from trp_search.runs import trial
from trp_search.runs.compress import compress
from trp_search.runs.probe import baseline_network, probe_
from trp_search.search.start import new_search
from trp_search.space import SearchSpace, load_space
from trp_search.store import RunFolder

MODULES = Path(__file__).parents[1] / "modules"
SPACE = """\
workload:
  network: {{name: "awkward:build", options: {{kind: {kind}}}}}
  data: {{name: digits, subset: 80, heldout_subset: 40}}
training: {{epochs: 1, batch_size: 20, learning_rate: 0.01{more}}}
space:
  {what}
  energy: 0.7
  layers: {layers}
extra_cuts: {{speedups: [], energies: []}}
trials: 1
"""


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., SearchSpace]:
    """A space whose network is an awkward one."""
    monkeypatch.syspath_prepend(MODULES)

    def make(kind: str, **given: str) -> SearchSpace:
        path = tmp_path / "space.yaml"
        usual = {"layers": "all", "what": "scheme: channel", "more": ""}
        path.write_text(SPACE.format(kind=kind, **(usual | given)))
        return load_space(path)

    return make


def probed(space: SearchSpace) -> None:
    probe_(space, *baseline_network(space.workload))


def kinds() -> list[str]:
    sys.path.insert(0, str(MODULES))
    try:
        from awkward import NETWORKS  # noqa: PLC0415  a user's module, as it is found by a search
    finally:
        sys.path.remove(str(MODULES))
    return list(NETWORKS)


PASS = {"plain", "one part twice", "channels last", "first layer frozen", "instance norm", "mish"}
PASS |= {"batch norm without averages", "feature dropout", "weight norm", "a tuple in training"}
PASS |= {"tokens first", "shapes"}


REFUSED = {
    "too few outputs": "returns a tensor (2, 5) for 2 images of 10 classes, labels 0 to 9",
    "too many outputs": "returns a tensor (2, 11) for 2 images of 10 classes, labels 0 to 9",
    "a map": "returns a tensor (2, 10, 1, 1) for 2 images of 10 classes",
    "a tuple": "returns a tuple; one tensor is expected",
    "a dict": "returns a dict; one tensor is expected",
    "a dict in training": "in training: returns a dict; one tensor is expected",
    "classes": "returns a tensor (2,) for 2 images of 10 classes",
    "whole numbers": "answers int64 numbers; floating-point ones are wanted",
    "no gradient": "a training step on a batch of 2 raised RuntimeError: element 0",
    "not a number": "its loss is not finite, with initial weights and noise images",
    "half": "its weights are float16 and images float32: return it with .float()",
    "double": "its weights are float64 and images float32: return it with .float()",
    "colour": "given images of 1 x 8 x 8 (channels x height x width), it raised RuntimeError",
    "no parameters": "has no parameters: there is nothing to train or to cut",
    "all frozen": "a training step on a batch of 2 raised RuntimeError: element 0",
    "old weight norm": "copying it raised RuntimeError: Only Tensors created explicitly by",
    "numbers aside": "returns other outputs once its weights are stored and loaded: something",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in kinds() if kind not in REFUSED])
def test_what_passes_can_be_trained_and_cut(space, tmp_path: Path, kind: str):
    given = space(kind)
    problem = ""
    try:
        probed(given)
    except InputError as error:
        problem = str(error)
    if problem:
        assert kind not in PASS, problem
        assert problem.startswith("workload.network: awkward:build: ")
        assert "\n" not in problem
        return
    run = RunFolder.create(tmp_path / "run")
    for spec in (given.baseline_spec(), given.trial_spec({}, number=0)):
        *_, result = trial.run(spec, run)
        assert isinstance(result, TrialResult)
        assert result.ended_well, result.why_not
        assert result.points


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_searched_is_told_in_one_line(space, kind: str):
    with pytest.raises(InputError) as caught:
        probed(space(kind))
    assert str(caught.value).startswith(f"workload.network: awkward:build: {REFUSED[kind]}")
    assert "\n" not in str(caught.value)


def test_a_network_in_which_the_space_cuts_nothing_is_refused(space):
    with pytest.raises(InputError) as caught:
        probed(space("nothing to cut", layers="kxk"))
    assert str(caught.value) == (
        "workload.network: awkward:build: has nothing to cut (linear layer, not selected)"
    )
    probed(space("nothing to cut"))
    with pytest.raises(InputError, match="no weight that trains can be cut"):
        probed(space("convolutions frozen", what="method: decomposable", layers="kxk"))


def test_a_recipe_that_the_network_does_not_take_is_found(space):
    with pytest.raises(
        InputError, match=r"in training: given images .* it raised RuntimeError: view size is"
    ):
        probed(space("shapes", more=", channels_last: true"))


def test_a_batch_of_one_image_is_tried_where_trainings_have_it(space):
    usual = space("head normed")
    probed(usual)
    alone = dataclasses.replace(usual.training, batch_size=1)
    for given in (
        usual.model_copy(update={"training": alone}),
        space("head normed", what="scheme: channel\n  training: {batch_size: [1, 20]}"),
    ):
        with pytest.raises(InputError, match="batch of 1 raised ValueError: Expected more than 1"):
            probed(given)


def test_no_trace_is_left(space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    given = space("feature dropout")
    network, shape = baseline_network(given.workload)
    network[4].eval()
    modes = [module.training for module in network.modules()]
    monkeypatch.chdir(tmp_path)
    before = torch.get_rng_state(), sorted(tmp_path.iterdir())
    probe_(given, network, shape)
    baseline_network(given.workload)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert sorted(tmp_path.iterdir()) == before[1]
    assert [module.training for module in network.modules()] == modes
    assert network[0].weight.isfinite().all()


def test_a_search_and_compress_ask_before_they_write(space, tmp_path: Path):
    said = re.escape("returns a tensor (2, 5) for 2 images")
    with pytest.raises(InputError, match=said):
        new_search(space("too few outputs"), tmp_path / "run")
    with pytest.raises(InputError, match=said):
        next(compress(space("too few outputs"), RunFolder(path=tmp_path / "run"), CUT))
    assert not (tmp_path / "run").exists()


CUT = Cut(scheme="per-layer", keep=Speedup(1.5))


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_tool_that_int8_needs_is_missed_before_the_search(
    space: Callable[..., SearchSpace], monkeypatch: pytest.MonkeyPatch, precision: str
):
    asked = space("plain", what=f"precision: {precision}")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    told = nullcontext() if precision == "float32" else pytest.raises(InputError, match="installed")
    with told:
        probed(asked)
