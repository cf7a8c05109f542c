"""ResNet-20 on CIFAR-10 (JPEG): each way of making it smaller at 2x, 3x, 4x and 5x.

    python -m benchmarks.resnet20 run OUT [--seeds 0] [--only TRP,plain] [--minutes 90]
    python -m benchmarks.resnet20 show OUT

From the repository's folder, which needs CIFAR-10 as images under `data/cifar10-images`. 45,000
images train, 5,000 validate and choose between learning rates, 10,000 test. The baseline trains
for 60 epochs; every arm starts from it, learns from its answers, and sees as many images for each
network that it hands over: 8 epochs, a joint loss charged for each of its passes.

Kill `run` whenever you like. What runs goes on from its checkpoint under OUT, what has a row in the
tables of OUT or of `results/resnet20` is not run again, and where OUT has no baseline, it is that
of `results/resnet20`. Rows are written as trainings end; `show` brings rows and weights of
baselines into `results/resnet20` and prints the table.

On a GPU: `--device cuda --seeds 0,1,2 --at-once 8 --minutes 9`, again until nothing is left; the
paper's own table, from scratch: `python -m benchmarks.paper_cifar10 run OUT`.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path

import pandas as pd

from benchmarks.resnet20_arms import Job, chosen, jobs
from trp_search.records import BASELINE, EpochReport, Point, TrialResult, TrialSpec
from trp_search.runs import networks, trial
from trp_search.store import RunFolder, exclusive, write_whole

TABLE, RESULTS = "resnet20.csv", Path("results/resnet20")
SPENT = "processor.txt"  # of a trial
KEY = ["seed", "arm", "budget", "rate"]
COLUMNS = [*KEY, "validation", "test", "speedup", "parameters"]
COLUMNS += ["images", "seconds", "processor_seconds", "commit"]
Row = dict[str, object]
Item = EpochReport | TrialResult


@dataclass(frozen=True)
class Place:
    """Where runs and rows are kept while they are made."""

    path: Path

    def run(self, seed: int) -> RunFolder:
        """The seed's run, with the baseline of `results` if it has none of its own."""
        folder = RunFolder(path=(self.path / f"seed-{seed}").resolve())
        if not folder.path.exists():
            RunFolder.create(folder.path)
        own, given = folder.trial(BASELINE).weights, weights(seed)
        if given.exists() and not folder.trial(BASELINE).path.exists():
            own.parent.mkdir(parents=True)
            shutil.copyfile(given, own)
        return folder

    def rows(self) -> pd.DataFrame:
        """All rows, here and in `results`; these have the last word."""
        found = [_read(p) for p in (RESULTS / TABLE, self.path / TABLE) if p.exists()]
        every = pd.concat([pd.DataFrame(columns=COLUMNS), *found]) if found else _EMPTY
        return every.drop_duplicates(KEY, keep="last").reset_index(drop=True)

    def add(self, found: list[Row]) -> None:
        """Adds rows to those here; several programs may."""
        with exclusive(self.path / ".lock", wait_seconds=60, holder="rows are being written"):
            path = self.path / TABLE
            before = [_read(path)] if path.exists() else []
            table = pd.concat([*before, pd.DataFrame(found, columns=COLUMNS)])
            write_whole(path, table.drop_duplicates(KEY, keep="last").to_csv(index=False))


def _read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype={"commit": str})


_EMPTY = pd.DataFrame(columns=COLUMNS)


def weights(seed: int) -> Path:
    """The committed weights of a seed's baseline."""
    return RESULTS / f"baseline-{seed}.safetensors"


def work(job: Job, folder: RunFolder, deadline: float) -> list[Row] | str:
    """Brings one training on until its end or the deadline: its rows, or why there are none."""
    found = TrialResult(trial=job.spec.name, points=())
    for spec in (job.before, job.spec):
        if spec is not None:
            ended = _trained(spec, folder, deadline)
            if isinstance(ended, str):
                return ended
            found = ended
    return list(_rows(job, found, folder))


def _trained(spec: TrialSpec, folder: RunFolder, deadline: float) -> TrialResult | str:
    """As `work`, of one trial: its result, or why there is none."""
    name, place = spec.name, folder.trial(spec.name)
    parent = parent_process()
    wait = max(600.0, deadline - time.time())  # another job may need the same training first
    with exclusive(place.lock, wait_seconds=wait, holder="another training of it is ending"):
        before = place.read_result()
        if before is not None and not before.ended_well:
            place.result.unlink()  # what failed is tried again
        for item in _timed(trial.run(spec, folder), place.path / SPENT):
            if isinstance(item, TrialResult):
                return item if item.ended_well else f"{name}: {item.ending}: {item.why_not}"
            if time.time() > deadline or (parent is not None and not parent.is_alive()):
                break
    return f"{name}: stopped after {len(place.read_epochs())} epochs; the same command goes on"


def _timed(items: Iterator[Item], path: Path) -> Iterator[Item]:
    """The items; a line in `path` for the processor seconds of each."""
    began = time.process_time()
    for item in items:
        ended = time.process_time()
        with path.open("a") as file:
            file.write(f"{ended - began:.1f}\n")
        yield item
        began = time.process_time()


