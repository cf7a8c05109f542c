"""`trp-search check`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch

from trp_search.cli import reaching
from trp_search.cli.cost import estimate, most_epochs
from trp_search.records import Workload
from trp_search.runs.probe import baseline_network
from trp_search.scoring.candidate import example
from trp_search.scoring.flops import count
from trp_search.space import load_space
from trp_search.training.checkpoint import save_weights
from trp_search.workloads import data, networks

SPACE = """\
workload: {{network: {network}, data: {data}}}
training: {{epochs: 6, batch_size: 32, learning_rate: 0.1}}
space:
  scheme: [channel, spatial]
  energy: {{low: 0.7, high: 0.99}}
  layers: {layers}
  distillation: {distillation}
  training: {{epochs: {epochs}}}
constraints: {{speedup: {speedup}}}
trials: 8
concurrency: 2
"""


@pytest.fixture
def space(tmp_path: Path):
    def write(**given: object) -> Path:
        defaults = {
            "network": "small_resnet",
            "data": "digits",
            "layers": "kxk",
            "distillation": 0,
            "epochs": 2,
            "speedup": 1.5,
        }
        path = tmp_path / "space.yaml"
        path.write_text(SPACE.format(**(defaults | given)))
        return path

    return write


def test_layers_schemes_caps_and_cost_are_shown(trp, space):
    path = space()
    ended = trp("check", path)
    assert (ended.code, ended.err) == (0, "")
    out = ended.out
    assert "network        small_resnet, " in out
    assert "input          1 x 8 x 8, 10 classes (digits)" in out
    assert "varies         scheme, energy" in out
    assert "trials         8, proposed by tpe" in out
    assert "(a)  dense: first convolution, not selected" in out
    assert "where the remaining multiply-adds are" in out
    assert "32 images in" in out
    assert "one trial      up to" in out
    assert "2 at a time" in out
    assert f"Next:  trp-search search {path}" in out
    assert all(len(line) <= 80 for line in out.partition("Next")[0].splitlines())


def test_a_layer_at_rank_one_costs_what_the_formula_says(trp, space):
    # 32 of 32 channels, 3x3: 9216 per pixel dense, 9*32+32 (channel) or 2*3*32 (spatial) cut.
    row = next(line for line in trp("check", space()).out.splitlines() if ".0.0.conv2" in line)
    assert row.split()[-2:] == ["28.80\N{MULTIPLICATION SIGN}", "48.00\N{MULTIPLICATION SIGN}"]


def test_all_layers_are_looked_at_where_a_trial_may_take_all(trp, space):
    assert "linear layer, not selected" in trp("check", space()).out
    assert "not selected" not in trp("check", space(layers="[kxk, all]")).out


def test_the_longest_trial_counts(trp, space):
    assert most_epochs(load_space(space())) == 2
    asked = most_epochs(load_space(space(distillation="[0, 0.5]")))
    assert asked == pytest.approx(2 * 8 / 6), "two operations more to six"
    assert most_epochs(load_space(space(epochs="[2, 9]"))) == 9
    assert most_epochs(load_space(space(epochs="{low: 1, high: 5}"))) == 5
    split = "{by_scheme: {channel: [1, 2], spatial: {low: 3, high: 7}}}"
    assert most_epochs(load_space(space(epochs=split))) == 7


def test_a_constraint_out_of_reach_is_a_warning(trp, space):
    ended = trp("check", space(speedup=500))
    assert ended.code == 0
    assert "warning: constraints.speedup: 500 is out of reach" in ended.out


def test_budgets_of_the_curve_out_of_reach_are_a_warning(trp, space):
    path = space()
    path.write_text(path.read_text() + "extra_cuts: {speedups: [2, 900, 1000]}\n")
    ended = trp("check", path)
    assert "warning: extra_cuts.speedups: 900, 1000 will be left out; " in ended.out


def test_missing_images_are_a_warning_and_nothing_is_trained_or_written(trp, space, tmp_path):
    data = "{name: images, root: nowhere, image_size: 16, classes: 4}"
    path = space(network="resnet20", data=data)
    ended = trp("check", path)
    assert ended.code == 0
    assert "warning: workload.data.root: 'nowhere' is not a folder" in ended.out
    assert "one trial" not in ended.out
    assert list(tmp_path.iterdir()) == [path]


no_gpu_here = pytest.mark.skipif(torch.cuda.is_available(), reason="for where there is no GPU")


@no_gpu_here
def test_without_its_gpu_a_search_costs_six_operations_a_multiply_add(space):
    path = space()
    path.write_text(path.read_text() + "resources: {gpus: 0.5}\n")
    network, shape = baseline_network(load_space(path).workload)
    found = estimate(load_space(path), network, shape, images=1000, tflops=0.5)
    epochs = 6 + 8 * 2
    busy = 6 * count(network, example(shape, "cpu")).macs * 1000 * epochs / 0.5e12
    assert found.gpu_hours == pytest.approx(busy / 3600)
    assert found.search == pytest.approx(busy * (6 + 4 * 2) / epochs / 0.5)  # two halves at a time
    path.write_text(path.read_text().replace("concurrency: 2", "repeats: 2"))
    found = estimate(load_space(path), network, shape, images=1000, tflops=0.5)
    assert found.concurrency == 2, "one GPU takes two halves"
    assert found.gpu_hours == pytest.approx(busy * (6 + 16 * 2) / epochs / 3600)


@no_gpu_here
def test_images_that_are_not_here_can_be_counted_by_hand(trp, space):
    data = "{name: images, root: nowhere, image_size: 16, classes: 4}"
    path = space(network="resnet20", data=data)
    path.write_text(path.read_text() + "resources: {gpus: 1}\n")
    assert "unknown without the number of images: --images N" in trp("check", path).out
    out = trp("check", path, "--images", 100_000, "--tflops", 1).out
    assert "on a GPU that sustains 1 TFLOP/s" in out
    assert re.search(r"GPU time +up to \d+\.\d hours", out)


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf", "many"])
def test_a_rate_that_is_none_is_refused(trp, space, rate):
    ended = trp("check", space(), "--tflops", rate)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"network": "resnet21"}, "workload.network: 'resnet21' is not known"),
        ({"network": "no_such_module:net"}, "there is no module no_such_module"),
        ({"data": "digit"}, "workload.data: 'digit' is not known"),
        ({"layers": "most"}, "layers: 'most' matches no convolution or linear layer"),
        ({"speedup": "fast"}, "constraints.speedup: "),
    ],
)
def test_what_cannot_be_built_or_read_is_one_line(trp, space, given, part):
    ended = trp("check", space(**given))
    assert (ended.code, ended.out) == (2, "")
    assert part in ended.err
    assert ended.err.count("\n") == 1


OWN = """\
import os, sys, time
import torch
from torch import nn

