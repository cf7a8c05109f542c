"""A training between two epochs, as one safetensors file written whole; nothing is pickled."""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from trp_search.errors import InputError, one_line
from trp_search.lowrank.nested import Nested, carry_, check_products, factors_of
from trp_search.records import Scheme
from trp_search.store import replacing
from trp_search.workloads.state import versioned


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Progress of a training: epochs done, optimiser steps done, time spent."""

    epoch: int = 0
    iteration: int = 0
    seconds: float = 0.0


def save_weights(path: Path, network: nn.Module) -> None:
    """Writes the network's state to `path`, whole or not at all."""
    with replacing(path) as temporary:
        save_file(_own(network.state_dict()), temporary)


def load_tensors(network: nn.Module, path: Path) -> None:
    """Puts a safetensors file's weights into `network`.

    Raises:
        InputError: the file is missing or damaged, or does not fit the network.
    """
    tensors, _ = _read(path)
    _fill(network, tensors, path)


def _fill(network: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    for name, own in network.state_dict().items():
        given = tensors.get(name, own)
        if given.is_floating_point() != own.is_floating_point():
            why = f"{name} is {given.dtype} there and {own.dtype} here"
            raise InputError(f"{path}: not this network's weights: {why}")
    try:
        network.load_state_dict(versioned(network, tensors))
    except RuntimeError as error:
        reason = textwrap.shorten(str(error).partition("\n")[2], 160, placeholder=" ...")
        raise InputError(f"{path}: not this network's weights: {reason}") from None


def save_nested(path: Path, network: nn.Module) -> None:
    """Writes the nested factors that the network carries, if any, to `path`."""
    factors = factors_of(network)
    if not factors:
        return
    tensors = {
        f"{name}.{part}": getattr(found, part) for name, found in factors.items() for part in _PARTS
    }
    schemes = {name: found.scheme for name, found in factors.items()}
    with replacing(path) as temporary:
        save_file(_own(tensors), temporary, metadata={"schemes": json.dumps(schemes)})


_PARTS = ("left", "right", "squares")


def load_nested(network: nn.Module, path: Path) -> None:
    """Lets `network`, with its weights, carry the nested factors in a file, if there is one.

    Raises:
        InputError: the file is damaged, or its factors are not those of the weights.
    """
    if not path.is_file():
        return
    tensors, metadata = _read(path)
    try:
        schemes: dict[str, Scheme] = TypeAdapter(dict[str, Scheme]).validate_json(
            metadata.get("schemes", "")
        )
        device = next(network.parameters()).device
        factors = {
            name: Nested(
                scheme=scheme, **{part: tensors[f"{name}.{part}"].to(device) for part in _PARTS}
            )
            for name, scheme in schemes.items()
        }
        check_products(network, factors)
    except (ValueError, KeyError, RuntimeError, InputError) as error:
        raise InputError(f"{path}: not this network's nested factors: {one_line(error)}") from None
    carry_(network, factors)


def save_checkpoint(
    path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress
) -> None:
    """Writes weights, momentum and progress to `path`, whole or not at all."""
    tensors = {f"network.{name}": t for name, t in network.state_dict().items()}
    for name, parameter in network.named_parameters():
        buffer = optimizer.state[parameter].get("momentum_buffer")
        if buffer is not None:
            tensors[f"momentum.{name}"] = buffer
    with replacing(path) as temporary:
        save_file(_own(tensors), temporary, metadata={"progress": json.dumps(asdict(progress))})


def load_checkpoint(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Puts a checkpoint's weights and momentum in place; returns its progress.

    Raises:
        InputError: the file is damaged, or does not fit the network.
    """
    tensors, metadata = _read(path)
    prefix = "network."
    own = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
    _fill(network, own, path)
    for name, parameter in network.named_parameters():
        buffer = tensors.get(f"momentum.{name}")
        if buffer is not None:
            optimizer.state[parameter]["momentum_buffer"] = torch.empty_like(parameter).copy_(
                buffer
            )
    return Progress(**json.loads(metadata["progress"]))


def _own(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    # Tied weights share memory, which the format refuses; each name gets its own copy.
    return {name: t.detach().cpu().clone().contiguous() for name, t in tensors.items()}


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if not path.is_file():
        raise InputError(
            f"{path}: no such file of weights; a search keeps those on or near its front, and "
            "with  keep: all  every one"
        )
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a whole safetensors file: {error}") from None
