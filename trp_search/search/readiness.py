"""What can be checked before a search starts: network, images, methods, runtimes."""

from __future__ import annotations

import dataclasses

from trp_search.errors import InputError
from trp_search.lowrank.costs import settled
from trp_search.runs.probe import baseline_network, probe_
from trp_search.runtimes.quantizer import quantizer
from trp_search.runtimes.serving import runtime
from trp_search.scoring.candidate import example
from trp_search.scoring.survey import check_methods, said_of, widest_layers
from trp_search.space import SearchSpace
from trp_search.workloads import data
from trp_search.workloads.callables import theirs
from trp_search.workloads.guard import SECONDS


def check_ready(space: SearchSpace, *, seconds: float = SECONDS, trained: bool = False) -> str:
    """Tries the network and looks for the images, so that errors show before the start.

    Returns which layers trials may cut. Nothing is downloaded that only a trial needs: published
    weights are downloaded later.

    Args:
        space: the search space.
        seconds: time limit of the user's own network, and of the data.
        trained: whether the baseline exists already; then it is not tried again, and its first
            weights are not looked for.

    Raises:
        InputError: the network, its weights or the images are not to be had, the network cannot be
            trained, counted, cut or stored, a method has nothing to do on it, or a batch is larger
            than the training set.
    """
    workload = space.workload
    # A trained baseline lies in the run, wherever its first weights have gone.
    begun = dataclasses.replace(workload, weights=None) if trained else workload
    network, shape = baseline_network(begun, seconds=seconds)
    if not trained:
        probe_(space, network, shape, seconds=seconds)
    image, asked = example(shape, "cpu"), widest_layers(space)
    check_methods(space, network, image)
    with theirs(workload.data.name, where="workload.data", seconds=seconds):
        images, _, _ = data.sizes(workload.data, outside_weights=workload.weights is not None)
    _check_batches(space, images)
    for target in space.timed_on:
        runtime(target.runtime).check(target.device)
    for tool in {*space.int8, *([space.quantizer] if space.quantizer else ())}:
        quantizer(tool).check()
    return f"layers: {said_of(settled(network, image, asked), asked)}"


def _check_batches(space: SearchSpace, images: int) -> None:
    for where, sizes in space.batch_sizes.items():
        if max(sizes) > images:
            raise InputError(f"{where}: {max(sizes)} is more than the {images} training images")
