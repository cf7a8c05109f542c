"""Timing in turn, in virtual time."""

from __future__ import annotations

import random
import time

import pytest
from scipy.stats import binom

from trp_search.records import Target
from trp_search.runtimes.timing import _outside, clock_of, compare


class Machine:
    """A clock that only calls move; `slow` is what else runs at the moment."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slow = 1.0
        self.calls: list[str] = []

    def clock(self) -> float:
        return self.now

    def call(self, name: str, seconds: float, *, spread: float = 0.0):
        draws = random.Random(name)  # noqa: S311

        def run() -> None:
            self.calls.append(name)
            self.now += seconds * self.slow * (1 + spread * draws.random())

        return run


def test_the_ratio_of_two_steady_calls_is_exact():
    machine = Machine()
    dense, cut = machine.call("dense", 0.030), machine.call("cut", 0.010)
    timing = compare(dense, cut, seconds=10.0, clock=machine.clock)
    assert (timing.low, timing.speedup, timing.high) == pytest.approx((3.0, 3.0, 3.0))
    assert (timing.dense_seconds, timing.seconds) == pytest.approx((0.030, 0.010))


def test_a_machine_that_gets_slower_meanwhile_does_not_change_the_ratio():
    machine = Machine()

    def dense() -> None:
        machine.slow *= 1.001
        machine.now += 0.02 * machine.slow

    timing = compare(dense, machine.call("cut", 0.01), seconds=20.0, clock=machine.clock)
    assert machine.slow > 1.5
    assert timing.speedup == pytest.approx(2.0, rel=0.01)


@pytest.mark.parametrize(("seconds", "before"), [(0.05, "dddccc"), (0.5, "ddcc")])
def test_the_first_to_be_timed_alternates_after_few_calls_to_warm_up(seconds, before):
    machine = Machine()
    dense, cut = machine.call("d", seconds), machine.call("c", seconds)
    compare(dense, cut, seconds=0.0, clock=machine.clock)
    assert "".join(machine.calls).startswith(before + "dccddccd")


def test_the_interval_holds_the_median_and_narrows_with_rounds():
    machine = Machine()
    dense = machine.call("dense", 0.02, spread=1.0)
    cut = machine.call("cut", 0.01, spread=1.0)
    few = compare(dense, cut, seconds=0.0, clock=machine.clock)
    many = compare(dense, cut, seconds=30.0, clock=machine.clock)
    assert few.rounds == 20
    assert many.rounds > 400
    for timing in (few, many):
        assert timing.low < timing.speedup < timing.high
    assert many.high - many.low < 0.5 * (few.high - few.low)
    assert many.low < 2.0 < many.high


@pytest.mark.parametrize("rounds", [1, 5, 6, 20, 21, 24, 50, 101, 2000])
def test_the_interval_holds_a_median_at_least_95_times_in_100(rounds: int):
    outside = _outside(rounds)
    within = binom.cdf(rounds - outside - 1, rounds, 0.5) - binom.cdf(outside, rounds, 0.5)
    narrower = within - 2 * binom.pmf(outside + 1, rounds, 0.5)
    assert within >= 0.95 or outside == 0
    assert narrower < 0.95


def test_short_calls_are_timed_many_at_a_time():
    machine = Machine()
    timing = compare(
        machine.call("dense", 2e-5), machine.call("cut", 1e-5), seconds=0.1, clock=machine.clock
    )
    assert timing.speedup == pytest.approx(2.0)
    assert machine.calls.count("cut") == pytest.approx(6 + 200 * timing.rounds, rel=0.02)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_one_thread_is_timed_by_the_processor_and_more_by_the_clock(device, threads):
    target = Target(name="here", device=device, threads=threads, height=8, width=8)
    alone = (device, threads) == ("cpu", 1)
    assert clock_of(target) is (time.process_time if alone else time.perf_counter)
