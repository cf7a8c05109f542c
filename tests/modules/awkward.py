"""Networks for 8 x 8 grey digits that are not quite what a search takes them for."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, weight_norm


def body(outputs: int = 10, middle: nn.Module | None = None) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        middle or nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, outputs),
    )


class Answering(nn.Module):
    """Answers what `made` makes of what the body answers."""

    def __init__(self, made: Callable[[Tensor], Any], trained: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.body = body()
        self._made, self._trained = made, trained

    def forward(self, images: Tensor) -> Any:
        return (self._trained if self.training else self._made)(self.body(images))


def answering(made: Callable[[Tensor], Any], trained: Callable[[Tensor], Any] | None = None):
    return Answering(made, trained or made)


class Encoder(nn.Module):
    def __init__(self, *, batch_first: bool) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 32, 2, stride=2)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=batch_first)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(32, 10)
        self.axes = (0, 2, 1) if batch_first else (2, 0, 1)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.encoder(self.patches(images).flatten(2).permute(self.axes))
        return self.head(tokens.mean(self.axes.index(2)))


class ReadsWeight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 16, 3), nn.Conv2d(16, 16, 3)
        self.head = nn.Linear(16, 10)

    def forward(self, images: Tensor) -> Tensor:
        mapped = self.second(self.first(images).to(self.second.weight.dtype))
        return self.head(mapped.mean((2, 3)))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.head = nn.Conv2d(1, 16, 3), nn.Linear(16, 10)
        self.recurrent = nn.GRU(16, 16, batch_first=True)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.convolution(images).flatten(2).transpose(1, 2)
        return self.head(self.recurrent(tokens)[0][:, -1])


class Scaled(nn.Module):
    """Multiplies by numbers of its own, which are no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.scale = body(), torch.rand(10)

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images) * self.scale


class Extra(nn.Sequential):
    def get_extra_state(self) -> dict[str, int]:
        return {"version": 1}

    def set_extra_state(self, state: object) -> None:
        del state


class Viewing(nn.Sequential):
    """Flattens by a view, which images that lie channels last do not have."""

    def forward(self, images: Tensor) -> Tensor:
        mapped = self[0](images)
        return self[1](mapped.view(len(mapped), -1))


def frozen(network: nn.Module, *, parts: slice) -> nn.Module:
    for parameter in list(network.parameters())[parts]:
        parameter.requires_grad_(False)
    return network


def normed(norm: Callable[..., Any]) -> nn.Module:
    network = body()
    network[2] = norm(network[2])
    return network


def tied() -> nn.Module:
    network = nn.Sequential(*body(), nn.Unflatten(1, (10, 1, 1)))
    network[7] = nn.Sequential(nn.Linear(10, 10), nn.ReLU())
    return nn.Sequential(network, network[7])


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "plain": body,
    "one part twice": tied,
    "channels last": lambda: body().to(memory_format=torch.channels_last),
    "first layer frozen": lambda: frozen(body(), parts=slice(2)),
    "instance norm": lambda: body(middle=nn.InstanceNorm2d(16, affine=True)),
    "mish": lambda: body(middle=nn.Mish()),
    "batch norm without averages": lambda: body(
        middle=nn.BatchNorm2d(16, track_running_stats=False)
    ),
    "head normed": lambda: nn.Sequential(*body()[:-1], nn.BatchNorm1d(16), body()[-1]),
    "feature dropout": lambda: body(middle=nn.Dropout2d()),
    "weight norm": lambda: normed(parametrizations.weight_norm),
    "old weight norm": lambda: normed(weight_norm),
    "a tuple in training": lambda: answering(lambda y: y, lambda y: (y, y)),
    "tokens first": lambda: Encoder(batch_first=False),
    "batch first": lambda: Encoder(batch_first=True),
    "reads a weight": ReadsWeight,
    "lazy": lambda: nn.Sequential(nn.LazyConv2d(16, 3), nn.ReLU(), *body()[4:]),
    "compiled": lambda: torch.compile(body(), backend="eager"),
    "scripted": lambda: torch.jit.script(body()),
    "data parallel": lambda: nn.DataParallel(body()),
    "shapes": lambda: Viewing(nn.Conv2d(1, 16, 3), nn.Linear(576, 10)),
    "too few outputs": lambda: body(5),
    "too many outputs": lambda: body(11),
    "a map": lambda: answering(lambda y: y[:, :, None, None]),
    "a tuple": lambda: answering(lambda y: (y, y)),
    "a dict": lambda: answering(lambda y: {"logits": y}),
    "a dict in training": lambda: answering(lambda y: y, lambda y: {"logits": y}),
    "classes": lambda: answering(lambda y: y.argmax(1)),
    "whole numbers": lambda: answering(lambda y: y.long()),
    "no gradient": lambda: answering(lambda y: y, lambda y: y.detach()),
    "not a number": lambda: answering(lambda y: y * float("nan")),
    "half": lambda: body().half(),
    "double": lambda: body().double(),
    "colour": lambda: nn.Sequential(nn.Conv2d(3, 16, 3), *body()[1:]),
    "no parameters": lambda: nn.Sequential(nn.AdaptiveAvgPool2d((2, 5)), nn.Flatten()),
    "nothing to cut": lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 10)),
    "one layer": lambda: nn.Linear(64, 10),
    "convolutions frozen": lambda: frozen(body(), parts=slice(4)),
    "all frozen": lambda: frozen(body(), parts=slice(None)),
    "recurrent": Recurrent,
    "numbers aside": Scaled,
    "extra state": lambda: Extra(*body()),
}


def build(*, kind: str) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old ways are deprecated, and still used
        return NETWORKS[kind]()
