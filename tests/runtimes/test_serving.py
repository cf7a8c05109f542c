from __future__ import annotations

import importlib.util
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from trp_search.errors import InputError
from trp_search.records import RuntimeName, Target
from trp_search.runtimes.fold import fold_batch_norm
from trp_search.runtimes.serving import Runtime, ready, runtime, serve


def target(runtime: str, **given: object) -> Target:
    return Target(name="here", runtime=runtime, height=8, width=8, **given)


def names(*, but: str = "") -> list[object]:
    """All runtimes; one that CI does not install is left out where it is missing."""
    missing = importlib.util.find_spec("executorch") is None
    skip = pytest.mark.skipif(missing, reason="executorch is not installed: it is large")
    marks = {"executorch": skip}
    return [pytest.param(n, marks=marks.get(n, ())) for n in get_args(RuntimeName) if n != but]


@pytest.mark.slow
@pytest.mark.parametrize("runtime", names())
@pytest.mark.parametrize("number", [1, 3])
def test_every_runtime_answers_as_the_network_does(
    runtime: str, number: int, pairs: nn.Module, images: Tensor
):
    expected = pairs(images[:number]).detach()
    folded, _ = fold_batch_norm(pairs, images)
    call = ready(folded, images[:number], target(runtime, batch=number))
    torch.testing.assert_close(call(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("runtime", names(but="eager"))
def test_a_network_that_a_compiler_or_exporter_refuses_is_one_line(
    runtime: str, untraceable: nn.Module, images: Tensor
):
    says = f"({runtime} cannot serve this network|torch cannot write this network to ONNX)"
    with pytest.raises(InputError, match=rf"^{says}: [^\n]+$"):
        ready(untraceable, images, target(runtime))


def test_images_that_are_too_small_for_the_network_are_one_line():
    network = nn.Sequential(nn.MaxPool2d(4), nn.MaxPool2d(4), nn.Flatten())
    said = "target 'here': the network does not run on images of 8 x 8 pixels: RuntimeError: "
    with pytest.raises(InputError, match=said) as caught:
        serve(network, target("eager"), channels=3)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_device_that_is_not_there_is_told(pairs: nn.Module, images: Tensor):
    with pytest.raises(InputError, match="cuda: this machine has no GPU"):
        ready(pairs, images, target("eager", device="cuda"))


def test_every_name_has_a_runtime_whose_software_is_kept_by_version():
    found = [runtime(name) for name in get_args(RuntimeName)]
    assert all(isinstance(one, Runtime) for one in found)
    assert len({type(one) for one in found}) == len(found)
    assert all("torch" in one.packages for one in found)
    for name in ("onnxruntime", "openvino"):
        assert runtime(name).versions().keys() == {"torch", name}


class OnCpu(Runtime):
    devices = ("cpu",)

    def prepare(self, network: nn.Module, images: Tensor, target: Target):
        return lambda: network(images)


def test_a_device_that_a_runtime_does_not_know_is_told():
    OnCpu().check("cpu")
    with pytest.raises(InputError, match="cuda is none of this runtime's cpu"):
        OnCpu().check("cuda")


def test_software_that_is_missing_is_told_before_anything_is_made(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    runtime("eager").check("cpu")
    for name in ("onnxruntime", "openvino", "executorch"):
        with pytest.raises(InputError, match=rf"^[^\n]*{name}[^\n]*: not installed; [^\n]+$"):
            runtime(name).check("cpu")
