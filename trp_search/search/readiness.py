"""What can be checked before a search starts: network, images, methods, runtimes."""

from __future__ import annotations

import dataclasses

from trp_search.errors import InputError
from trp_search.lowrank.costs import settled
from trp_search.records import BASELINE
from trp_search.runs.probe import baseline_network, probe_
from trp_search.runs.setup import check_images, check_network
from trp_search.runtimes.quantizer import quantizer
from trp_search.runtimes.serving import runtime
from trp_search.scoring.candidate import example
from trp_search.scoring.survey import check_methods, said_of, widest_layers
from trp_search.space import SearchSpace
from trp_search.store import RunFolder
from trp_search.workloads import data
from trp_search.workloads.callables import theirs
from trp_search.workloads.guard import SECONDS


def check_ready(
    space: SearchSpace, *, seconds: float = SECONDS, run: RunFolder | None = None
) -> str:
    """Tries the network and looks for the images, so that errors show before the start.

    Returns which layers trials may cut. Nothing is downloaded that only a trial needs: published
    weights are downloaded later.

    Args:
        space: the search space.
        seconds: time limit of the user's own network, and of the data.
        run: one with a trained baseline, that goes on: it is not tried again and its first weights
            are not looked for, but images and network must be those of the run.

    Raises:
        InputError: the network, its weights or the images are not to be had, the network cannot be
            trained, counted, cut or stored, a method has nothing to do on it, a batch is larger
            than the training set, or the run began with other images or another network.
    """
    workload = space.workload
    # A trained baseline lies in the run, wherever its first weights have gone.
    begun = dataclasses.replace(workload, weights=None) if run else workload
    network, shape = baseline_network(begun, seconds=seconds)
    if run is None:
        probe_(space, network, shape, seconds=seconds)
    image, asked = example(shape, "cpu"), widest_layers(space)
    check_methods(space, network, image)
    with theirs(workload.data.name, where="workload.data", seconds=seconds):
        outside = workload.weights is not None
        seed = run.trial(BASELINE).read_spec().split_seed if run else 0
        parts, digest = data.listed(workload.data, split_seed=seed, outside_weights=outside)
    if run is not None:
        check_images(run, parts, digest)
        with theirs(workload.network.name, where="workload.network", seconds=seconds):
            check_network(run, network, image)
    _check_batches(space, len(parts["train"]))
    for target in space.timed_on:
        runtime(target.runtime).check(target.device)
    for tool in {*space.int8, *([space.quantizer] if space.quantizer else ())}:
        quantizer(tool).check()
    return f"layers: {said_of(settled(network, image, asked), asked)}"


def _check_batches(space: SearchSpace, images: int) -> None:
    for where, sizes in space.batch_sizes.items():
        if max(sizes) > images:
            raise InputError(f"{where}: {max(sizes)} is more than the {images} training images")
