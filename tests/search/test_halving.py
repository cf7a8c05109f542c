"""Made-up trials in virtual time: nothing is trained."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trp_search.records import EpochReport, RungScore
from trp_search.records.objectives import OBJECTIVES, Objective
from trp_search.search.halving import Halving, halving_of
from trp_search.selection.pareto import nondominated
from trp_search.space import Rungs, load_space
from trp_search.store import RunFolder, append_record

EPOCHS = 9
SPACE = """\
workload: {network: small_resnet, data: digits}
training: {epochs: 9}
space: {scheme: [channel, spatial]}
rungs: {first: 1}
trials: 5
"""
BOTH = [OBJECTIVES["accuracy"], OBJECTIVES["speedup"]]


@dataclass(frozen=True)
class MadeUp:
    """A trial whose accuracy grows towards `accuracy` and whose epochs take `pace`."""

    accuracy: float
    speedup: float
    pace: float

    def report(self, name: int, epoch: int) -> EpochReport:
        rung_score = RungScore(
            metric=self.accuracy * (1 - 0.6**epoch),
            speedup=self.speedup,
            parameters=1000,
            bytes=4000,
        )
        return report(str(name), epoch, rung_score)


def report(name: str, epoch: int, rung_score: RungScore | None) -> EpochReport:
    return EpochReport(
        trial=name,
        epoch=epoch,
        epochs=EPOCHS,
        loss=1.0,
        metric=0.5,
        learning_rate=0.1,
        seconds=1.0,
        rung_score=rung_score,
    )


@dataclass
class Outcome:
    reports: list[EpochReport] = field(default_factory=list)
    stopped: dict[int, int] = field(default_factory=dict)


def simulate(trials: Sequence[MadeUp], halving: Halving, *, workers: int, rungs: Rungs) -> Outcome:
    """Every trial begins when a worker is free, in order."""
    outcome = Outcome()
    waiting = list(range(len(trials)))[::-1]
    events: list[tuple[float, int, int]] = []

    def begin(now: float) -> None:
        if waiting:
            name = waiting.pop()
            heapq.heappush(events, (now + trials[name].pace, name, 1))

    for _ in range(workers):
        begin(0.0)
    while events:
        now, name, epoch = heapq.heappop(events)
        told = trials[name].report(name, epoch)
        if epoch in rungs.epochs(EPOCHS):
            outcome.reports.append(told)
            if halving.judge(told) is not None:
                outcome.stopped[name] = epoch
                begin(now)
                continue
        if epoch == EPOCHS:
            begin(now)
        else:
            heapq.heappush(events, (now + trials[name].pace, name, epoch + 1))
    return outcome


def made_up(seed: int, count: int = 36) -> list[MadeUp]:
    """Fast ones are less accurate, as with real networks, and most are not on the front."""
    draw = np.random.default_rng(seed)
    speedups = draw.uniform(1, 6, count)
    accuracies = np.exp(-0.05 - 0.1 * (speedups - 1) - draw.exponential(0.1, count))
    return [
        MadeUp(float(a), float(s), float(p))
        for a, s, p in zip(accuracies, speedups, draw.uniform(1, 3, count), strict=True)
    ]


def on_front(trials: Sequence[MadeUp]) -> set[int]:
    values = np.array([[made.accuracy, made.speedup] for made in trials])
    return set(np.flatnonzero(nondominated(values)))


def run(trials: Sequence[MadeUp], rungs: Rungs, objectives: Sequence[Objective] = BOTH) -> Outcome:
    return simulate(trials, Halving(rungs, objectives), workers=3, rungs=rungs)


@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=50)
def test_where_curves_do_not_cross_no_member_of_the_front_is_stopped(seed: int):
    trials = made_up(seed)
    assert not run(trials, Rungs()).stopped.keys() & on_front(trials)


def epochs_spent(outcome: Outcome, trials: Sequence[MadeUp]) -> int:
    return sum(outcome.stopped.get(name, EPOCHS) for name in range(len(trials)))


@pytest.mark.parametrize("seed", range(5))
def test_much_of_the_training_is_saved(seed: int):
    trials = made_up(seed)
    spent = epochs_spent(run(trials, Rungs()), trials)
    assert spent < 0.75 * EPOCHS * len(trials)


@pytest.mark.parametrize("seed", range(5))
def test_by_accuracy_alone_fast_members_of_the_front_would_be_stopped(seed: int):
    trials = made_up(seed)
    front = on_front(trials)
    lost = run(trials, Rungs(), [OBJECTIVES["accuracy"]]).stopped.keys() & front
    assert len(lost) > len(front) / 2
    kept = [trials[name].speedup for name in front - lost]
    assert np.mean([trials[name].speedup for name in lost]) > np.mean(kept) + 1


@pytest.mark.parametrize("factor", [2.0, 3.0])
def test_without_kept_fronts_the_best_one_in_factor_goes_on(factor: float):
    rungs = Rungs(factor=factor, keep_front=False)
    halving = Halving(rungs, BOTH)
    ahead = [MadeUp(0.9 - 0.01 * place, 2.0, 1.0) for place in range(30)]
    for name, made in reversed(list(enumerate(ahead))):  # the worst come first
        halving.judge(made.report(name, 1))
    for name, share in ((100, 0.1), (101, 0.9)):
        accuracy = float(np.quantile([made.accuracy for made in ahead], 1 - share))
        goes_on = halving.judge(MadeUp(accuracy, 2.0, 1.0).report(name, 1)) is None
        assert goes_on == (share < 1 / factor)


def test_the_reason_names_the_epoch():
    halving = Halving(Rungs(), BOTH)
    for name in range(3):
        halving.judge(MadeUp(0.9, 2.0, 1.0).report(name, 1))
    assert halving.judge(MadeUp(0.5, 1.5, 1.0).report(9, 1)) == "behind after epoch 1 of 9"


def test_too_few_are_not_judged():
    halving = Halving(Rungs(factor=3), BOTH)
    assert halving.judge(MadeUp(0.9, 3.0, 1.0).report(0, 1)) is None
    assert halving.judge(MadeUp(0.1, 1.0, 1.0).report(1, 1)) is None
    assert halving.judge(MadeUp(0.1, 1.0, 1.0).report(2, 1)) is not None


def test_an_epoch_without_a_standing_is_not_judged():
    halving = Halving(Rungs(factor=1.5), BOTH)
    for name in range(5):
        halving.judge(MadeUp(0.9, 3.0, 1.0).report(name, 1))
    assert halving.judge(report("9", 2, None)) is None


def test_a_trial_is_judged_once_at_a_rung():
    halving = Halving(Rungs(), BOTH)
    behind = MadeUp(0.1, 1.0, 1.0).report(0, 1)
    for name in (0, 1, 2):
        made = MadeUp(0.1, 1.0, 1.0) if name == 0 else MadeUp(0.9, 3.0, 1.0)
        assert halving.judge(made.report(name, 1)) is None
    assert halving.judge(behind) is None, "it was let go on when it arrived"


@given(seed=st.integers(0, 10_000), share=st.floats(0, 1))
@settings(deadline=None, max_examples=30)
def test_a_restart_decides_as_if_it_had_not_been(seed: int, share: float):
    trials, rungs = made_up(seed), Rungs(factor=2)
    whole = run(trials, rungs)
    cut = int(share * len(whole.reports))
    restarted = Halving(rungs, BOTH, reports=whole.reports[:cut])
    later = {
        (int(told.trial), told.epoch)
        for told in whole.reports[cut:]
        if restarted.judge(told) is not None
    }
    before = {(int(told.trial), told.epoch) for told in whole.reports[:cut]}
    assert later == set(whole.stopped.items()) - before


@pytest.fixture
def restarted(tmp_path):
    """The halving of a run in which these were judged, in this order, before its driver died."""

    def make(*judged: EpochReport) -> Halving:
        (tmp_path / "space.yaml").write_text(SPACE)
        folder = RunFolder.create(tmp_path / "run")
        for told in judged:
            append_record(folder.judged, told)
        return halving_of(load_space(tmp_path / "space.yaml"), folder)

    return make


GOOD, BAD = MadeUp(0.9, 3.0, 1.0), MadeUp(0.1, 1.0, 1.0)


def test_a_report_that_nobody_judged_before_the_driver_died_is_judged(restarted):
    halving = restarted(*(GOOD.report(name, 1) for name in range(4)))
    assert halving.judge(BAD.report(4, 1)) == "behind after epoch 1 of 9"


def test_who_was_let_go_on_before_the_driver_died_goes_on(restarted):
    halving = restarted(BAD.report(0, 1), *(GOOD.report(name, 1) for name in range(1, 5)))
    assert halving.judge(BAD.report(0, 1)) is None
    assert halving.judge(BAD.report(9, 1)) is not None


def test_who_was_told_to_stop_before_the_driver_died_stops(restarted):
    halving = restarted(*(GOOD.report(name, 1) for name in range(4)), BAD.report(4, 1))
    assert halving.judge(BAD.report(4, 1)) == "behind after epoch 1 of 9"


def test_fewer_parameters_are_better():
    halving = Halving(Rungs(), [OBJECTIVES["accuracy"], OBJECTIVES["parameters"]])
    sizes = [
        RungScore(metric=0.9, speedup=2.0, parameters=n, bytes=4 * n) for n in (50, 60, 70, 40, 80)
    ]
    judged = [halving.judge(report(str(n), 1, size)) for n, size in enumerate(sizes)]
    assert [reason is None for reason in judged] == [True, True, False, True, False]


@pytest.mark.parametrize(
    ("first", "factor", "total", "expected"),
    [(1, 3, 9, (1, 3)), (1, 3, 10, (1, 3, 9)), (2, 1.5, 8, (2, 3, 5, 7)), (4, 3, 4, ())],
)
def test_rungs_come_before_the_end(first: int, factor: float, total: int, expected: tuple[int]):
    assert Rungs(first=first, factor=factor).epochs(total) == expected
