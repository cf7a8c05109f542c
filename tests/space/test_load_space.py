from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from tests.space.files import refusal
from trp_search.errors import InputError
from trp_search.records import Training
from trp_search.records.json import NAMED
from trp_search.space import changed, load_space
from trp_search.space.search_fields import TrainingEntries

SHIPPED = sorted((Path(__file__).parents[2] / "search_spaces").glob("*.yaml"))
PLAIN = "workload: {network: resnet20, data: digits}\ntraining: {epochs: 3}\n"
SPACE = f"{PLAIN}space: {{energy: [0.8, 0.9]}}\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "x.yaml"
    path.write_text(text)
    return path


def test_these_spaces_are_shipped():
    names = ["cifar10", "cifar10_elastic", "cifar10_images", "cifar10_methods", "cifar10_vit"]
    names += ["digits", "elastic"]
    names += ["imagenet_resnet18", "imagenet_resnet50", "imagenet_resnet50_methods"]
    assert [path.stem for path in SHIPPED] == names


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_what_a_shipped_space_dumps_loads_as_the_same_space(path, tmp_path):
    space = load_space(path)
    assert space.parameters()
    assert load_space(written(tmp_path, space.dump())) == space


def test_every_form_of_entry_survives_a_dump(tmp_path):
    text = """
workload: {network: {name: "a:b", options: {depth: 3, note: "1e-5", none: null}}, data: digits}
training: {epochs: 3}
space:
  scheme: [channel, spatial]
  energy: {by_scheme: {channel: {low: .8, high: .99}, spatial: [0.9, 0.95]}}
  period: [5, never]
  nuclear_weight: {low: 1e-6, high: 1e-3, log: true}
  training: {milestones: [[0.5], [0.5, 0.75]], epochs: {low: 2, high: 8, step: 2}}
constraints: {accuracy: 0.9}
sampler: nsga2
"""
    space = load_space(written(tmp_path, text))
    assert space.workload.network.options == {"depth": 3, "note": "1e-5", "none": None}
    assert load_space(written(tmp_path, space.dump())) == space


def test_a_name_stands_for_a_network_data_and_a_sampler(tmp_path):
    short = load_space(written(tmp_path, SPACE + "sampler: random\n"))
    long = "workload: {network: {name: resnet20}, data: {name: digits}}\ntraining: {epochs: 3}\n"
    spelt = f"{long}space: {{energy: [0.8, 0.9]}}\nsampler: {{name: random}}\n"
    assert load_space(written(tmp_path, spelt)) == short


@pytest.mark.parametrize(
    ("trials", "startup", "population"), [(3, 5, 4), (16, 5, 4), (100, 20, 20)]
)
def test_the_sampler_scales_with_the_number_of_trials(tmp_path, trials, startup, population):
    space = load_space(written(tmp_path, f"{SPACE}trials: 24\n"))
    sizes = space.sampler.sizes(changed(space, trials=trials).trials)
    assert sizes == {"startup": startup, "population": population}
    given = load_space(written(tmp_path, f"{SPACE}sampler: {{startup: 7, population: 9}}\n"))
    assert given.sampler.sizes(trials) == {"startup": 7, "population": 9}


def test_a_trial_may_vary_every_training_setting_there_is():
    assert list(TrainingEntries.model_fields) == list(Training.__annotations__)


