"""Bundles side by side: their cards, and their times in turn on one target."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trp_search.errors import InputError
from trp_search.export.bundle import Architecture, Card
from trp_search.export.evaluate import check_runs
from trp_search.export.load import network_in
from trp_search.export.opened import Bundle, opened
from trp_search.progress import tracked
from trp_search.records import Target, made
from trp_search.runtimes.serving import Call, runtime, serve
from trp_search.runtimes.timing import Timing, clock_of
from trp_search.runtimes.timing import compare as in_turn
from trp_search.tasks.task import threads
from trp_search.workloads.callables import is_callable_name

_MOST_VALUES = 2**22  # of an image whose size a bundle says; 3 x 1182 x 1182


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One bundle: its card, its size on disk, and its time in turn with the first one.

    `batch_norm` says whether it was folded into the layers before it: in all bundles or in none.
    """

    bundle: Path
    card: Card
    file_bytes: int
    batch_norm: str
    timing: Timing


def target_of(bundles: Sequence[Path], given: dict[str, Any]) -> Target:
    """The target on which bundles are compared: `given`, and their own image size.

    Raises:
        InputError: an invalid value, bundles of different inputs, or images so large that the
            caller must ask for them.
    """
    shapes = {bundle: _shape(opened(bundle).architecture) for bundle in bundles}
    first = shapes[bundles[0]]
    for bundle, shape in shapes.items():
        if shape != first:
            raise InputError(
                f"{bundle}: takes images of {_said(shape)}; {bundles[0]} of {_said(first)}"
            )
    if "height" not in given and math.prod(first) > _MOST_VALUES:
        raise InputError(
            f"{bundles[0]}: takes images of {_said(first)}, which are large: "
            "say on which it is to be timed by --image-size N"
        )
    default: dict[str, Any] = {"name": "here", "height": first[1], "width": first[2]}
    return made(Target, "target", **(default | given))


def compare(
    bundles: Sequence[Path], target: Target, *, network: str | None, seconds: float
) -> Iterator[Compared]:
    """Times each bundle for about `seconds` in turn with the first one.

    Args:
        bundles: their folders.
        target: where to time them.
        network: `package.module:callable` of the baseline, for custom architectures.
        seconds: for each.

    Raises:
        InputError: a bundle cannot be loaded, or a runtime or device is missing.
    """
    runtime(target.runtime).check(target.device)
    found = [opened(bundle) for bundle in bundles]
    with threads(target.threads):
        served = [_serve(bundle, target, network) for bundle in found]
        if len({batch_norm for _, batch_norm in served}) > 1:
            served = [_serve(bundle, target, network, fold=False) for bundle in found]
        first, _ = served[0]
        pairs = zip(found, served, strict=True)
        timed = tracked(pairs, "timing", total=len(found), unit="networks")
        for bundle, (call, batch_norm) in timed:
            yield Compared(
                bundle=bundle.folder,
                card=bundle.card,
                file_bytes=bundle.weights.stat().st_size,
                batch_norm=batch_norm,
                timing=in_turn(first, call, seconds=seconds, clock=clock_of(target)),
            )


def _serve(
    bundle: Bundle, target: Target, network: str | None, *, fold: bool = True
) -> tuple[Call, str]:
    architecture, int8 = bundle.architecture, bundle.card.point.int8
    if int8 is not None:
        raise InputError(
            f"{bundle.folder}: is int8, which compare does not time: latency does, in its run"
        )
    own = is_callable_name(architecture.network.name)
    module = network_in(bundle, network=network if own else None)
    image = torch.zeros(1, architecture.channels, target.height, target.width)
    check_runs(bundle, module, image)
    return serve(module, target, channels=architecture.channels, fold=fold)


def _shape(architecture: Architecture) -> tuple[int, int, int]:
    return architecture.channels, architecture.height, architecture.width


def _said(shape: tuple[int, int, int]) -> str:
    channels, height, width = shape
    return f"{channels} x {height} x {width}"
