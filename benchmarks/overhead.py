"""What a search costs beside training and scoring.

    python -m benchmarks.overhead trials [--trials 1000] [--sampler random]
    python -m benchmarks.overhead share search_spaces/digits.yaml [--trials 20]

From the repository's folder. `trials` runs a search whose trials do nothing, and prints what each
of each hundred took; what the sampler took to propose stands apart. `share` runs a real search and
prints how much of its workers' time went into training and scoring; where the baseline has the
cores of all of them, its time counts for all.
"""

from __future__ import annotations

import argparse
import functools
import os
import tempfile
import time
import zlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import ray
import yaml
from torch import nn

from trp_search.records import EpochReport, Point, TestScore, TrialResult, TrialSpec, scores
from trp_search.runs import networks, trial
from trp_search.scoring.candidate import CompressedNetwork, Cost, Scored
from trp_search.scoring.points import PointFactory
from trp_search.search.events import Event, Finished
from trp_search.search.proposer import Proposer
from trp_search.search.start import new_search
from trp_search.space import SearchSpace, load_space
from trp_search.store import RunFolder, TrialFolder, write_whole
from trp_search.tasks.task import Evaluation

WORKERS = 2
WINDOW = 100
_SPACE = {
    "workload": {"network": "resnet20", "data": {"name": "digits", "validation": 0.25}},
    "training": {"epochs": 1, "learning_rate": 0.1},
    "space": {
        "scheme": ["channel", "spatial"],
        "energy": {"low": 0.8, "high": 0.99},
        "nuclear_weight": {"low": 1e-6, "high": 1e-3, "log": True},
        "training": {"learning_rate": {"low": 0.01, "high": 0.3, "log": True}},
    },
    "concurrency": WORKERS,
}
_DENSE = Cost(macs=1_000_000, parameters=100_000, bytes=400_000)
_IMAGES = 1000