def test_a_space_loads_without_torch():
    code = (
        "import sys; from pathlib import Path; from trp_search.space import load_space;"
        "load_space(Path(sys.argv[1])).baseline_spec(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(SHIPPED[0])], check=True)


ENTRIES = {
    "{energy: {low: 0.8, high: 1.2}}": "space.energy.high: 1.2 is not in (0, 1]",
    "{energy: [0.8, abc]}": "space.energy[1]: 'abc' is not a number in (0, 1]",
    "{energy: true}": "space.energy: true is not a number in (0, 1]",
    "{energy: .nan}": "space.energy: NaN is not in (0, 1]",
    "{energy: []}": "space.energy: an empty list leaves nothing to choose from",
    "{energy: [0.5, 0.5]}": "space.energy: duplicate value 0.5",
    "{energy: {low: 0.9, high: 0.8}}": "space.energy: low 0.9 is not below high 0.8",
    "{energy: {low: 0.5, hihg: 0.9}}": "space.energy.hihg: unknown key; did you mean high?",
    "{energy: {low: 0.5}}": "space.energy.high: is missing; it takes a number in (0, 1]",
    "{enregy: 0.9}": "space.enregy: unknown key; did you mean energy?",
    "{nuclear_weight: {low: 0, high: 1, log: true}}": (
        "space.nuclear_weight: low 0 is not above 0, which log needs"
    ),
    "{nuclear_weight_per_step: 3}": (
        "space.nuclear_weight_per_step: unknown key; did you mean nuclear_every_step?"
    ),
    "{energy: [0.8, 0.9], cut_energy: 0.9, cut_value: 0.01}": (
        "space: takes one of cut_energy and cut_value"
    ),
    "{period: nver}": "space.period: 'nver' is not a whole number above 0 or never",
    "{period: [5, never, 1.5]}": "space.period[2]: 1.5 is not a whole number above 0 or never",
    "{period: {low: never, high: 3}}": "space.period.low: 'never' is not a whole number above 0",
    "{scheme: [channel, spatail]}": (
        "space.scheme[1]: 'spatail' is not one of channel, spatial, decoupled, per-layer"
    ),
    "{scheme: {low: 1, high: 2}}": (
        'space.scheme: {"low": 1, "high": 2} is not one of channel, spatial, decoupled, per-layer, '
        "or a list of such values"
    ),
    "{projection: 1}": "space.projection: 1 is not true or false",
    "{scheme: [channel, spatial], energy: {by_scheme: {channel: 0.5}}}": (
        "space.energy.by_scheme: has no entry for spatial, which can be drawn"
    ),
    "{scheme: [channel, spatial], training: {epochs: {by_scheme: {channel: 5}}}}": (
        "space.training.epochs.by_scheme: has no entry for spatial, which can be drawn"
    ),
    "{energy: {by_scheme: {channelx: 0.5}}}": (
        "space.energy.by_scheme.channelx: unknown key; did you mean channel?"
    ),
    "{energy: {by_scheme: {channel: {low: 0.5, high: 2}}}}": (
        "space.energy.by_scheme.channel.high: 2 is not in (0, 1]"
    ),
    "{training: {learning_rate: {low: -1, high: 1}}}": (
        "space.training.learning_rate.low: -1 is not above 0"
    ),
    "{training: {epocs: 3}}": "space.training.epocs: unknown key; did you mean epochs?",
    "{training: {epochs: {low: 2, high: 7, step: 2}}}": (
        "space.training.epochs: step 2 does not lead from low 2 to high 7"
    ),
    "{training: {epochs: {low: 2, high: 7, log: true, step: 1}}}": (
        "space.training.epochs: takes log or step, not both"
    ),
    "{training: {momentum: [0, 0.9]}}": (
        "space.training: nesterov needs momentum above 0, and momentum can be 0"
    ),
    "{method: [plain, tucker], period: [5, 10]}": (
        "space.period: is read by none of the methods: plain, tucker"
    ),
    "{method: tucker, energy: [0.8, 0.9], training: {epochs: 3}}": (
        "space.training.epochs: is read by none of the methods: tucker"
    ),
    "{method: cp, cut_energy: [0.8, 0.9], scheme: spatial}": (
        "space.scheme: is read by none of the methods: cp"
    ),
    "{precision: [float32, int8]}": (
        "space.precision: int8 could only lose: add one of bytes, latency_speedup, milliseconds to "
        "the objectives"
    ),
    "{precision: int8, energy: [0.8, 0.9]}\ntarget: {name: here}\nobjectives: [milliseconds]": (
        "space.precision: int8 runs in onnxruntime or openvino on cpu, not in eager on cpu, where "
        "milliseconds counts"
    ),
    "{method: plain, scheme: per-layer, energy: [0.8, 0.9]}\nrank_search: {vectors: 9}": (
        "rank_search: needs trials with one rank for each layer, and none has it (methods: plain; "
        "schemes: per-layer)"
    ),
    "{method: [trp, cp], scheme: channel, value: [0.1, 0.2]}": (
        "space.value: is of singular values, and method cp has none"
    ),
    "{method: [plain, cp], scheme: channel, cut_value: [0.1, 0.2]}": (
        "space.cut_value: is of singular values, and method cp has none"
    ),
    "{scheme: [channel, per-layer], allocation: [knapsack, pooled]}": (
        "space.allocation: pooled compares singular values of one scheme, not per-layer"
    ),
    "{precision: int4}": "space.precision: 'int4' is not one of float32, int8",
    "{energy: 0.9}": "space: nothing varies; give an entry a range or a list, or set trials: 1",
}


@pytest.mark.parametrize(("entry", "problem"), ENTRIES.items())
def test_an_entry_that_cannot_be_used_is_told_of_in_one_line(tmp_path, entry, problem):
    assert refusal(tmp_path, f"{PLAIN}space: {entry}\n") == problem


KEYS = {
    "resources: {gpus: 2}": "resources.gpus: 2 is not in [0, 1]: a trial trains on one device",
    "resources: {cpus: 1.5}": "resources.cpus: 1.5 is not a whole number above 0",
    "trials: 0": "trials: 0 is not above 0",
    "trials: true": "trials: true is not a whole number above 0",
    "objectives: accuracy": "objectives: 'accuracy' is not a list",
    "objectives: [acc]": (
        "objectives[0]: 'acc' is not one of accuracy, speedup, parameters, bytes, latency_speedup, "
        "milliseconds"
    ),
    "objectives: [speedup, speedup]": "objectives: duplicate value 'speedup'",
    "constraints: {accuracyy: 0.5}": "constraints.accuracyy: unknown key; did you mean accuracy?",
    "constraints: {accuracy: 92}": "constraints.accuracy: 92 is not in [0, 1]",
    "constraints: {speedup: 0.5}": "constraints.speedup: 0.5 is not at least 1",
    "sampler: tpee": "sampler.name: 'tpee' is not one of tpe, nsga2, random",
    "seed: -1": "seed: -1 is not in [0, 2147483648)",
    "address: 3": "address: 3 is not text",
    "target: {name: ../x}": f"target.name: '../x': {NAMED}",
    "workloads: 3": "workloads: unknown key; did you mean workload?",
    "trials: 3\ntrials: 4": "line 5: key 'trials' is given twice",
    "a: b: c": "line 4: mapping values are not allowed here",
    "? [1]\n: 2": "line 4: a key is not text",
}


@pytest.mark.parametrize(("line", "problem"), KEYS.items())
def test_a_key_that_cannot_be_used_is_told_of_in_one_line(tmp_path, line, problem):
    assert refusal(tmp_path, f"{SPACE}{line}\n") == problem


FILES = {
    "": "holds no mapping with keys such as workload:",
    "[1, 2]": "holds no mapping with keys such as workload:",
    "&a {x: *a}": "line 1: *a stands in itself",
    "workload: 3\ntraining: {epochs: 3}": (
        "workload: 3 is not a mapping with keys among network, data, task, weights"
    ),
    "training: {epochs: 3}": (
        "workload: is missing; it takes a mapping with keys among network, data, task, weights"
    ),
    PLAIN.replace("3", "'3'"): "training.epochs: '3' is not a whole number above 0",
    PLAIN.replace("3", "true"): "training.epochs: true is not a whole number above 0",
    PLAIN.replace("3", "3, momentum: 0"): "training: nesterov needs momentum above 0",
    PLAIN.replace("digits", "{name: digits, subset: 0}"): "workload.data.subset: 0 is not above 0",
    PLAIN.replace("digits", "{name: digits, mean: [127], std: [60]}"): (
        "workload.data.mean[0]: 127 is not in [0, 1]"
    ),
    PLAIN.replace("digits", "{nme: digits}"): "workload.data.nme: unknown key; did you mean name?",
}


@pytest.mark.parametrize(("text", "problem"), FILES.items())
def test_a_file_that_is_no_search_space_is_told_of_in_one_line(tmp_path, text, problem):
    assert refusal(tmp_path, text) == problem


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError) as caught:
        load_space(tmp_path / "none.yaml")
    expected = f"{tmp_path / 'none.yaml'}: cannot be read: No such file or directory"
    assert str(caught.value) == expected


