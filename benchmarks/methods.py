"""Which way of making a network smaller is best at a budget, at equal epochs.

    python -m benchmarks.methods run OUT [--seeds 0,1,2] [--at-once 2] [--only PATTERN]
    python -m benchmarks.methods show OUT TABLE

From the repository's folder, which needs CIFAR-10 as images under `data/cifar10-images`. The
network of `benchmarks/front.py`, 8 layers, is trained plainly for 10 epochs. From it every method
has 8 epochs for each network it hands over: of training, of fine-tuning after the cut, or half of
each; a joint loss is charged for both of its passes. An elastic training hands over all budgets: it
has 8 epochs in all, or as many as the others have together. `plain` is trained on plainly for 8
epochs and then cut. Who is taught learns half from the baseline's answers; these try two rates.
Where a method has a setting of its own, two values are tried. Points are chosen on validation; test
accuracies are shown, with no further choosing. Seconds are those of all trainings behind an arm, of
one thread. Everything is kept under OUT, and what has ended is not run again. `show` leaves rows of
the table as they are whose arm is not in OUT.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import yaml

from benchmarks.front import BASE, append
from benchmarks.front_rows import BUDGETS, Found, chosen
from benchmarks.methods_arms import ALL_AT_ONCE, SVD, TAUGHT, specs
from trp_search import report
from trp_search.records import Point, TrialResult, TrialSpec
from trp_search.report.styles import style_of
from trp_search.runs import networks, trial
from trp_search.runs.environment import write_environment
from trp_search.selection.pareto import best_at
from trp_search.space import SearchSpace, load_space
from trp_search.store import RunFolder, exclusive, write_whole

PLAIN = "baseline"
TABLE = "methods.csv"
MEASURES = [*(f"{budget:g}x" for budget in BUDGETS), "uniform 2x", "hypervolume"]


def space_of(seed: int, place: Path) -> SearchSpace:
    """The workload and the recipe, by way of a file as a user's would be."""
    raw = {key: BASE[key] for key in ("workload", "training")} | {"seed": seed}
    raw["space"] = {
        "method": ["trp", "nuclear", "plain", "decomposable", "tucker", "elastic"],
        "scheme": list(SVD),
        "nuclear_weight": 5e-5,
        "speedup": {"low": min(BUDGETS), "high": max(BUDGETS)},
        "layers": "all",
    }
    path = place / f"space-{seed}.yaml"
    write_whole(path, yaml.safe_dump(raw))
    return load_space(path)


def work(spec: TrialSpec, folder: RunFolder) -> str:
    """Brings one trial to its end, its points kept and scored on test."""
    *_, result = trial.run(spec, folder)
    assert isinstance(result, TrialResult)
    if not result.ended_well:
        return f"{spec.name}: {result.ending}: {result.why_not}"
    with exclusive(folder.path / ".points.lock", wait_seconds=60, holder="points are being kept"):
        folder.add_points(result.points)
    for point in result.points:
        networks.score_test(folder, point)
    return f"{spec.name}: done"


def run(out: Path, seeds: list[int], *, at_once: int, only: str) -> None:
    """Runs what is left and called as `only`, a process for each of `at_once` workers."""
    with ProcessPoolExecutor(at_once, mp_context=get_context("spawn")) as pool:
        for seed in seeds:
            space = space_of(seed, out)
            folder = RunFolder(path=(out / f"seed-{seed}").resolve())
            if not folder.search.exists():
                RunFolder.create(folder.path)
                write_environment(folder, seed=seed)
                write_whole(folder.search, space.dump())
            plain = dataclasses.replace(space.baseline_spec(), cuts=(), screening=())
            print(pool.submit(work, plain, folder).result(), flush=True)
            left: list[Future[str]] = [
                pool.submit(work, spec, folder)
                for spec in specs(space)
                if re.search(only, spec.name)
            ]
            for ended in as_completed(left):
                print(f"seed {seed}, {ended.result()}", flush=True)
            report.write(folder)


