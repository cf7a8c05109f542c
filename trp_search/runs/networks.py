"""The networks stored in a run: as trained, as points, and scored on test."""

from __future__ import annotations

from torch import nn

from trp_search.lowrank.rebuild import rebuild
from trp_search.records import Point, TestScore, TrialSpec
from trp_search.runs import setup
from trp_search.runtimes.quantizer import QuantizedNetwork
from trp_search.store import RunFolder, append_record, exclusive
from trp_search.tasks import task_of
from trp_search.tasks.task import threads
from trp_search.training.checkpoint import load_nested, load_tensors
from trp_search.workloads.data import Test

_EVALUATION_BATCH = 256


def score_test(folder: RunFolder, point: Point) -> TestScore:
    """The point's score on the test split; measured once, then read from the run folder.

    Raises:
        InputError: its weights are gone, or the images are not the run's.
    """
    found = folder.read_tests().get(point.id)
    if found is not None:
        return found
    spec = setup.on_this_machine(folder.trial(point.trial).read_spec())
    splits = setup.splits_of(spec, folder)
    network = network_of(folder, point)
    return measure_test(folder, point, network, splits.test, spec=spec)


def measure_test(
    folder: RunFolder, point: Point, network: nn.Module, images: Test, *, spec: TrialSpec
) -> TestScore:
    """As `score_test`, for the point's `network`, which is left on the device of `spec`."""
    with threads(spec.threads):
        batches = images.batches(_EVALUATION_BATCH)
        result = task_of(spec.workload).evaluate(network.to(spec.device), batches)
    score = TestScore(point=point.id, score=result.score)
    with exclusive(folder.test_lock, wait_seconds=60.0, holder="test scores are in use"):
        scored = folder.read_tests().get(point.id)  # by another process meanwhile
        if scored is None:
            append_record(folder.tests, score)
    return scored or score


def network_of(folder: RunFolder, point: Point, *, network: nn.Module | None = None) -> nn.Module:
    """The network of a point, with its weights, on the CPU and in evaluation mode.

    Args:
        folder: the run.
        point: one of its points.
        network: the baseline's network, changed in place; built from the run's workload by default.

    Raises:
        InputError: its weights are missing or do not fit, or the runtime of an int8 one is missing.
    """
    if point.int8 is not None:
        return QuantizedNetwork(folder.weights(point), point.int8.runtime)
    if network is None:
        network = setup.untrained(folder.trial(point.trial).read_spec())
    rebuild(network, point.layers, point.widths)
    load_tensors(network, folder.weights(point))
    if point.cut is None:
        load_nested(network, folder.trial(point.trial).nested)
    return network.eval()


def trained(folder: RunFolder, name: str) -> nn.Module:
    """The network of the trial `name` as it was trained, uncut, on the CPU, in evaluation mode.

    Raises:
        InputError: its specification or its weights are missing, or they do not fit.
    """
    place = folder.trial(name)
    network = setup.untrained(place.read_spec())
    load_tensors(network, place.weights)
    load_nested(network, place.nested)
    return network.eval()