def _rows(job: Job, result: TrialResult, folder: RunFolder) -> Iterator[Row]:
    points = [point for point in result.points if not point.untuned]
    spent, seconds = _spent(job.spec, folder), folder.trial(job.spec.name).seconds()
    if job.before is not None:
        spent += _spent(job.before, folder) / job.shared
        seconds += folder.trial(job.before.name).seconds() / job.shared
    for budget, point in zip(job.budgets, points, strict=True):
        yield {
            "seed": job.seed,
            "arm": job.arm,
            "budget": budget,
            "rate": job.rate,
            "validation": point.score.value,
            "test": _test(folder, point),
            "speedup": round(point.speedup, 4),
            "parameters": point.parameters,
            "images": job.images,
            "seconds": round(seconds),
            "processor_seconds": round(spent),
            "commit": commit(),
        }


def _spent(spec: TrialSpec, folder: RunFolder) -> float:
    return sum(map(float, (folder.trial(spec.name).path / SPENT).read_text().split()))


def _test(folder: RunFolder, point: Point) -> float:
    return networks.score_test(folder, point).score.value


def commit() -> str:
    """The commit at work, marked when files differ from it."""
    given = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(given, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the command line asks of a run."""

    seeds: list[int]
    only: tuple[str, ...]
    at_once: int
    deadline: float
    device: str


def run(place: Place, asked: Asked) -> None:
    """Runs what is left, a process for each training, until the time is over."""
    running = dict[Future[list[Row] | str], Job]()
    begun = set[tuple[int, str]]()
    with ProcessPoolExecutor(asked.at_once, mp_context=get_context("spawn")) as pool:
        while True:
            for job in _left(place.rows(), asked):
                if len(running) == asked.at_once or time.time() > asked.deadline:
                    break
                if (job.seed, job.spec.name) not in begun:
                    begun.add((job.seed, job.spec.name))
                    folder = place.run(job.seed)
                    running[pool.submit(work, job, folder, asked.deadline)] = job
            if not running:
                return
            for ended in wait(running, return_when=FIRST_COMPLETED).done:
                job, found = running.pop(ended), ended.result()
                if not isinstance(found, str):
                    place.add(found)
                    found = f"{job.spec.name}: " + ", ".join(f"{row['test']:.2%}" for row in found)
                print(f"seed {job.seed}, {found}", flush=True)


def _left(rows: pd.DataFrame, asked: Asked) -> Iterator[Job]:
    ended = set(map(tuple, rows[KEY].astype(object).to_numpy()))
    for job in jobs(rows, asked.seeds, asked.device):
        wanted = job.arm.startswith(asked.only)
        keys = {(job.seed, job.arm, budget, job.rate) for budget in job.budgets}
        if wanted and not keys <= ended:
            yield job


def show(place: Place) -> None:
    """Brings rows and baselines into `results`; prints test accuracies, each arm's at its rate."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    rows = place.rows().sort_values(KEY)
    write_whole(RESULTS / TABLE, rows.to_csv(index=False))
    for seed in rows.loc[rows["arm"] == BASELINE, "seed"]:
        shutil.copyfile(place.run(seed).trial(BASELINE).weights, weights(seed))
    plain = rows[rows["arm"] == BASELINE].set_index("seed")["test"]
    rows["lost"] = 100 * (rows["seed"].map(plain) - rows["test"])
    rows["test"] *= 100
    first = [row.rate != chosen(row.arm, rows) for row in rows.itertuples()]
    own = rows.assign(first=first).sort_values(["first", "rate"], ascending=[True, False])
    own = own.drop_duplicates(["seed", "arm", "budget"])
    print(f"baseline: {', '.join(f'{value:.2%} (seed {seed})' for seed, value in plain.items())}")
    print("\nTest accuracy in per cent, mean of the seeds there are; below, points lost\n")
    for what in ("test", "lost"):
        table = own[own["arm"] != BASELINE].pivot_table(what, "arm", "budget")
        print(table.round(2).to_markdown(), end="\n\n")
    told = own.groupby("arm").agg(
        rates=("rate", _listed),
        seeds=("seed", "nunique"),
        images=("images", "mean"),
        processor_seconds=("processor_seconds", "mean"),
    )
    print("Learning rates, images and processor seconds of one training\n")
    print(told.round().to_markdown())


def _listed(rates: pd.Series[float]) -> str:
    return ", ".join(f"{rate:g}" for rate in sorted(set(rates)))


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run")
    one.add_argument("out", type=Path)
    one.add_argument("--seeds", default="0")
    one.add_argument("--only", default="", help="arms whose names begin so, by commas")
    one.add_argument("--at-once", type=int, default=1)
    one.add_argument("--minutes", type=float, default=1e6)
    one.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    two = commands.add_parser("show")
    two.add_argument("out", type=Path)
    given = parser.parse_args()
    place = Place(given.out)
    if given.command == "show":
        show(place)
        return
    place.path.mkdir(parents=True, exist_ok=True)
    asked = Asked(
        seeds=[int(seed) for seed in given.seeds.split(",")],
        only=tuple(given.only.split(",")),
        at_once=given.at_once,
        deadline=time.time() + 60 * given.minutes,
        device=given.device,
    )
    run(place, asked)


if __name__ == "__main__":
    main()
