"""Bundles side by side: their cards, and their times in turn on one target."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from trp_search.errors import InputError
from trp_search.export.bundle import Architecture, Card
from trp_search.export.evaluate import check_runs, running
from trp_search.export.int8 import INT8, Int8File
from trp_search.export.load import network_in
from trp_search.export.opened import Bundle, opened
from trp_search.progress import tracked
from trp_search.records import Target, made
from trp_search.runtimes.serving import IN_FILE, Call, noise, runtime, serve
from trp_search.runtimes.timing import Timing, clock_of
from trp_search.runtimes.timing import compare as in_turn
from trp_search.tasks.task import threads
from trp_search.workloads.callables import is_callable_name

_MOST_VALUES = 2**22  # of an image whose size a bundle says; 3 x 1182 x 1182


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One bundle: its card, its size on disk, and its time in turn with the first one.

    `batch_norm` says whether it was folded into the layers before it: in all bundles or in none,
    but for those in int8, which are what their files hold.
    """

    bundle: Path
    card: Card
    file_bytes: int
    batch_norm: str
    timing: Timing


def target_of(bundles: Sequence[Path], given: dict[str, Any]) -> Target:
    """The target on which bundles are compared: `given`, their image size, the runtime of int8.

    Raises:
        InputError: an invalid value, bundles of different inputs, or images so large that the
            caller must ask for them.
    """
    found = {bundle: opened(bundle) for bundle in bundles}
    shapes = {bundle: _shape(one.architecture) for bundle, one in found.items()}
    first = shapes[bundles[0]]
    for bundle, shape in shapes.items():
        if shape != first:
            raise InputError(
                f"{bundle}: takes images of {_said(shape)}; {bundles[0]} of {_said(first)}"
            )
    if "height" not in given and math.prod(first) > _MOST_VALUES:
        raise InputError(
            f"{bundles[0]}: takes images of {_said(first)}, which are large; "
            "give the size to time by --image-size N"
        )
    default: dict[str, Any] = {"name": "here", "height": first[1], "width": first[2]}
    quantised = {
        one.card.point.int8.runtime: str(bundle)
        for bundle, one in found.items()
        if one.card.point.int8 is not None
    }
    if len(quantised) > 1:
        which = ", ".join(f"{bundle} for {name}" for name, bundle in quantised.items())
        raise InputError(f"no runtime runs all of them in int8: {which}")
    if quantised:
        (default["runtime"],) = quantised
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
        if len({batch_norm for _, batch_norm in served} - {IN_FILE}) > 1:
            served = [_serve(bundle, target, network, fold=False) for bundle in found]
        first, _ = served[0]
        pairs = zip(found, served, strict=True)
        timed = tracked(pairs, "timing", total=len(found), unit="networks")
        for bundle, (call, batch_norm) in timed:
            with _limited([found[0], bundle], target):
                timing = in_turn(first, call, seconds=seconds, clock=clock_of(target))
            yield Compared(
                bundle=bundle.folder,
                card=bundle.card,
                file_bytes=_file_bytes(bundle),
                batch_norm=batch_norm,
                timing=timing,
            )


def _serve(
    bundle: Bundle, target: Target, network: str | None, *, fold: bool = True
) -> tuple[Call, str]:
    architecture, int8 = bundle.architecture, bundle.card.point.int8
    own = is_callable_name(architecture.network.name)
    channels = architecture.channels
    images = noise(target, channels=channels)
    module: nn.Module
    if int8 is not None:
        alone = Int8File(bundle.folder, int8.runtime, images[:1])
        # A stranger's file shows that it runs where memory and time are limited first.
        check_runs(bundle, alone, images)
        module = alone.network
    else:
        module = network_in(bundle, network=network if own else None)
        with running(bundle, images[:1], images=len(images)):
            check_runs(bundle, module, images)
    return serve(module, target, channels=channels, fold=fold)


@contextmanager
def _limited(bundles: Sequence[Bundle], target: Target) -> Iterator[None]:
    """In the block a stranger's files have memory for their batches, whatever they draw."""
    with ExitStack() as limits:
        for bundle in bundles:
            if bundle.card.point.int8 is not None:
                images = noise(target, channels=bundle.architecture.channels)
                limits.enter_context(running(bundle, images[:1], images=len(images)))
        yield


def _file_bytes(bundle: Bundle) -> int:
    """Of the file of weights; of a network in int8 of its runtime's files."""
    int8 = bundle.card.point.int8
    files = [bundle.weights] if int8 is None else INT8[int8.runtime].files_in(bundle.folder)
    return sum(file.stat().st_size for file in files)


def _shape(architecture: Architecture) -> tuple[int, int, int]:
    return architecture.channels, architecture.height, architecture.width


def _said(shape: tuple[int, int, int]) -> str:
    channels, height, width = shape
    return f"{channels} x {height} x {width}"
