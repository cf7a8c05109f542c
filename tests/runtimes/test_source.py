"""Networks written as Python: run, they answer as the network did."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from trp_search import Energy, decompose
from trp_search.runtimes.constructors import NoSourceError, layer_call, written
from trp_search.runtimes.source import as_source

WEIGHTS = "weights.safetensors"


@pytest.fixture
def again(tmp_path: Path) -> Callable[[nn.Module], nn.Module]:
    """A network written and read back, in this process."""

    def made(network: nn.Module) -> nn.Module:
        source = as_source(network, weights=WEIGHTS)
        assert "trp_search" not in source
        save_file(network.state_dict(), tmp_path / WEIGHTS)
        scope = {"__file__": str(tmp_path / "network.py"), "__name__": "network"}
        exec(compile(source, "network.py", "exec"), scope)  # noqa: S102  our own
        loaded: nn.Module = scope["load"]()
        return loaded

    return made


def assert_same(network: nn.Module, found: nn.Module, images: Tensor) -> None:
    with torch.no_grad():
        assert torch.equal(network(images), found(images))


@pytest.mark.parametrize("mode", ["zeros", "circular", "reflect", "replicate"])
def test_a_convolution_pads_as_it_did(again, images: Tensor, mode: str):
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, padding_mode=mode),
        nn.Conv2d(4, 4, 3, padding="same", padding_mode=mode, dilation=2),
        nn.Conv2d(4, 4, 3, padding="valid", bias=False),
    ).eval()
    assert_same(network, again(network), images)


def test_layers_with_settings_of_every_kind_come_back(again, images: Tensor):
    network = nn.Sequential(
        nn.Conv2d(3, 8, (3, 1), stride=(2, 1), groups=1),
        nn.BatchNorm2d(8, eps=1e-3, momentum=None),
        nn.BatchNorm2d(8, affine=False),
        nn.GELU(approximate="tanh"),
        nn.Hardtanh(-2.0, float("inf")),
        nn.GroupNorm(2, 8),
        nn.PReLU(8),
        nn.MaxPool2d(2, stride=1, ceil_mode=True),
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
        nn.ConvTranspose2d(8, 8, 2, stride=2),
        nn.AdaptiveAvgPool2d((None, 2)),
        nn.Dropout(0.3),
        nn.Identity(),
        nn.Flatten(2),
        nn.LazyLinear(5, bias=False),
        nn.LayerNorm((8, 5)),
        nn.Softmax(dim=1),
    )
    network(images)
    assert_same(network.eval(), again(network), images)


def test_other_precisions_stay(again, images: Tensor):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).double().eval()
    found = again(network)
    assert next(found.parameters()).dtype is torch.float64
    assert_same(network, found, images.double())


class Own(nn.Module):
    """Tensors that no layer holds: some stored, some not."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.1, 0.2, 0.3]))
        self.register_buffer("order", torch.tensor([2, 0, 1]))
        self.register_buffer("std", torch.tensor([1.0, 2.0, 1 / 3]), persistent=False)
        self.scale = nn.Parameter(torch.rand(1, 3, 1, 1))
        self.conv = nn.Conv2d(3, 4, 3)
        self.read = nn.Conv2d(4, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        images = (images - self.mean.view(1, -1, 1, 1)) / self.std[:, None, None] * self.scale
        found = self.conv(images[:, self.order] + torch.arange(3.0).view(1, 3, 1, 1))
        return self.read(functional.conv2d(found, self.read.weight, self.read.bias))


def test_buffers_parameters_and_constants_that_are_read_by_themselves_are_there(
    again, images: Tensor
):
    torch.manual_seed(0)
    network = Own().eval()
    before = set(vars(network))
    found = again(network)
    assert_same(network, found, images)
    assert set(vars(network)) == before
    assert set(found.state_dict()) == set(network.state_dict())


def test_a_layer_may_be_named_as_no_variable_is(again, images: Tensor):
    network = nn.Sequential()
    network.add_module("3x3-conv", nn.Conv2d(3, 4, 3))
    assert_same(network.eval(), again(network), images)


def test_a_large_tensor_that_is_not_stored_is_a_reason_not_to_write():
    class Large(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images + torch.arange(9000.0).view(3, 3000)

    with pytest.raises(NoSourceError, match="a tensor of 9000 numbers is not among the network's"):
        as_source(Large(), weights=WEIGHTS)


def test_text_in_a_layers_attributes_never_becomes_code():
    assert written("zeros') or evil('") == repr("zeros') or evil('")
    layer = nn.Conv2d(3, 4, 3)
    layer.padding_mode = "zeros') or evil('"
    with pytest.raises(NoSourceError, match="its Conv2d cannot be made again"):
        layer_call("conv", layer)


def test_a_layer_that_was_changed_since_it_was_made_is_a_reason_not_to_write():
    layer = nn.Linear(4, 4)
    layer.in_features = 5
    with pytest.raises(NoSourceError, match="its Linear is not as its constructor makes it"):
        layer_call("fc", layer)


def test_a_layers_name_never_becomes_code():
    network = nn.Sequential()
    network.add_module('a") or evil("', nn.Conv2d(3, 4, 3))
    with pytest.raises(NoSourceError, match="a layer is named"):
        as_source(network, weights=WEIGHTS)


@pytest.mark.parametrize("scheme", ["channel", "spatial", "decoupled"])
def test_cut_layers_of_every_kind_come_back(again, scheme: str):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1, groups=2),
        nn.ConvTranspose2d(8, 6, 4, stride=2, padding=1, groups=2),
        nn.Flatten(2),
        nn.ConvTranspose1d(6, 8, 3, stride=2, padding=1, output_padding=1),
        nn.Conv1d(8, 8, 5, padding=2),
        nn.Unflatten(1, (1, 8)),
        nn.Unflatten(3, (10, 20)),
        nn.Conv3d(1, 8, 3),
    ).eval()
    images = torch.rand(2, 4, 5, 5)
    names = [name for name, layer in network.named_children() if hasattr(layer, "kernel_size")]
    cut = decompose(network, images, dict.fromkeys(names, 2), scheme=scheme)
    assert all(layer.rank is not None for layer in cut.layers)
    assert_same(cut.network, again(cut.network), images)


