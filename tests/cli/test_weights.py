"""Networks of timm and weights from outside, from the command line: refused early, or cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import trp_search
from trp_search.records import NetworkSpec
from trp_search.workloads import networks

pytestmark = pytest.mark.usefixtures("verified_here")

NETWORKS = {
    "resnet": '{name: "timm:resnet10t", options: {stem_width: 16, channels: [8, 8, 8, 8], '
    'stem_type: ""}}',
    "vit": '{name: "timm:vit_tiny_patch16_224", options: {img_size: 8, patch_size: 4, '
    "embed_dim: 24, depth: 1, num_heads: 3}}",
}
SPACE = """\
workload:
  network: {network}
  data: {data}
  weights: {weights}
training: {{epochs: 1, batch_size: 10, learning_rate: 0.05}}
space: {{layers: all, energy: {{low: 0.5, high: 0.9}}}}
extra_cuts: {{calibration_images: 32}}
trials: 1
"""
DIGITS = "{name: digits, subset: 300, heldout_subset: 100}"
IMAGE = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes a space into the current folder."""
    monkeypatch.chdir(tmp_path)

    def write(*, network: str, weights: str = "null", data: str = DIGITS) -> Path:
        text = SPACE.format(network=network, weights=weights, data=data)
        (tmp_path / "space.yaml").write_text(text)
        return Path("space.yaml")

    return write


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_network_of_timm_is_cut_with_weights_of_a_training_elsewhere(space, trp, kind):
    path = space(network=NETWORKS[kind], weights="net.pth")
    spec = trp_search.load_space(path).workload.network
    network = networks.build(spec, channels=1, classes=10).half()
    averaged = nn.DataParallel(network).state_dict()
    torch.save({"model": averaged, "epoch": 3}, "net.pth")
    assert trp("check", path).code == 0
    ended = trp("compress", path, "--speedup", "1.2", "--run", "run", "--out", "bundle")
    assert ended.code == 0, ended.err
    assert trp_search.load("bundle")(IMAGE).shape == (2, 10)


def test_all_that_weights_say_is_the_network_s(space, trp):
    path = space(network="small_resnet", weights="net.pth")
    network = networks.build(NetworkSpec(name="small_resnet"), channels=1, classes=10).half()
    torch.save(network.state_dict(), "net.pth")
    assert trp("compress", path, "--ratio", "1", "--run", "run", "--out", "bundle").code == 0
    torch.testing.assert_close(
        trp_search.load("bundle")(IMAGE), network.float().eval()(IMAGE), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "'net.pth' is no file, and not torchvision or timm"),
        (b"no weights", "'net.pth' is no whole file of safetensors or torch.save: "),
        (nn.Linear(1, 1), "'net.pth' holds objects of torch.nn.modules.linear.Linear, which only"),
        ({"weight": torch.ones(1)}, "'net.pth' does not fit small_resnet: it has no conv1.weight"),
    ],
    ids=["missing", "foreign", "code", "misfitting"],
)
def test_weights_that_are_of_no_use_are_refused_before_anything_is_written(
    space, trp, content, said
):
    path = space(network="small_resnet", weights="net.pth")
    if isinstance(content, bytes):
        Path("net.pth").write_bytes(content)
    elif content is not None:
        torch.save(content, "net.pth")
    before = set(Path().rglob("*"))
    for words in (["check"], ["search", "--out", "run"], ["compress", "--speedup", "2"]):
        ended = trp(words[0], path, *words[1:])
        assert ended.code == 2
        assert ended.err.startswith(f"trp-search: workload.weights: {said}")
        assert ended.err.count("\n") == 1
    assert set(Path().rglob("*")) == before


def test_a_folder_s_size_and_normalisation_are_told(space, trp, tmp_path):
    for part in ("train", "test"):
        for name, count in (("cat", 12), ("dog", 12)):
            folder = tmp_path / "pictures" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(np.full((9, 7, 3), number * 9, np.uint8)).save(
                    folder / f"{number}.png"
                )
    data = "{name: images, root: pictures}"
    network = NETWORKS["vit"].replace("img_size: 8", "img_size: 12")
    ended = trp("check", space(network=network, data=data))
    assert ended.code == 0, ended.err
    assert ended.out.startswith(
        "workload.data: image_size 12, mean 0.5 0.5 0.5, std 0.5 0.5 0.5, "
        "as timm:vit_tiny_patch16_224 has them\n"
    )
    assert "3 x 12 x 12, 2 classes" in ended.out
