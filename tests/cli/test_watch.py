"""A running search as it is told, drawn and logged."""

from __future__ import annotations

import dataclasses
import io

import pytest
from rich.console import Console

from trp_search.cli.console import OUT
from trp_search.cli.live import ending, picture, under_way, watching
from trp_search.cli.watch import Watch
from trp_search.records import EpochReport, Progress, TrialResult
from trp_search.records.scores import share
from trp_search.search.events import Epoch, Finished, Ranked, Stage, Started

STEP = Progress(
    what="training",
    done=1,
    total=4,
    unit="images",
    epoch=2,
    epochs=4,
    per_second=None,
    seconds_left=None,
    at=0.0,
)


def report(trial: str, *, epoch: int, epochs: int = 4, seconds: float = 2.0) -> EpochReport:
    return EpochReport(
        trial=trial,
        epoch=epoch,
        epochs=epochs,
        loss=0.5,
        metric=0.9,
        learning_rate=0.1,
        seconds=seconds,
    )


def drawn(watch: Watch, *, now: float) -> list[str]:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(picture(watch, now=now))
    return console.export_text().splitlines()


def started(**counts: int) -> Started:
    return Started(metric="accuracy", objectives=("accuracy", "bytes"), **counts)


@pytest.fixture
def watch() -> Watch:
    watch = Watch(started=100.0)
    watch.start(started(trials=10, done=0, concurrency=2))
    return watch


def finish(watch: Watch, name: str, front, *, done: int, baseline=None):
    result = TrialResult(trial=name, points=tuple(front[-1:]))
    known = {"running": 0, "baseline": baseline, "front": tuple(front), "hypervolume": 0.25}
    watch.finish(Finished(result=result, done=done, **known))


def test_time_left_is_that_of_the_trials_so_far(watch, make_point):
    assert watch.seconds_left(now=110.0) is None
    watch.epoch(report("baseline", epoch=3), now=110.0)
    assert watch.seconds_left(now=120.0) is None
    watch.epoch(report("0", epoch=1), now=122.0)
    # The trial began at 120: a quarter of one of ten took 2 s.
    assert watch.seconds_left(now=122.0) == pytest.approx(2.0 / 0.25 * 9.75)
    finish(watch, "0", [make_point("0", correct=190, speedup=2.0)], done=1)
    assert watch.seconds_left(now=128.0) == pytest.approx(8.0 * 9)


def test_trials_of_an_earlier_start_do_not_count_as_made_now():
    watch = Watch(started=0.0)
    watch.start(started(trials=10, done=8, concurrency=1))
    watch.epoch(report("8", epoch=2), now=2.0)
    assert watch.seconds_left(now=4.0) == pytest.approx(4.0 / 0.5 * 1.5)


def test_nothing_is_left_when_all_is_done(watch, make_point):
    watch.epoch(report("0", epoch=4), now=104.0)
    finish(watch, "0", [make_point("0", correct=190, speedup=2.0)], done=10)
    assert watch.seconds_left(now=110.0) is None


def test_the_picture_fits_eighty_columns_and_shows_where_the_search_is(watch, make_point):
    plain = make_point("baseline", correct=199, speedup=1.0, role="baseline", scheme=None)
    front = [make_point(str(n), correct=195 - n, speedup=1.5 + n) for n in range(12)]
    finish(watch, "11", front, done=8, baseline=plain)
    watch.epoch(report("12", epoch=1, epochs=164), now=140.0)
    watch.epoch(report("13", epoch=164, epochs=164), now=140.0)
    lines = drawn(watch, now=161.0)
    text = "\n".join(lines)
    assert all(len(line) <= 80 for line in lines)
    assert "searching   1:01 so far, about " in text
    assert "8 of 10 trials, 2 running" in text
    assert "Front so far: 12 points, 8 of them shown   hypervolume 0.25" in text
    assert "baseline    1.00\N{MULTIPLICATION SIGN}" in text
    assert " 12.50\N{MULTIPLICATION SIGN}" in text
    assert "epoch 1 of 164" in text


def test_the_picture_before_anything_ran_says_so():
    watch = Watch(started=0.0)
    assert drawn(watch, now=3.0)[0].startswith("starting   0:03 so far")