def rows(folder: RunFolder, seed: int) -> Iterator[dict[str, object]]:
    """For each method what validation chooses at each budget, and its accuracy on test."""
    tests = {name: score.score.value for name, score in folder.read_tests().items()}
    points = {point.id: point for point in folder.read_points()}
    plain, groups = points.pop(PLAIN), defaultdict[str, list[Point]](list)
    for point in points.values():
        if point.id in tests and (label := _label(point)) is not None:
            groups[label].append(point)
    for label, group in sorted(groups.items()):
        even = [p for p in group if p.cut is not None and p.cut.allocation == "uniform"]
        own = [p for p in group if p not in even]
        found = [
            Found(accuracy=p.score.value, speedup=p.speedup, test=lambda p=p: tests[p.id])
            for p in own
        ]
        best = best_at(even, speedup=1.99)
        yield {
            "arm": label,
            "seed": seed,
            "plain": tests[plain.id],
            "uniform 2x": best and tests[best.id],
            "seconds": round(_seconds(folder, own)),
        } | chosen(found, tests[plain.id])


def _label(point: Point) -> str | None:
    """The arm that a point belongs to; None for a cut before its fine-tuning."""
    if point.untuned:
        return None
    name, cut = style_of(point).label, point.cut
    assert cut is not None, point.id
    marks = (
        (", greedy ranks", cut.allocation == "greedy"),
        (", by activations", bool(cut.calibration_images) and cut.reconstruct == "none"),
        (f", {point.settings.get('scheme')}", point.scheme == "nested"),
        (", taught", TAUGHT in point.trial),
        (", all epochs", ALL_AT_ONCE in point.trial),
    )
    name += "".join(mark for mark, there in marks if there)
    if point.trial.endswith("-early"):
        name = name.replace("fine-tuned", "three quarters fine-tuning")
    if point.trial.startswith("aimed"):
        return name.replace("TRP", "TRP towards the budget")
    return name


def _seconds(folder: RunFolder, points: list[Point]) -> float:
    """Of training and fine-tuning, in all trials behind the points."""
    results = [folder.trial(name).read_result() for name in {point.trial for point in points}]
    return sum(result.seconds for result in results if result is not None)


def show(out: Path, table: Path) -> None:
    """Writes the rows of what is there, prints all means; copies the page if it has all arms."""
    folders = {int(path.name[5:]): RunFolder.open(path) for path in sorted(out.glob("seed-*"))}
    table.mkdir(parents=True, exist_ok=True)
    made = [row for seed, folder in folders.items() for row in rows(folder, seed)]
    arms = {row["arm"] for row in made}
    path = table / TABLE
    if path.exists():
        before = pd.read_csv(path)
        left = before[~before["arm"].isin(arms)].to_dict("records")
        made = [{str(name): value for name, value in row.items()} for row in left] + made
    path.unlink(missing_ok=True)
    append(path, made)
    found = pd.read_csv(path)
    percent = [measure for measure in MEASURES if measure != "hypervolume"]
    found[percent] *= 100
    groups = found.groupby("arm")[MEASURES]
    middle, spread = groups.mean(), groups.std()
    shown = middle.round(1).astype(str) + " (" + spread.round(1).astype(str) + ")"
    shown["hypervolume"] = middle["hypervolume"].round(4).astype(str)
    shown["seconds"] = found.groupby("arm")["seconds"].mean().round().astype(int)
    shown["seeds"] = found.groupby("arm")["seed"].nunique()
    print(shown.sort_values("2x", ascending=False).to_markdown())
    if len(arms) == found["arm"].nunique():
        first = next(iter(folders.values()))
        shutil.copyfile(report.write(first), table / "index.html")


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run")
    one.add_argument("out", type=Path)
    one.add_argument("--seeds", default="0,1,2")
    one.add_argument("--at-once", type=int, default=2)
    one.add_argument("--only", default="")
    two = commands.add_parser("show")
    two.add_argument("out", type=Path)
    two.add_argument("table", type=Path)
    given = parser.parse_args()
    if given.command == "show":
        show(given.out, given.table)
        return
    given.out.mkdir(parents=True, exist_ok=True)
    seeds = [int(seed) for seed in given.seeds.split(",")]
    run(given.out, seeds, at_once=given.at_once, only=given.only)


if __name__ == "__main__":
    main()