def network(classes=2):
    print("building")
    layers = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(16, classes))

def images(kind):
    print("loading")
    if kind == "hanging":
        time.sleep(600)
    if kind == "ending":
        os._exit(3)
    shape = (60, 1 if kind == "grey" else 3, 8, 8)
    labels = torch.arange(60) % (9 if kind == "nine classes" else 2)
    part = (torch.zeros(shape, dtype=torch.uint8), labels)
    return Broken() if kind == "broken" else part, part

class Broken:
    def __len__(self):
        return 60

    def __getitem__(self, number):
        raise KeyError("no such image")
"""


@pytest.fixture
def own(space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A space of a user's network and images."""
    (tmp_path / "own_code.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_code", raising=False)

    def write(kind: str) -> Path:
        data = f'{{name: "own_code:images", options: {{kind: {kind}}}}}'
        return space(network='"own_code:network"', data=data)

    return write


def test_what_a_users_code_prints_is_no_part_of_the_output(trp, own):
    ended = trp("check", own("good"))
    assert ended.code == 0
    assert ended.out.startswith("  network        own_code:network, ")
    assert set(ended.err.splitlines()) == {"building", "loading"}


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("hanging", "data: own_code:images was not done after 1 s (in images, own_code.py line 13"),
        ("ending", "data: own_code:images ended the program, with exit code 3"),
        ("broken", "data: own_code:images: item 0 raised KeyError: 'no such image'"),
        (
            "grey",
            "network: own_code:network: given images of 1 x 8 x 8 (channels x height x width), "
            "it raised RuntimeError: Given groups=1",
        ),
        (
            "nine classes",
            "network: own_code:network: returns a tensor (2, 2) for 2 images of "
            "9 classes, labels 0 to 8",
        ),
    ],
)
def test_a_users_code_that_fails_is_named_in_one_line(trp, own, kind, problem):
    ended = trp("check", own(kind), "--timeout", 1 if kind == "hanging" else 600)
    assert (ended.code, ended.out) == (2, "")
    assert f"trp-search: workload.{problem}" in ended.err
    assert ended.err.splitlines()[-1].startswith("trp-search: ")


