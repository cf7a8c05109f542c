"""Points of a trained run in int8."""

from __future__ import annotations

import dataclasses

import pytest

from trp_search.errors import InputError, NothingFoundError
from trp_search.records import Point
from trp_search.runs import networks, setup
from trp_search.runs.quantize import quantize, unquantized, worth_it
from trp_search.selection.snapshot import Snapshot
from trp_search.store import RunFolder, exclusive
from trp_search.tasks import task_of
from trp_search.tasks.task import threads

OWN = ("id", "role", "score", "loss", "bytes", "int8")


def quantized(run: RunFolder, *names: str) -> list[Point]:
    return list(quantize(run, [run.point(name) for name in names], "onnxruntime"))


@pytest.mark.slow
def test_a_point_in_int8_is_another_point_of_the_same_network(run: RunFolder):
    before = run.read_points()
    made = quantized(run, "baseline", "plain-2x", "0")
    assert [(p.id, p.role) for p in made] == [
        ("baseline-int8", "derived"),
        ("plain-2x-int8", "control"),
        ("0-int8", "derived"),
    ]
    assert run.read_points() == before  # a search goes on as it would have
    assert run.read_all_points() == [*before, *made]
    spec = setup.on_this_machine(run.trial("0").read_spec())
    splits = setup.splits_of(spec, run)
    for point in made:
        assert point.int8 is not None
        other = run.point(point.int8.of)
        own = {name: getattr(other, name) for name in OWN}
        assert dataclasses.replace(point, **own) == other
        assert point.bytes < 0.45 * other.bytes
        with threads(spec.threads):
            network = networks.network_of(run, point)
            again = task_of(spec.workload).evaluate(network, splits.validation.batches(256))
        assert (again.score, again.loss) == (point.score, point.loss)
        assert networks.score_test(run, point).score.images == 100
    assert {p.id for p in made} <= Snapshot.of(run).kept
    contenders = {point.id for point in Snapshot.of(run).contenders}
    assert contenders & {p.id for p in made} == {"baseline-int8", "0-int8"}


@pytest.mark.slow
def test_what_is_there_is_not_made_again(run: RunFolder):
    wanted = worth_it(Snapshot.of(run))
    assert wanted[0].id == "baseline"
    (made,) = quantize(run, wanted[:1], "onnxruntime")
    assert unquantized(run, wanted, "onnxruntime") == wanted[1:]
    assert worth_it(Snapshot.of(run)) == wanted  # the front of float networks
    with pytest.raises(InputError, match="point 'baseline-int8': is in int8; give 'baseline'"):
        unquantized(run, [made], "onnxruntime")


def test_a_point_without_weights_is_told(run: RunFolder):
    point = run.point("0")
    run.weights(point).unlink()
    with pytest.raises(InputError, match=r"^point '0': its weights were not kept; [^\n]+$"):
        unquantized(run, [point], "onnxruntime")


def test_a_run_without_weights_has_nothing_to_quantise(sample_run: RunFolder):
    with pytest.raises(NothingFoundError, match="has no point whose weights are there"):
        worth_it(Snapshot.of(sample_run))


def test_nothing_is_quantised_while_a_search_is_at_work(run: RunFolder):
    with (
        exclusive(run.lock, wait_seconds=0.0, holder=""),
        pytest.raises(InputError, match="a search is at work in this folder"),
    ):
        quantized(run, "0")
