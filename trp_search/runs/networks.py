"""The networks that a run has stored: as they were trained, as points, and scored on test."""

from __future__ import annotations

from torch import nn

from trp_search.lowrank.rebuild import rebuild
from trp_search.records import TestScore, TrialSpec
from trp_search.runs import setup
from trp_search.store import RunFolder, append_record, exclusive
from trp_search.tasks.classification import evaluate, threads
from trp_search.training.checkpoint import load_tensors

_EVALUATION_BATCH = 256


def score_test(folder: RunFolder, point_id: str, *, spec: TrialSpec | None = None) -> TestScore:
    """The point's accuracy on the test split; measured once, then read from the run folder.

    `spec` stands in for that of the point's trial.

    Raises:
        InputError: no such point, its weights are gone, or the images are not the run's.
    """
    found = folder.read_tests().get(point_id)
    if found is not None:
        return found
    point = folder.point(point_id)
    spec = setup.on_this_machine(spec or folder.trial(point.trial).read_spec())
    with threads(spec.threads):
        dense = setup.untrained(spec)
        network = network_of(folder, point_id, network=dense).to(spec.device)
        splits = setup.splits_of(spec, folder)
        result = evaluate(network, splits.test.batches(_EVALUATION_BATCH))
    score = TestScore(point=point_id, score=result.score)
    with exclusive(folder.test_lock, wait_seconds=60.0, holder="test scores are in use"):
        scored = folder.read_tests().get(point_id)  # by another process meanwhile
        if scored is None:
            append_record(folder.tests, score)
    return scored or score


def network_of(folder: RunFolder, point_id: str, *, network: nn.Module | None = None) -> nn.Module:
    """The network of a point, with its weights, on the CPU and in evaluation mode.

    Args:
        folder: the run.
        point_id: one of its points.
        network: the dense network, changed in place; built from the run's workload by default.

    Raises:
        InputError: no such point, or its weights are missing or do not fit.
    """
    point = folder.point(point_id)
    place = folder.trial(point.trial)
    if network is None:
        network = setup.untrained(place.read_spec())
    rebuild(network, point.layers)
    load_tensors(network, folder.weights(point))
    return network.eval()


def trained(folder: RunFolder, name: str) -> nn.Module:
    """The network of the trial `name` as it was trained, uncut, on the CPU, in evaluation mode.

    Raises:
        InputError: its specification or its weights are missing, or they do not fit.
    """
    place = folder.trial(name)
    network = setup.untrained(place.read_spec())
    load_tensors(network, place.weights)
    return network.eval()
