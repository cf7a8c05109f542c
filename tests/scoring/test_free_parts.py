"""Every part that torch.nn has, and what it costs: nothing, its multiply-adds, or nobody knows."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from trp_search.scoring.flops import count

ONE = torch.tensor([1])
LINE, PLANE, SPACE = torch.rand(1, 8, 16), torch.rand(1, 8, 16, 16), torch.rand(1, 8, 4, 8, 8)
# Of the rest of torch.nn: no part of a forward pass of one image, or nothing of its own.
NO_LAYER = re.compile(
    ".*Loss|NLLLoss2d|LinearCrossEntropyOptions|Module|Module(List|Dict)|Parameter(List|Dict)|"
    "Sequential|Container|RNNBase|RNNCellBase|Embedding|EmbeddingBag|CosineSimilarity|"
    "PairwiseDistance|AdaptiveLogSoftmaxWithLoss|Lazy.*|SyncBatchNorm|MaxUnpool.d"
)
MADE: dict[str, Callable[[], nn.Module]] = {
    "Unflatten": lambda: nn.Unflatten(1, (2, 4)),
    "GroupNorm": lambda: nn.GroupNorm(4, 8),
    "LayerNorm": lambda: nn.LayerNorm([8, 16, 16]),
    "RMSNorm": lambda: nn.RMSNorm([8, 16, 16]),
    "LocalResponseNorm": lambda: nn.LocalResponseNorm(3),
    "CrossMapLRN2d": lambda: nn.CrossMapLRN2d(3),
    "Threshold": lambda: nn.Threshold(0.1, 20.0),
    "GLU": lambda: nn.GLU(1),
    "Fold": lambda: nn.Fold((9, 9), (2, 2), padding=0),
    "Upsample": lambda: nn.Upsample(scale_factor=2),
}
MULTIPLY = {
    **{f"Conv{d}": lambda d=d: getattr(nn, f"Conv{d}")(8, 4, 3) for d in ("1d", "2d", "3d")},
    **{
        f"ConvTranspose{d}": lambda d=d: getattr(nn, f"ConvTranspose{d}")(8, 4, 3)
        for d in ("1d", "2d", "3d")
    },
    "Linear": lambda: nn.Linear(16, 4),
    "RNN": lambda: nn.RNN(16, 4, batch_first=True),
    "LSTM": lambda: nn.LSTM(16, 4, batch_first=True),
    "GRU": lambda: nn.GRU(16, 4, batch_first=True),
    "RNNCell": lambda: nn.RNNCell(16, 4),
    "LSTMCell": lambda: nn.LSTMCell(16, 4),
    "GRUCell": lambda: nn.GRUCell(16, 4),
    "TransformerEncoderLayer": lambda: nn.TransformerEncoderLayer(16, 4, 8, batch_first=True),
}
# They take more than one tensor, and are made of the parts above.
OF_MANY = {"Bilinear", "MultiheadAttention", "Transformer", "TransformerDecoder"}
OF_MANY |= {"TransformerDecoderLayer", "TransformerEncoder"}


def parts() -> list[str]:
    return [name for name in nn.modules.__all__ if not NO_LAYER.fullmatch(name)]


def example(name: str) -> Tensor:
    if name == "Fold":
        return torch.rand(1, 8, 64)
    if "Cell" in name:
        return torch.rand(8, 16)
    lines = name.endswith("1d") or name in {"RNN", "LSTM", "GRU", "TransformerEncoderLayer"}
    return LINE if lines else SPACE if name.endswith("3d") else PLANE


def made(name: str) -> nn.Module:
    """The part, by whichever arguments its kind takes."""
    if name in MADE:
        return MADE[name]()
    kind: Any = getattr(nn, name)
    if "FractionalMaxPool" in name:
        return kind(2, output_ratio=0.5)
    for arguments in ((), (8,), (2,), (2, 2)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what it chooses itself
                module = kind(*arguments).eval()
                module(example(name))
        except (TypeError, RuntimeError, ValueError):
            continue
        return module
    raise AssertionError(f"{name}: not known here how it is made")


def counted(module: nn.Module, given: Tensor) -> tuple[int, str | None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing
        found = count(module.eval(), given)
    return found.macs, found.note


@pytest.mark.parametrize("name", [n for n in parts() if n not in {*MULTIPLY, *OF_MANY}])
def test_what_multiplies_by_no_weight_matrix_is_free(name: str):
    assert counted(made(name), example(name)) == (0, None)


@pytest.mark.parametrize("name", MULTIPLY)
def test_what_multiplies_is_counted(name: str):
    macs, note = counted(MULTIPLY[name](), example(name))
    assert macs > 0
    assert note is None


def test_no_part_of_torch_is_left_out():
    assert {*MULTIPLY, *OF_MANY} <= set(parts())
    assert len(parts()) > 90


@pytest.mark.parametrize(
    ("mode", "given"),
    [
        ("nearest", LINE),
        ("linear", LINE),
        ("nearest", PLANE),
        ("nearest-exact", PLANE),
        ("bilinear", PLANE),
        ("bicubic", PLANE),
        ("area", PLANE),
        ("nearest", SPACE),
        ("trilinear", SPACE),
    ],
)
def test_every_way_to_enlarge_is_free(mode: str, given: Tensor):
    assert counted(nn.Upsample(scale_factor=2, mode=mode), given) == (0, None)


class Computed(nn.Module):
    def __init__(self, made: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._made = made

    def forward(self, images: Tensor) -> Tensor:
        return self._made(images)


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "views": lambda x: x.unfold(2, 4, 4).movedim(1, 2).swapaxes(0, 1).diagonal(),
    "element-wise": lambda x: torch.erf(x).sin().square().rsqrt().lerp(x, 0.5),
    "in place": lambda x: nn.functional.mish(nn.functional.celu(x + 1, inplace=True), inplace=True),
    "reductions": lambda x: x.argmax(1).float().std(0, keepdim=True) + x.amax(1) + x.var(1),
    "sorting": lambda x: x.sort().values + x.argsort() + x.topk(16).indices + x.cumsum(1),
    "indexing": lambda x: x.gather(1, x.argmax(1, True)) + x.index_select(1, ONE) + x[:, ONE],
    "creation": lambda x: x + torch.eye(16) + torch.linspace(0, 1, 16) + x.new_ones(16),
    "copies": lambda x: x.tile(2, 1, 1, 1) + x.repeat_interleave(2, 0) + x.flip(1).roll(1, 1),
    "masks": lambda x: torch.where(x > 0, x, 0).masked_fill(x.tril() == 0, 1).addcmul(x, x),
    "sampling": lambda x: nn.functional.grid_sample(x, x[:, 0, :, :2].expand(1, 16, 16, 2)),
    "patches": lambda x: nn.functional.fold(nn.functional.unfold(x, 2, stride=2), 16, 2, stride=2),
    "antialiased": lambda x: nn.functional.interpolate(x, 9, mode="bicubic", antialias=True),
    "norms": lambda x: nn.functional.normalize(x) + torch.cosine_similarity(x, x + 1),
    "outer": lambda x: torch.outer(x[0, 0, 0], x[0, 0, 1]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_views_and_element_wise_functions_are_free_by_torchs_own_word(name: str):
    assert counted(Computed(FUNCTIONS[name]), PLANE) == (0, None)


@pytest.mark.parametrize("product", [torch.dot, torch.cdist, torch.baddbmm])
def test_no_product_of_matrices_passes_for_free(product: Callable[..., Tensor]):
    def shaped(x: Tensor) -> Tensor:
        if product is torch.dot:
            return product(x[0, 0, 0], x[0, 0, 1])
        return product(x, x) if product is torch.cdist else product(x[0], x[0], x[0])

    macs, note = counted(Computed(shaped), PLANE)
    assert macs > 0 or note


@pytest.mark.parametrize("norm", [nn.utils.weight_norm, parametrizations.weight_norm])
def test_a_weight_that_is_normalised_costs_what_a_plain_one_does(norm: Callable[..., nn.Module]):
    plain = nn.Conv2d(8, 4, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one way is deprecated, and still used
        normed = norm(nn.Conv2d(8, 4, 3))
    assert counted(normed, PLANE) == counted(plain, PLANE)