def test_endings_tell_score_failure_or_divergence(watch, make_point):
    point = make_point("3", correct=190, speedup=2.0)
    plain = make_point("baseline", correct=194, speedup=1.0, role="baseline", scheme=None)
    assert (
        ending(watch, TrialResult(trial="3", points=(point,)))
        == "trial 3: 95.0 % at 2.00\N{MULTIPLICATION SIGN}"
    )
    untuned = dataclasses.replace(point, id="3-untuned", score=share(20, 200))
    tuned = dataclasses.replace(point, id="3", score=share(150, 200))
    assert "75.0 %" in ending(watch, TrialResult(trial="3", points=(untuned, tuned)))
    assert ending(watch, TrialResult(trial="baseline", points=(plain,))).startswith(
        "baseline: 97.0 %"
    )
    assert ending(watch, TrialResult(trial="3", points=(), failed="no")) == "trial 3 failed: no"
    assert ending(watch, TrialResult(trial="3", points=(), diverged="so")) == "trial 3 diverged: so"
    assert ending(watch, TrialResult(trial="3", points=(), stopped="so")) == "trial 3 stopped: so"


def test_where_there_is_no_terminal_every_ending_is_a_line(make_point, capsys):
    point = make_point("0", correct=190, speedup=2.0)
    with watching() as tell:
        tell(Stage(text="training the baseline"))
        tell(started(trials=3, done=0, concurrency=2))
        tell(Epoch(report=report("0", epoch=1)))
        for result in (
            TrialResult(trial="0", points=(point,)),
            TrialResult(trial="1", points=(), failed="RuntimeError: no"),
        ):
            tell(
                Finished(
                    result=result,
                    done=1,
                    running=1,
                    baseline=None,
                    front=(point,),
                    hypervolume=0.1,
                )
            )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("training the baseline")
    assert lines[1].endswith("3 trials, 2 at a time")
    assert "trial 0: 95.0 % at 2.00" in lines[2]
    assert "(1 of 3 done, 1 on the front, hypervolume 0.1" in lines[2]
    assert lines[3] == "trial 1 failed: RuntimeError: no"
    assert len(lines) == 4


def test_batches_of_ranks_are_told_by_the_trial_whose_ranks_they_are(watch, make_point):
    ranked = Ranked(trial="7r1", done=0, total=8, result=None, front=(), hypervolume=None)
    watch.rank(ranked, now=104.0)
    watch.within = {"ranks-7r1-0a-tuned": STEP}
    assert under_way(watch).startswith("ranks of trial 7r1: training")
    failed = TrialResult(trial="ranks-7r1-0a-tuned", points=(), failed="no")
    assert ending(watch, failed) == "ranks of trial 7r1 failed: no"


def test_a_step_that_is_over_is_not_told_as_under_way(watch):
    watch.epoch(report("0", epoch=1), now=101.0)
    watch.epoch(report("1", epoch=1), now=101.0)
    watch.within = {"0": STEP, "1": dataclasses.replace(STEP, done=4)}
    assert under_way(watch) == "trial 0: training, epoch 2 of 4: 25 %"
    watch.within = {"1": watch.within["1"]}
    assert not under_way(watch)


def test_the_bar_of_an_epoch_that_was_reported_tells_its_score(watch):
    watch.within = {"0": STEP}
    assert any("epoch 2 of 4  25 %" in row for row in drawn(watch, now=102.0))
    watch.epoch(report("0", epoch=2), now=103.0)
    (row,) = (row for row in drawn(watch, now=103.0) if row.startswith("trial 0"))
    assert "epoch 2 of 4  90.0 % validation" in row
    watch.within = {"0": dataclasses.replace(STEP, what="scoring", epoch=None, epochs=None)}
    assert any("scoring" in row for row in drawn(watch, now=104.0))


def test_a_terminal_that_cannot_be_redrawn_gets_lines(monkeypatch, capsys):
    monkeypatch.setattr(OUT, "_force_terminal", True)
    monkeypatch.setattr(OUT, "_environ", {"TERM": "dumb"})
    assert OUT.is_terminal
    assert OUT.is_dumb_terminal
    with watching() as tell:
        tell(started(trials=3, done=0, concurrency=1))
    assert capsys.readouterr().out.endswith("3 trials, 1 at a time\n")


def test_a_search_that_goes_on_says_how_many_trials_were_done_earlier(capsys):
    with watching() as tell:
        tell(started(trials=3, done=2, concurrency=1))
    assert capsys.readouterr().out.endswith("3 trials, 2 of them done earlier, 1 at a time\n")
