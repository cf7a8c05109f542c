"""Points of a trained run on the clock."""

from __future__ import annotations

from importlib.metadata import version

import pytest
import torch

from trp_search.errors import InputError, NothingFoundError
from trp_search.records import Target
from trp_search.runs import beside, clock
from trp_search.runs.clock import measure, target_of, worth_it
from trp_search.store import RunFolder, exclusive

HERE = Target(name="here", height=8, width=8)


def test_a_target_has_the_size_of_the_run_s_images(run: RunFolder):
    target = target_of(run, "laptop", {})
    assert (target.runtime, target.device, target.threads, target.batch) == ("eager", "cpu", 1, 1)
    assert (target.height, target.width) == (8, 8)
    assert target_of(run, "large", {"height": 32, "width": 32, "batch": 4}).batch == 4


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("laptop", {"runtime": "jax"}, r"target 'laptop': runtime: 'jax': .*'eager', 'compile'"),
        ("laptop", {"device": "tpu"}, r"target 'laptop': device: 'tpu': .*'cpu' or 'cuda'"),
        ("a b", {}, r"target 'a b': name: 'a b': a name is letters, digits"),
    ],
)
def test_a_target_that_cannot_be_is_one_line(
    run: RunFolder, name: str, given: dict[str, object], said: str
):
    with pytest.raises(InputError, match=said):
        target_of(run, name, given)


def test_points_are_timed_beside_the_baseline_and_kept(run: RunFolder):
    points = [run.point(name) for name in ("0", "plain-2x")]
    threads = torch.get_num_threads()
    target = target_of(run, "laptop", {"threads": 2, "batch": 2})
    found = list(measure(run, target, points, seconds=0.05))
    assert torch.get_num_threads() == threads
    assert [latency.point for latency in found] == ["0", "plain-2x"]
    assert run.read_latencies() == {"laptop": {latency.point: latency for latency in found}}
    for latency in found:
        assert latency.low <= latency.speedup <= latency.high
        assert min(latency.seconds, latency.dense_seconds) > 0
        assert latency.versions == {"torch": version("torch")}
        assert latency.batch_norm


def test_what_is_measured_again_counts_last(run: RunFolder):
    target, point = target_of(run, "laptop", {}), run.point("0")
    list(measure(run, target, [point], seconds=0.0))
    (second,) = measure(run, target, [point], seconds=0.0)
    assert run.read_latencies()["laptop"]["0"] == second


def test_a_target_of_the_run_s_space_is_what_the_space_says(run: RunFolder):
    text = run.search.read_text()
    assert "target" not in text
    run.search.write_text(f"{text}target: {{name: phone, threads: 2, batch: 8}}\n")
    target = target_of(run, "phone", {})
    assert (target.threads, target.batch, target.height) == (2, 8, 8)
    assert target_of(run, "phone", {"batch": 8}) == target
    with pytest.raises(InputError, match="'phone': stands for batch 8 in this run"):
        target_of(run, "phone", {"batch": 1})
    assert target_of(run, "laptop", {}).batch == 1


def test_a_name_stands_for_one_target(run: RunFolder):
    list(measure(run, target_of(run, "phone", {"batch": 3}), [run.point("0")], seconds=0.0))
    assert target_of(run, "phone", {}).batch == 3
    assert target_of(run, "phone", {"batch": 3}).batch == 3
    with pytest.raises(InputError, match="'phone': stands for batch 3 in this run"):
        target_of(run, "phone", {"batch": 1})


def test_nothing_is_timed_while_a_search_is_at_work(run: RunFolder):
    target = target_of(run, "laptop", {})
    with (
        exclusive(run.lock, wait_seconds=0.0, holder=""),
        pytest.raises(InputError, match="another command is at work in this folder"),
    ):
        list(measure(run, target, [run.point("0")], seconds=0.0))
    assert run.read_latencies() == {}


def with_weights(run: RunFolder) -> RunFolder:
    for point in run.read_points():
        run.weights(point).touch()
    return run


def test_points_whose_weights_were_not_kept_are_left_out(sample_run: RunFolder):
    wanted = worth_it(with_weights(sample_run), HERE)
    sample_run.weights(wanted[0]).unlink()
    assert worth_it(sample_run, HERE) == wanted[1:]


def test_a_name_stands_for_one_machine(run: RunFolder, monkeypatch: pytest.MonkeyPatch):
    target = target_of(run, "laptop", {})
    list(measure(run, target, [run.point("0")], seconds=0.0))
    monkeypatch.setattr(clock, "device_name", lambda _device: "a server")
    with pytest.raises(InputError, match=r"was timed on .*, this is a server; give another name"):
        list(measure(run, target, [run.point("0")], seconds=0.0))


def test_what_folds_in_one_network_alone_is_folded_in_neither(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
):
    served: list[bool] = []
    own = beside.serve

    def serve(network, target, *, channels, fold=True):
        served.append(fold)
        call, _ = own(network, target, channels=channels, fold=fold)
        return call, "folded" if len(served) == 1 else "not folded: TraceError"

    monkeypatch.setattr(beside, "serve", serve)
    (found,) = measure(run, target_of(run, "a", {}), [run.point("0")], seconds=0.0)
    assert served == [True, True, False, False]
    assert found.batch_norm == (
        "in neither: folded in the baseline, not folded: TraceError in this one"
    )


def test_the_front_of_every_scheme_is_worth_it(sample_run: RunFolder):
    with_weights(sample_run)
    names = {point.id for point in worth_it(sample_run, HERE)}
    by_scheme = {point.scheme for point in worth_it(sample_run, HERE) if point.searched}
    assert by_scheme == {"channel", "spatial"}
    assert "baseline" not in names
    assert any(name.startswith("plain-channel") for name in names)
    assert any(name.startswith("plain-spatial") for name in names)
    for slow in (p for p in sample_run.read_points() if p.searched and p.id not in names):
        better = [p for p in sample_run.read_points() if p.id in names and p.scheme == slow.scheme]
        assert any(
            p.speedup >= slow.speedup and p.score.value >= slow.score.value for p in better
        ) or (slow.score.value < 0.5)


def test_a_run_without_trials_has_nothing_to_time(empty_run: RunFolder):
    with pytest.raises(NothingFoundError, match="has no point with stored weights"):
        worth_it(empty_run, HERE)
