"""Points of a trained run in int8."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from trp_search.errors import InputError, NothingFoundError
from trp_search.records import Target
from trp_search.records.scores import share
from trp_search.runs import clock, networks, setup
from trp_search.runs.quantize import Quantization, quantize, unquantized, worth_it
from trp_search.runs.refit import refit
from trp_search.selection.snapshot import Snapshot
from trp_search.store import RunFolder, append_record, exclusive
from trp_search.tasks import task_of
from trp_search.tasks.task import threads

OWN = ("id", "role", "score", "loss", "bytes", "settings", "int8", "predicted")
HERE = Target(name="here", runtime="onnxruntime", height=8, width=8)


@pytest.fixture
def written(int8_run: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of the run in int8 that may be written to."""
    return RunFolder.open(shutil.copytree(int8_run.path, tmp_path / "int8"))


@pytest.mark.slow
def test_a_point_in_int8_is_another_point_of_the_same_network(
    int8_run: RunFolder, trained_run: RunFolder
):
    before = trained_run.read_points()
    assert int8_run.read_points() == before  # a search goes on as it would have
    *others, plain, cut = int8_run.read_all_points()
    assert others == before
    assert [(p.id, p.role) for p in (plain, cut)] == [
        ("baseline-int8", "derived"),
        ("0-int8", "derived"),
    ]
    spec = setup.on_this_machine(int8_run.trial("0").read_spec())
    splits = setup.splits_of(spec, int8_run)
    for point in (plain, cut):
        other = int8_run.point(point.id.removesuffix("-int8"))
        assert dataclasses.replace(point, **{name: getattr(other, name) for name in OWN}) == other
        assert point.bytes < 0.45 * other.bytes
        with threads(spec.threads):
            network = networks.network_of(int8_run, point)
            again = task_of(spec.workload).evaluate(network, splits.validation.batches(256))
        assert (again.score, again.loss) == (point.score, point.loss)
    found = Snapshot.of(int8_run)
    assert {"baseline-int8", "0-int8"} <= found.kept & {p.id for p in found.contenders}


@pytest.mark.slow
def test_a_point_in_int8_is_scored_on_test_and_timed_in_its_runtime(written: RunFolder):
    point = written.point("0-int8")
    assert networks.score_test(written, point).score.images == 100
    (found,) = clock.measure(written, HERE, [point], seconds=0.0)
    assert found.batch_norm.endswith(" in the baseline, as in its int8 file")
    assert written.read_latencies()["here"][point.id] == found
    eager = dataclasses.replace(HERE, name="eager", runtime="eager")
    with pytest.raises(InputError, match="is int8 for onnxruntime on the CPU; target 'eager' is"):
        list(clock.measure(written, eager, [point], seconds=0.0))
    named = {p.id for p in clock.worth_it(written, HERE)}
    assert {"0", "0-int8", "baseline-int8"} <= named
    assert {p.id for p in clock.worth_it(written, eager)} == named - {"0-int8", "baseline-int8"}


@pytest.mark.slow
def test_what_is_there_is_not_made_again(int8_run: RunFolder):
    wanted = worth_it(Snapshot.of(int8_run))
    assert {"baseline", "0"} <= {p.id for p in wanted}
    assert not {"baseline-int8", "0-int8"} & {p.id for p in wanted}
    left = unquantized(int8_run, wanted, "onnxruntime")
    assert left == [point for point in wanted if point.id not in ("baseline", "0")]
    with pytest.raises(InputError, match="point '0-int8': is in int8; refit '0', then quantise"):
        next(refit(int8_run, "0-int8"))
    with pytest.raises(InputError, match="point '0-int8': is in int8; give '0'"):
        unquantized(int8_run, [int8_run.point("0-int8")], "onnxruntime")


@pytest.mark.slow
def test_the_fewest_layers_that_keep_within_a_drop_stay_in_float(
    written: RunFolder, tmp_path: Path
):
    (tmp_path / "place").mkdir()
    point = written.point("0")
    tried = Quantization(written, point, "onnxruntime", tmp_path / "place")
    assert tried.within(-1.0) is None  # out of reach
    one = tried.within(1.0)
    assert one is not None
    assert one.int8 is not None
    assert (one.id, one.int8.max_drop, len(one.int8.in_float)) == ("0-int8-within-1", 1.0, 1)
    assert written.point("0-int8").bytes < one.bytes < point.bytes
    with threads(written.trial("0").read_spec().threads):
        network = networks.network_of(written, one)
        splits = setup.splits_of(written.trial("0").read_spec(), written)
        task = task_of(written.trial("0").read_spec().workload)
        again = task.evaluate(network, splits.validation.batches(256))
    assert (again.score, again.loss) == (one.score, one.loss)


@pytest.mark.slow
def test_a_point_that_loses_too_much_is_left_until_a_network_keeps_within(written: RunFolder):
    point = written.point("0")
    better = dataclasses.replace(point, score=share(point.score.images, point.score.images))
    append_record(written.points, better)  # the last record of an id counts
    asked = [written.point("0")]
    assert unquantized(written, asked, "onnxruntime", max_drop=1.0) == []
    assert unquantized(written, asked, "onnxruntime", max_drop=0.5) == asked
    assert list(quantize(written, asked, "onnxruntime", max_drop=0.5)) == []
    assert unquantized(written, asked, "onnxruntime", max_drop=0.5) == asked
    mixed = dataclasses.replace(written.point("0-int8"), id="0-int8-within-0.5")
    append_record(written.int8, mixed)
    assert unquantized(written, asked, "onnxruntime", max_drop=0.5) == []


def test_a_point_without_weights_is_told(run: RunFolder):
    point = run.point("0")
    run.weights(point).unlink()
    with pytest.raises(InputError, match=r"^point '0': its weights were not kept; [^\n]+$"):
        unquantized(run, [point], "onnxruntime")


def test_a_run_without_weights_has_nothing_to_quantise(sample_run: RunFolder):
    with pytest.raises(NothingFoundError, match="has no point with stored weights"):
        worth_it(Snapshot.of(sample_run))


def test_nothing_is_quantised_while_a_search_is_at_work(run: RunFolder):
    with (
        exclusive(run.lock, wait_seconds=0.0, holder=""),
        pytest.raises(InputError, match="another command is at work in this folder"),
    ):
        list(quantize(run, [run.point("0")], "onnxruntime"))