def megabytes() -> float:
    """What this process holds in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def do_nothing() -> None:
    """In a worker: trials end at once, with as many points as real ones have."""
    trial._attempt = _invented
    networks.score_test = _untested


def _invented(
    spec: TrialSpec, folder: RunFolder, place: TrialFolder
) -> Generator[EpochReport, None, TrialResult]:
    del folder
    draws = np.random.default_rng(zlib.crc32(spec.name.encode()))
    origin = PointFactory(spec=spec, dense=_DENSE, seconds=0.0, predict=lambda _: None)
    points = [origin.point(_scored(draws, 1.0), None)] if spec.score_uncut else []
    points += [
        origin.point(_scored(draws, draws.uniform(1.0, 8.0)), cut)
        for cut in (*spec.cuts, *spec.screening)
    ]
    write_whole(place.path / "megabytes", str(megabytes()))
    yield from ()
    return TrialResult(trial=spec.name, points=tuple(points))


def _scored(draws: np.random.Generator, speedup: float) -> Scored:
    correct = int(draws.uniform(0.8, 0.9) * _IMAGES - 20 * speedup)
    cost = Cost(
        macs=int(_DENSE.macs / speedup),
        parameters=int(_DENSE.parameters / speedup),
        bytes=int(_DENSE.bytes / speedup),
    )
    return Scored(
        made=CompressedNetwork(
            network=nn.Identity(), layers=(), cost=cost, batch_norm="none in the network"
        ),
        validation=Evaluation(loss=1.0, score=scores.share(correct, _IMAGES)),
    )


def _untested(folder: RunFolder, point: Point) -> TestScore:
    del folder
    return TestScore(point=point.id, score=scores.share(1, 2))


def keep_time() -> None:
    """In a worker: writes down how long each trial was at work, and each scoring on test."""
    trial.run = _timed(trial.run)
    networks.score_test = _scoring(networks.score_test)


def _scoring(score: Callable[..., TestScore]) -> Callable[..., TestScore]:
    @functools.wraps(score)
    def timed(folder: RunFolder, point: Point) -> TestScore:
        began = time.perf_counter()
        found = score(folder, point)
        write_whole(folder.path / f"scoring-{point.id}", str(time.perf_counter() - began))
        return found

    return timed


def _timed(run: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(run)
    def timed(spec: TrialSpec, folder: RunFolder) -> Iterator[EpochReport | TrialResult]:
        items, busy = run(spec, folder), 0.0
        while True:
            began = time.perf_counter()
            item = next(items)
            busy += time.perf_counter() - began
            write_whole(folder.trial(spec.name).path / "busy", f"{time.time()} {busy}")
            yield item

    return timed


def start_ray(hook: str) -> None:
    """Ray with workers that call `hook` of this module first."""
    ray.init(
        address="local",
        num_cpus=WORKERS,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="CRITICAL",
        runtime_env={
            "worker_process_setup_hook": f"benchmarks.overhead.{hook}",
            "env_vars": {"PYTHONPATH": str(Path.cwd())},
        },
    )


def trials(number: int, sampler: str) -> pd.DataFrame:
    """One row for each hundred trials: milliseconds for one of them, and memory at the end."""
    asking = 0.0
    original = Proposer.next
    rows: list[tuple[float, float, float, float]] = []

    def next_(proposer: Proposer) -> TrialSpec | None:
        nonlocal asking
        began = time.perf_counter()
        try:
            return original(proposer)
        finally:
            asking += time.perf_counter() - began

    def watch(event: Event) -> None:
        if isinstance(event, Finished):
            rows.append((time.perf_counter(), time.process_time(), asking, megabytes()))

    Proposer.next = next_  # type: ignore[method-assign, assignment]
    start_ray("do_nothing")
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "space.yaml"
        write_whole(path, yaml.safe_dump(_SPACE | {"trials": number, "sampler": sampler}))
        folder = new_search(path, Path(place) / "run", on_event=watch)
        names = [name for name in folder.trial_names() if name != "baseline"]
        worker = [float((folder.trial(n).path / "megabytes").read_text()) for n in names]
    marks = np.array(rows)[::WINDOW]
    steps = np.diff(marks, axis=0)
    return pd.DataFrame(
        {
            "trials": np.arange(1, len(marks)) * WINDOW,
            "ms": 1e3 * (steps[:, 0] - steps[:, 2]) / WINDOW,
            "proposing ms": 1e3 * steps[:, 2] / WINDOW,
            "driver CPU ms": 1e3 * steps[:, 1] / WINDOW,
            "driver MB": marks[1:, 3],
            "worker MB": worker[WINDOW - 1 :: WINDOW],
        }
    )


def share(space: SearchSpace) -> pd.Series:
    """Seconds of a search, and which share of its workers' time was training or scoring."""
    began = time.time()
    start_ray("keep_time")
    ready = time.time()
    with tempfile.TemporaryDirectory() as place:
        folder = new_search(space, Path(place) / "run", concurrency=WORKERS)
        ended = time.time()
        read = {
            name: tuple(map(float, (folder.trial(name).path / "busy").read_text().split()))
            for name in folder.trial_names()
        }
        cores = folder.trial("baseline").read_spec().threads
        scoring = sum(float(kept.read_text()) for kept in folder.path.glob("scoring-*"))
    plain_ended, plain_busy = read.pop("baseline")
    busy = sum(seconds for _, seconds in read.values())
    trained = max(at for at, _ in read.values())
    return pd.Series(
        {
            "Ray's start, s": ready - began,
            "first worker and the baseline, s": plain_ended - ready,
            "the baseline's own, s": plain_busy,
            "trials, s": trained - plain_ended,
            "test scores and page, s": ended - trained,
            "share of trials' time": busy / (WORKERS * (trained - plain_ended)),
            "share of all": (busy + cores * plain_busy + scoring) / (WORKERS * (ended - began)),
        }
    )


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("trials")
    one.add_argument("--trials", type=int, default=1000)
    one.add_argument("--sampler", default="random")
    two = commands.add_parser("share")
    two.add_argument("space", type=Path)
    two.add_argument("--trials", type=int)
    given = parser.parse_args()
    if given.command == "trials":
        print(trials(given.trials, given.sampler).round(1).to_string(index=False))
    else:
        space = load_space(given.space)
        wanted = given.trials or space.trials
        print(share(space.model_copy(update={"trials": wanted})).round(3).to_string())


if __name__ == "__main__":
    main()