class Encoder(nn.Module):
    """Torch's encoder of the pixels of an image, and a first layer that makes them wide enough."""

    def __init__(self, *, norm_first: bool, batch_first: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 4, stride=4)
        layer = nn.TransformerEncoderLayer(
            16, 4, 24, activation="gelu", norm_first=norm_first, batch_first=batch_first
        )
        norm = nn.LayerNorm(16) if norm_first else None
        self.encoder = nn.TransformerEncoder(layer, 2, norm=norm, enable_nested_tensor=False)
        self.order = (0, 2, 1) if batch_first else (2, 0, 1)

    def forward(self, images: Tensor) -> Tensor:
        pixels = self.first(images).flatten(2).permute(self.order)
        encoded: Tensor = self.encoder(pixels)
        return encoded


@pytest.mark.parametrize(("norm_first", "batch_first"), [(True, True), (False, False)])
@pytest.mark.parametrize("layers", ["!*", "*.linear1", "all"])
def test_encoders_come_back_whole_and_cut(again, norm_first: bool, batch_first: bool, layers: str):
    torch.manual_seed(0)
    images = torch.rand(3, 3, 8, 8)
    network = Encoder(norm_first=norm_first, batch_first=batch_first).eval()
    if layers != "!*":
        cut = decompose(network, images, Energy(0.5), layers=layers)
        assert any(layer.rank is not None for layer in cut.layers)
        network = cut.network.eval()
    with torch.no_grad():
        found = again(network)(images)
        torch.testing.assert_close(found, network(images), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("options", [{"kdim": 5, "vdim": 7}, {"dropout": 0.1}, {}])
def test_attention_comes_back(again, options: dict[str, object]):
    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True, **options)
            self.keys, self.values = nn.Linear(8, 5), nn.Linear(8, 7)

        def forward(self, tokens: Tensor) -> Tensor:
            keys, values = (
                (self.keys(tokens), self.values(tokens)) if "kdim" in options else [tokens] * 2
            )
            answer: Tensor = self.attention(tokens, keys, values)[0]
            return answer

    network = Attends().eval()
    assert_same(network, again(network), torch.rand(2, 5, 8))


def test_attention_whose_layer_was_changed_is_a_reason_not_to_write():
    attention = nn.MultiheadAttention(8, 2)
    attention.out_proj = nn.Sequential(nn.Linear(8, 8))
    with pytest.raises(NoSourceError, match="not as its constructor makes it"):
        layer_call("a", attention)
