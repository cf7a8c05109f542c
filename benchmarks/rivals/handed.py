"""A network that a rival made from the baseline, as data: its layers in JSON, its weights beside.

Each layer of the baseline is one layer in the network handed over, or several in its place, one
after the other; everything between them stays the baseline's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from trp_search.lowrank.placing import put
from trp_search.tasks.modes import evaluating

CONVOLUTION = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation")
LAYERS: dict[str, tuple[type[nn.Module], tuple[str, ...]]] = {
    "Conv2d": (nn.Conv2d, (*CONVOLUTION, "groups")),
    "Linear": (nn.Linear, ("in_features", "out_features")),
    "BatchNorm2d": (nn.BatchNorm2d, ("num_features", "eps", "momentum")),
}
STRUCTURE, WEIGHTS = "layers.json", "weights.safetensors"
AGREES = 1e-3  # of logits
Described = dict[str, Any]


def write(network: nn.Module, baseline: nn.Module, example: Tensor, place: Path) -> None:
    """Writes the layers and weights of `network`, and its answer to `example`, into `place`.

    Raises:
        TypeError: a layer is of a kind that is not handed over.
    """
    place.mkdir(parents=True, exist_ok=True)
    layers: dict[str, list[Described]] = {}
    tensors = {"example": example, "answer": answer(network, example)}
    for name in names(baseline):
        layers[name] = []
        for number, layer in enumerate(_leaves(network.get_submodule(name))):
            layers[name].append(_described(layer))
            tensors |= {f"{name}/{number}/{k}": v for k, v in layer.state_dict().items()}
    save_file({k: v.detach().clone().contiguous() for k, v in tensors.items()}, place / WEIGHTS)
    (place / STRUCTURE).write_text(json.dumps(layers, indent=1))


def read(baseline: nn.Module, place: Path) -> nn.Module:
    """The network in `place`, made of `baseline`, which is changed.

    Raises:
        ValueError: it does not answer as the network that was written.
    """
    tensors = load_file(place / WEIGHTS)
    layers: dict[str, list[Described]] = json.loads((place / STRUCTURE).read_text())
    for name, described in layers.items():
        parts = [_made(one) for one in described]
        for number, part in enumerate(parts):
            own = f"{name}/{number}/"
            given = {k.removeprefix(own): v for k, v in tensors.items() if k.startswith(own)}
            part.load_state_dict(given)
        put(baseline, name, parts[0] if len(parts) == 1 else nn.Sequential(*parts))
    off = (answer(baseline, tensors["example"]) - tensors["answer"]).abs().max().item()
    if not off <= AGREES:
        raise ValueError(f"{place}: the network answers otherwise than where it was made: {off:g}")
    return baseline.eval()


@torch.no_grad()
def answer(network: nn.Module, images: Tensor) -> Tensor:
    """The logits of a network in evaluation mode."""
    with evaluating(network):
        found: Tensor = network(images)
    return found


def names(network: nn.Module) -> list[str]:
    """The names of all layers with weights."""
    return [name for name, layer in network.named_modules() if type(layer).__name__ in LAYERS]


def _leaves(module: nn.Module) -> list[nn.Module]:
    """The layers that a module in the place of one applies, one after the other."""
    if isinstance(module, nn.Sequential):
        return [leaf for child in module for leaf in _leaves(child)]
    return [module]


def _described(layer: nn.Module) -> Described:
    kind = type(layer).__name__
    if kind not in LAYERS:
        raise TypeError(f"a layer {kind} is none of {', '.join(LAYERS)}")
    settings = {name: getattr(layer, name) for name in LAYERS[kind][1]}
    if kind != "BatchNorm2d":
        settings["bias"] = layer.bias is not None
    return {"kind": kind} | settings


def _made(described: Described) -> nn.Module:
    make, _ = LAYERS[described["kind"]]
    return make(**{name: value for name, value in described.items() if name != "kind"})