def test_a_file_that_is_not_text_is_told_of_in_one_line(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xfa\x80\x00\x01")
    with pytest.raises(InputError) as caught:
        load_space(path)
    assert str(caught.value).startswith(f"{path}: not YAML: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"trials": 0}, "trials: 0 is not"),
        ({"trials": -3}, "trials: -3 is not"),
        ({"concurrency": 0}, "concurrency: 0 is not"),
        ({"seed": 2**31}, "seed: 2147483648 is not"),
    ],
)
def test_a_change_that_is_not_allowed_is_told_of_in_one_line(tmp_path, changes, problem):
    space = load_space(written(tmp_path, SPACE))
    with pytest.raises(InputError) as caught:
        changed(space, **changes)
    assert str(caught.value).startswith(problem)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_change_leaves_the_rest_as_it_was(path):
    space = load_space(path)
    assert changed(space) == space
    assert changed(space, seed=5, trials=9) == space.model_copy(update={"seed": 5, "trials": 9})


def test_more_trials_where_nothing_varies_are_refused(tmp_path):
    space = load_space(written(tmp_path, f"{PLAIN}trials: 1\n"))
    with pytest.raises(InputError, match="space: nothing varies"):
        changed(space, trials=2)


@pytest.mark.parametrize(
    "entry",
    [
        "{method: [trp, cp], scheme: channel, value: 0.1, cut_energy: [0.8, 0.9]}",
        "{scheme: [channel, per-layer], "
        "allocation: {by_scheme: {channel: pooled, per-layer: knapsack}}}",
    ],
)
def test_what_each_method_and_scheme_can_take_is_taken(tmp_path, entry):
    path = tmp_path / "space.yaml"
    path.write_text(f"{PLAIN}\nspace: {entry}\n")
    space = load_space(path)
    assert {space.trial_spec(drawn, number=0).cuts[0].scheme for drawn in every(space)}


def every(space):
    names = [parameter.name for parameter in space.parameters()]
    choices = [parameter.choices for parameter in space.parameters()]
    return [dict(zip(names, drawn, strict=True)) for drawn in itertools.product(*choices)]
