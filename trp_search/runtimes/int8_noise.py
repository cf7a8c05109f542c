"""Networks quantised on noise, whose values take no other time, as calls on a target."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

from torch import Tensor, nn

from trp_search.records import SUFFIXES, QuantizerName, Target
from trp_search.runtimes.exchange import Exchange
from trp_search.runtimes.fold import fold_batch_norm
from trp_search.runtimes.quantizer import Calibrated, QuantizedNetwork, calibrated, ranged
from trp_search.runtimes.serving import IN_FILE, Call, Exchanged, noise


def serve_int8(network: nn.Module, target: Target, *, channels: int) -> tuple[Call, str]:
    """As `serve`, of `network` in int8.

    Raises:
        InputError: the runtime's tool refuses the network.
    """
    images = _images(target, channels)
    folded, _ = fold_batch_norm(network, images)
    with tempfile.TemporaryDirectory() as place:
        made = calibrated(_tool(target), folded, [images], Path(place))
        return _call(made, target, channels, Path(place)), IN_FILE


def exchanging_int8(network: nn.Module, target: Target, *, channels: int) -> Exchanged:
    """As `exchanging`, of `network` in int8; raises as `serve_int8` does."""
    images = _images(target, channels)
    folded, _ = fold_batch_norm(network, images)
    exchange = Exchange(folded.eval(), images)

    def call(path: Path) -> Call:
        made = ranged(_tool(target), path, [images], path.parent)
        return _call(made, target, channels, path.parent)

    return lambda parts: exchange.served(parts, call)


def _call(made: Calibrated, target: Target, channels: int, place: Path) -> Call:
    path = place / f"int8{SUFFIXES[_tool(target)]}"
    made.write(path)
    return QuantizedNetwork(path, _tool(target)).call(noise(target, channels=channels), target)


def _images(target: Target, channels: int) -> Tensor:
    return noise(dataclasses.replace(target, batch=2), channels=channels)


def _tool(target: Target) -> QuantizerName:
    return next(name for name in SUFFIXES if name == target.runtime)
