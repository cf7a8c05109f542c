"""What a run knows of its layers' times: by what it depends on, and corrected by whole networks."""

from __future__ import annotations

import dataclasses
from typing import get_type_hints

import pytest

from trp_search.errors import InputError
from trp_search.records import CutTime, Latency, Target
from trp_search.runs.layer_times import measured, predicted
from trp_search.runtimes.machine import device_name
from trp_search.runtimes.serving import runtime
from trp_search.store import RunFolder, append_record

HERE = Target(name="here", height=8, width=8)


def timed(layers, saved, *, target=HERE, kind="a layer", **other) -> CutTime:
    """Of a network of 10 milliseconds, a record that is of this machine unless `other` says so."""
    given = {"machine": device_name("cpu"), "versions": runtime("eager").versions()} | other
    return CutTime(
        target=target,
        kind=kind,
        step=1,
        layers=layers,
        dense_seconds=0.01,
        speedup=10 / (10 - saved),
        **given,
    )


def kept(run: RunFolder, *records: CutTime) -> RunFolder:
    for one in records:
        append_record(run.cut_times, one)
    return run


def test_layers_of_a_kind_share_what_they_save_and_a_network_saves_the_sum(run: RunFolder):
    one, two, three = "abc"
    kept(
        run,
        timed({one: ("channel", 4), two: ("channel", 4)}, 4.0),
        timed({three: ("spatial", 2)}, 1.0),
    )
    times = predicted(run, HERE)
    assert times is not None
    assert times.saved_by({one: ("channel", 4)}) == pytest.approx(2.0)
    assert times.saved_by({one: ("channel", 9), three: ("spatial", 1)}) == pytest.approx(3.0)
    assert times.milliseconds(()) == pytest.approx(10.0)


@pytest.mark.parametrize("field", [name for name in get_type_hints(Target) if name != "name"])
def test_a_time_is_of_the_target_that_it_was_measured_on_alone(run: RunFolder, field: str):
    other = {"runtime": "onnxruntime", "device": "cuda"}
    kept(run, timed({"a": ("channel", 4)}, 4.0))
    changed = dataclasses.replace(HERE, **{field: other.get(field, 17)})
    try:
        assert predicted(run, changed) is None
    except (AssertionError, RuntimeError):  # no GPU
        assert field == "device"
    assert predicted(run, dataclasses.replace(HERE, name="there")) is not None


@pytest.mark.parametrize("other", [{"machine": "another"}, {"versions": {"torch": "0.1"}}])
def test_another_machine_or_version_has_its_own_times(run: RunFolder, other: dict[str, object]):
    assert predicted(kept(run, timed({"a": ("channel", 4)}, 4.0, **other)), HERE) is None


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_each_precision_has_its_own_times(run: RunFolder, precision: str):
    kept(
        run, timed({"a": ("channel", 4)}, 4.0), timed({"a": ("channel", 4)}, 1.0, precision="int8")
    )
    times = measured(run, HERE, macs=1, precision=precision)
    assert times is not None
    saved = {"float32": 4.0, "int8": 1.0}[precision]
    assert times.saved_by({"a": ("channel", 4)}) == pytest.approx(saved)


@pytest.mark.parametrize("factor", [0.5, 1.2])
def test_networks_that_were_timed_whole_correct_the_table(run: RunFolder, factor: float):
    point = run.point("plain-2x")
    layers = {x.name: (x.scheme, x.rank) for x in point.layers if x.scheme and x.rank}
    each = 6.0 / len(layers)
    for name, pair in layers.items():
        kept(run, timed({name: pair}, each))
    times = predicted(run, HERE)
    assert times is not None
    assert times.saved_by(layers) == pytest.approx(6.0)
    whole = timed(layers, 6.0 * factor, kind=None)
    here = kept(run, whole)
    assert predicted(here, HERE).saved_by(layers) == pytest.approx(6.0 * factor)
    here.cut_times.write_text("".join(here.cut_times.read_text().splitlines(True)[:-1]))
    own = {"seconds": 1.0, "low": 1.0, "high": 9.0, "rounds": 20, "batch_norm": "folded"}
    told = {"dense_seconds": 0.01, "machine": whole.machine, "versions": whole.versions}

    def known(**changes: object) -> None:
        found = own | told | changes
        record = Latency(point=point.id, target=HERE, speedup=whole.speedup, **found)
        append_record(run.latencies, record)

    for changes in ({"machine": "another"}, {"versions": {"torch": "0.1"}}):
        known(**changes)
        assert predicted(run, HERE).saved_by(layers) == pytest.approx(6.0)
    known()
    assert predicted(run, HERE).saved_by(layers) == pytest.approx(6.0 * factor)
    assert predicted(run, HERE).milliseconds(point.layers) == pytest.approx(10 - 6.0 * factor)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ('{"kind": 1}', "not a list of CutTime records: line 1"),
        (None, "layers of one kind have one scheme and one rank"),
    ],
)
def test_a_record_that_cannot_be_is_one_line(run: RunFolder, bad: str | None, said: str):
    if bad is None:
        kept(run, timed({"a": ("channel", 4), "b": ("channel", 4)}, 1.0))
        bad = run.cut_times.read_text().strip().replace('["channel",4]', '["channel",5]', 1)
    run.cut_times.write_text(f"{bad}\n")
    with pytest.raises(InputError, match=said) as raised:
        predicted(run, HERE)
    assert "\n" not in str(raised.value)
