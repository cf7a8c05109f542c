"""The TRP paper's table: ResNet-20 on CIFAR-10, trained, cut, and not fine-tuned.

    python -m benchmarks.paper_cifar10 run OUT [--data cifar10 --root FOLDER] [--minutes 9]
    python -m benchmarks.paper_cifar10 show OUT

From the repository's folder; takes CIFAR-10 as images under `data/cifar10-images`, or as it is
published: JPEG images are not what the paper's numbers were measured on. By the paper's recipe
(164 epochs, batch 128, 0.1 divided by 10 at 82 and 122, weight decay 1e-4, nuclear weight 3e-4):
the baseline and its cuts, and Trained Rank Pruning with each scheme, with and without the
nuclear term. Then this project's own: from the baseline, short trainings towards 2x, 3x and
4x that also learn from its answers. Several trainings run side by side, each in a process of its
own; `run` ends after `--minutes` and goes on where it stopped when it is called again.

5,000 of the 50,000 training images are set aside. What is chosen is chosen on them; every row's
test accuracy is printed and nothing is chosen by it. Unlike the paper's, networks are scored with
batch norm estimated again after the cut, and on CUDA they train in bfloat16.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import torch

from trp_search.records import (
    Cut,
    DataSpec,
    Distillation,
    Energy,
    NetworkSpec,
    Pruning,
    Scheme,
    Speedup,
    Training,
    TrialResult,
    TrialSpec,
    Workload,
    published,
)
from trp_search.runs import networks, trial
from trp_search.selection.pareto import best_at
from trp_search.store import RunFolder, exclusive

PLAIN = "baseline"
BUDGETS = (2.0, 3.0, 4.0)
ENERGIES = (0.98, 0.95, 0.9)
TRAINED_AT = (0.93, 0.9, 0.95, 0.98)  # 2x to 3x first; 0.98 settles at 1.6x
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
ALSO = "HALOC (AAAI 2023, abstract): +0.07 points at 3.60x, its baseline not given"


def specs(data: DataSpec, *, epochs: int, device: str, seed: int) -> dict[str, TrialSpec]:
    """Every training of the table by its name, the baseline first."""
    paper = Training(
        epochs=epochs,
        schedule="step",
        milestones=(82 / 164, 122 / 164),
        nesterov=False,
        channels_last=True,
        precision="bfloat16" if device == "cuda" else "float32",
        compile=device == "cuda",
    )
    short = dataclasses.replace(
        paper, epochs=max(1, epochs // 4), schedule="cosine", learning_rate=0.02
    )
    common: dict[str, Any] = {
        "workload": Workload(network=NetworkSpec(name="resnet20"), data=data),
        "seed": seed,
        "device": device,
    }
    found = [
        TrialSpec(
            kind="baseline",
            name=PLAIN,
            start="scratch",
            training=paper,
            pruning=None,
            cuts=tuple(
                Cut(scheme=s, keep=Energy(e), layers="kxk") for s in SCHEMES for e in ENERGIES
            ),
            screening=tuple(_budget(speedup) for speedup in BUDGETS),
            score_uncut=True,
            **common,
        )
    ]
    for scheme in SCHEMES:
        for energy in TRAINED_AT:
            for nuclear in (3e-4, 0.0):
                pruning = Pruning(
                    scheme=scheme, keep=Energy(energy), nuclear_weight=nuclear / 20, layers="kxk"
                )
                found.append(
                    TrialSpec(
                        kind="search",
                        name=f"trp-{scheme}-{energy:g}{'-nuclear' if nuclear else ''}",
                        start="scratch",
                        training=paper,
                        pruning=pruning,
                        cuts=(Cut(scheme=scheme, keep=Energy(energy), layers="kxk"),),
                        screening=tuple(_budget(speedup) for speedup in BUDGETS),
                        **common,
                    )
                )
        found += [
            TrialSpec(
                kind="search",
                name=f"taught-{speedup:g}x-{scheme}",
                start="baseline",
                training=short,
                pruning=Pruning(scheme=scheme, keep=Speedup(speedup), period=10),
                cuts=(_budget(speedup),),
                distillation=Distillation(),
                **common,
            )
            for speedup in BUDGETS
        ]
    return {spec.name: spec for spec in found}


def _budget(speedup: float) -> Cut:
    return Cut(scheme="per-layer", keep=Speedup(speedup), calibration_images=256)


def work(spec: TrialSpec, folder: RunFolder, deadline: float) -> None:
    """Brings one training on until its end or the deadline; scores what it gave."""
    if time.time() > deadline:
        return
    before = folder.trial(spec.name).read_result()
    if before is not None and not before.ended_well:
        folder.trial(spec.name).result.unlink()  # what failed is tried again
    for item in trial.run(spec, folder):
        if isinstance(item, TrialResult):
            _keep(item, folder)
        elif time.time() > deadline:
            return


def _keep(result: TrialResult, folder: RunFolder) -> None:
    with exclusive(folder.path / ".points.lock", wait_seconds=60, holder="points are being kept"):
        folder.add_points(result.points)
    for point in result.points:
        if point.role != "screened_out":
            networks.score_test(folder, point)


def run(
    folder: RunFolder, wanted: Mapping[str, TrialSpec], *, at_once: int, minutes: float
) -> None:
    """Trains what is left, `at_once` at a time, until the time is over."""
    deadline = time.time() + 60 * minutes
    left, running = list(wanted.values()), dict[Future[None], str]()
    with ProcessPoolExecutor(at_once, mp_context=get_context("spawn")) as pool:
        while left or running:
            plain = _finished(folder, PLAIN)
            ready = [spec for spec in left if plain or spec.start == "scratch"]
            for spec in ready[: at_once - len(running)]:
                left.remove(spec)
                running[pool.submit(work, spec, folder, deadline)] = spec.name
            if not running:
                break
            for ended in wait(running, return_when=FIRST_COMPLETED).done:
                name = running.pop(ended)
                ended.result()
                print(f"{name}: {_progress(folder, name)}", flush=True)


def _finished(folder: RunFolder, name: str) -> bool:
    result = folder.trial(name).read_result()
    if result is None or not result.ended_well:
        return False
    tested = folder.read_tests()
    return all(p.id in tested or p.role == "screened_out" for p in result.points)


def _progress(folder: RunFolder, name: str) -> str:
    result = folder.trial(name).read_result()
    if result is not None:
        return "done" if result.ended_well else f"{result.ending}: {result.why_not}"
    epochs = len(folder.trial(name).read_epochs())
    return f"stopped after epoch {epochs}; the same command goes on"


def show(folder: RunFolder) -> None:
    """The table: every point with its accuracies, and what validation chooses at each budget."""
    tests = folder.read_tests()
    points = [point for point in folder.read_points() if point.id in tests]
    if PLAIN not in tests:
        raise SystemExit("the baseline is not trained yet")
    rows = [
        {
            "network": point.id,
            "speedup": point.speedup,
            "parameters": point.parameters,
            "validation": 100 * point.score.value,
            "test": 100 * tests[point.id].score.value,
            "against baseline": 100 * (tests[point.id].score.value - tests[PLAIN].score.value),
        }
        for point in points
    ]
    print(pd.DataFrame(rows).round(2).to_string(index=False))
    print("\nChosen on validation:")
    for budget in BUDGETS:
        best = best_at(points, speedup=budget)
        if best is not None:
            test = tests[best.id].score.value
            print(f"  {budget:g}x: {best.id}, {best.speedup:.2f}x, {test:.2%} on test")
    print("\nPublished, not measured here; points against the source's own baseline:")
    for row in published.rows("resnet20", "cifar10"):
        assert row.baseline is not None
        lost = 100 * (row.accuracy - row.baseline)
        told = f"{100 * row.accuracy:.2f} % ({lost:+.2f})"
        print(f"  {row.speedup:.2f}x  {told}  {row.method}, {row.afterwards} after; {row.source}")
    print(f"  {ALSO}")


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run")
    one.add_argument("out", type=Path)
    one.add_argument("--data", choices=("images", "cifar10"), default="images")
    one.add_argument("--root", default="data/cifar10-images")
    one.add_argument("--at-once", type=int, default=8)
    one.add_argument("--minutes", type=float, default=9.0)
    one.add_argument("--epochs", type=int, default=164)
    one.add_argument("--subset", type=int)
    one.add_argument("--only", default="", help="trainings whose names begin so, by commas")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    two = commands.add_parser("show")
    two.add_argument("out", type=Path)
    given = parser.parse_args()
    folder = RunFolder(path=given.out.resolve())
    if given.command == "show":
        show(folder)
        return
    if not folder.path.exists():
        RunFolder.create(folder.path)
    size = {"classes": 10, "image_size": 32} if given.data == "images" else {}
    data = DataSpec(name=given.data, root=given.root, subset=given.subset, **size)
    every = specs(data, epochs=given.epochs, device=given.device, seed=given.seed)
    wanted = {
        name: spec
        for name, spec in every.items()
        if (name == PLAIN or name.startswith(tuple(given.only.split(","))))
        and not _finished(folder, name)
    }
    run(folder, wanted, at_once=given.at_once, minutes=given.minutes)


if __name__ == "__main__":
    main()