def test_where_a_users_code_fails_can_be_shown(trp, own):
    assert "Traceback" not in trp("check", own("broken")).err
    assert "in __getitem__" in trp("--debug", "check", own("broken")).err


SHIPPED = sorted((Path(__file__).parents[2] / "search_spaces").glob("*.yaml"))


def _write_weights(workload: Workload):
    """First weights, where a space names a file that another command makes."""
    if workload.weights is None or workload.weights in networks.PUBLISHERS:
        return
    shape = data.describe(workload.data)
    made = networks.build(workload.network, channels=shape.channels, classes=shape.classes)
    save_weights(Path(workload.weights), made)


@pytest.mark.slow
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_space_that_is_shipped_passes_and_costs_what_it_says(
    trp, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    _write_weights(load_space(path).workload)
    said = re.search(r"GPU time: up to (\S+) hours \(trp-search (check [^;]+);", path.read_text())
    options = said[2].split()[2:] if said else ()
    ended = trp("check", path, *options)
    assert (ended.code, ended.err) == (0, "")
    assert "Best the whole network could do" in ended.out
    if said is None:
        assert not load_space(path).resources.gpus
        return
    assert said[2].split()[1] == str(path.relative_to(path.parents[1]))
    if not torch.cuda.is_available():
        assert f"GPU time       up to {said[1]} hours" in ended.out


def test_spaces_for_digits_cifar_and_imagenet_are_shipped():
    names = {path.stem for path in SHIPPED}
    resnets = {"imagenet_resnet18", "imagenet_resnet50"}
    assert names >= {"digits", "cifar10", "cifar10_images"} | resnets


def test_what_schemes_reach_on_a_targets_clock_is_shown_where_one_is_named(
    trp, space, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reaching, "_SECONDS", 0.01)
    path = space()
    assert "Timing layers" not in trp("check", path).out
    ended = trp("check", path, "--target", "phone", "--batch", "2")
    assert (ended.code, ended.err) == (0, "")
    assert "Timing layers on phone: eager, 1 thread, batch 2, 8 x 8 pixels" in ended.out
    _, _, shown = ended.out.partition("Best the whole network could do on phone, measured")
    rows = [line.split() for line in shown.splitlines()]
    assert {"channel", "spatial", "per-layer"} <= {row[0] for row in rows if row}
    assert re.search(r"the baseline takes [0-9.]+ ms", shown)
    path.write_text(path.read_text() + "target: {name: own, batch: 3, seconds: 0.1}\n")
    assert "Timing layers on own: eager, 1 thread, batch 3" in trp("check", path).out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--threads", "2"], "--target: is missing; it names the target"),
        (["--target", "a", "--runtime", "jax"], "target 'a': runtime: 'jax': "),
        (["--target", "own", "--batch", "2"], "--target: own is defined in the space"),
    ],
)
def test_a_target_that_cannot_be_is_one_line(trp, space, words, said):
    path = space()
    path.write_text(path.read_text() + "targets: [{name: own}]\n")
    ended = trp("check", path, *words)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert said in ended.err
