"""Bundles of timm's networks: the name is recorded, and what no file holds is computed."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from trp_search.errors import InputError
from trp_search.export.bundle import read_card
from trp_search.export.load import load
from trp_search.export.weightless import Weightless, compute_buffers_
from trp_search.export.write import export_point
from trp_search.records import NetworkSpec
from trp_search.runs import networks as stored
from trp_search.store import RunFolder
from trp_search.workloads import networks

pytestmark = pytest.mark.usefixtures("verified_here")

NAME = "timm:swin_tiny_patch4_window7_224"  # its masks are in no file of weights
OPTIONS = "{img_size: 8, patch_size: 1, window_size: 4, embed_dim: 8, depths: [2], num_heads: [2]}"
SPACE = """\
workload: {{network: {network}, data: {{name: digits, subset: 300, heldout_subset: 100}}}}
training: {{epochs: 1, batch_size: 50, learning_rate: 0.05}}
space: {{start: scratch, layers: all, energy: 0.5, period: 2}}
trials: 1
extra_cuts: {{speedups: [], energies: []}}
"""


@pytest.fixture(scope="module")
def run(small_run, tmp_path_factory) -> RunFolder:
    network = f"{{name: '{NAME}', options: {OPTIONS}}}"
    return small_run(tmp_path_factory.mktemp("timm") / "run", network, SPACE)


@pytest.fixture(scope="module")
def bundle(run: RunFolder, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("bundles") / "timm"
    return export_point(run, "0", out, formats=["onnx"])


def test_the_network_of_a_bundle_is_the_run_s(run: RunFolder, bundle: Path):
    images = torch.rand(4, 1, 8, 8)
    point = next(point for point in run.read_points() if point.id == "0")
    assert any(layer.rank for layer in point.layers)
    with torch.no_grad():
        assert torch.equal(load(bundle)(images), stored.network_of(run, point)(images))


def test_a_bundle_names_the_network_and_the_version_of_timm(run: RunFolder, bundle: Path):
    card = read_card(bundle)
    assert card.workload.network.name == NAME
    assert card.workload.network.options
    assert "timm" in card.versions
    assert "network=" not in " ".join(card.load["trp_search"])


def test_onnx_needs_no_timm(bundle: Path):
    assert "network.onnx" in read_card(bundle).formats


def test_a_bundle_says_in_one_line_that_it_needs_timm(bundle: Path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "timm" else found(name)
    )
    with pytest.raises(InputError, match=r"not installed: pip install 'trp_search\[timm\]'$"):
        load(bundle)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"checkpoint_path": "/etc/hostname"}, "checkpoint_path: is not passed on"),
        ({"pretrained": True}, "pretrained: is not passed on"),
        ({"img_size": 8192, "patch_size": 1, "window_size": 8}, "far larger than the weights"),
        ({"depths": [10**9], "num_heads": [1]}, "can't allocate memory"),
    ],
)
def test_options_of_a_bundle_fetch_nothing_and_take_no_memory(bundle, tmp_path, options, reason):
    copied = shutil.copytree(bundle, tmp_path / "bundle")
    path = copied / "architecture.json"
    values = json.loads(path.read_text())
    values["network"] = {"name": NAME, "options": options}
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match=reason):
        load(copied)


@pytest.mark.parametrize(
    "name", ["swinv2_cr_tiny_224", "levit_128s", "test_vit_relpos", "tresnet_m"]
)
def test_what_no_file_holds_is_as_in_a_network_with_memory(name):
    spec = NetworkSpec(name=f"timm:{name}")
    with Weightless(most=10_000):
        network = networks.build(spec, channels=3, classes=10)
    compute_buffers_(network, most=10**9)
    whole = networks.build(spec, channels=3, classes=10)
    missing = [key for key, _ in whole.named_buffers() if key not in whole.state_dict()]
    assert missing
    assert all(torch.equal(network.get_buffer(k), whole.get_buffer(k)) for k in missing)
    assert all(parameter.is_meta for parameter in network.parameters())


def test_a_buffer_that_nobody_computes_is_refused():
    with torch.device("meta"):
        network = nn.Module()
        network.register_buffer("table", torch.zeros(3), persistent=False)
    with pytest.raises(InputError, match="table is in no file of weights"):
        compute_buffers_(network, most=100)
