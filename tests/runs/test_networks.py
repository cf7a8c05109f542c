from __future__ import annotations

from typing import Any

import pytest
import torch

from trp_search.errors import InputError
from trp_search.records import TestScore
from trp_search.runs import networks, setup
from trp_search.store import RunFolder
from trp_search.tasks.task import Evaluation, Task


def correct(network: torch.nn.Module, batches) -> int:
    with torch.no_grad():
        return sum(int((network(i).argmax(1) == labels).sum()) for i, labels in batches)


@pytest.mark.parametrize("name", ["0", "0-2x", "plain-2x", "baseline"])
def test_a_points_network_does_what_its_record_says(run: RunFolder, name: str):
    point = run.point(name)
    network = networks.network_of(run, point)
    splits = setup.splits_of(run.trial(point.trial).read_spec(), run)
    assert correct(network, splits.validation.batches(64)) == point.score.value * point.score.images
    assert sum(p.numel() for p in network.parameters()) == point.parameters


def test_what_was_trained_is_there_uncut(run: RunFolder):
    splits = setup.splits_of(run.trial("baseline").read_spec(), run)
    found = correct(networks.trained(run, "baseline"), splits.validation.batches(64))
    plain = run.point("baseline").score
    assert found == plain.value * plain.images


def test_a_network_whose_weights_are_gone_is_named(run: RunFolder):
    point = run.point("0")
    weights = run.weights(point)
    weights.unlink()
    with pytest.raises(InputError, match=str(weights)):
        networks.network_of(run, point)


def test_test_images_are_scored_once_and_kept(run: RunFolder):
    first = networks.score_test(run, run.point("0"))
    assert first.score.images == 100
    before = run.tests.read_bytes()
    assert networks.score_test(run, run.point("0")) == first
    assert run.tests.read_bytes() == before


def test_a_point_that_two_processes_score_at_once_has_one_score(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
):
    ended: list[TestScore] = []

    def meanwhile(task: Task, *given: Any) -> Evaluation:
        monkeypatch.undo()
        ended.append(networks.score_test(run, run.point("0")))  # the other process is through first
        return task.evaluate(*given)

    run.tests.unlink(missing_ok=True)
    monkeypatch.setattr(Task, "evaluate", meanwhile)
    assert [networks.score_test(run, run.point("0"))] == ended == list(run.read_tests().values())
    assert len(run.tests.read_text().splitlines()) == 1
