"""How many training steps a second a device gives when several trainings share it.

    python -m benchmarks.throughput [--at-once 1,2,4,8] [--seconds 10] [--rounds 3]

From the repository's folder. ResNet-20 at 32 pixels, batch 128, random images. Three loops: plain
PyTorch on one batch that stays on the device (the floor: no images read, no validation, nothing
kept), this project's training, and the same with Trained Rank Pruning. Each training is a process
of its own, as in a search; on a CPU it has one thread. All are measured in turn in every round;
the median of one training, times how many there are, is printed. `--variants` names what a device
can do: float32, channels_last, bfloat16.
"""

from __future__ import annotations

import argparse
import dataclasses
import queue
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, multiprocessing, nn
from torch.nn import functional

from trp_search.records import DataSpec, Energy, NetworkSpec, Pruning, Training
from trp_search.tasks import TASKS
from trp_search.tasks.task import threads
from trp_search.training.hook import Hook
from trp_search.training.loop import Job, train
from trp_search.training.regulariser import TrainedRankPruning
from trp_search.workloads import data, networks

TASK = TASKS["classification"]

BATCH = 128
STEPS = {"cpu": 5, "cuda": 350}  # of one epoch: CIFAR-10 has 350; a CPU would not end one
TRAINING = Training(epochs=10**6, batch_size=BATCH, learning_rate=0.1)
PRUNING = Pruning(
    scheme="spatial", keep=Energy(0.95), period=20, nuclear_weight=1.5e-5, layers="kxk"
)
_PATIENCE = 300.0  # seconds for all to be ready; one that died would be waited for for ever
LOOPS = ("plain loop", "training", "training with TRP")
VARIANTS: dict[str, dict[str, Any]] = {
    "float32": {},
    "channels_last": {"channels_last": True},
    "bfloat16": {"channels_last": True, "precision": "bfloat16"},
}


def images(*, training: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Random images: `training` to train on, 100 for validation, 100 held out."""
    draws = torch.Generator().manual_seed(0)
    parts = [
        (
            torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=draws),
            torch.arange(count) % 10,
        )
        for count in (training + 100, 100)
    ]
    return parts[0], parts[1]


def steps(loop: str, settings: Training, device: str) -> Iterator[int]:
    """How many steps were made since the last word; it never ends."""
    network = networks.build(NetworkSpec(name="resnet20"), channels=3, classes=10).to(device)
    if loop == LOOPS[0]:
        yield from _plain(network, settings, device)
    with tempfile.TemporaryDirectory() as place:
        count = STEPS[device] * BATCH
        spec = DataSpec(
            name="benchmarks.throughput:images",
            classes=10,
            validation=100 / (count + 100),
            options={"training": count},
        )
        splits = data.load(spec, split_seed=0, outside_weights=False, device=device)
        job = Job(
            name="0",
            task=TASK,
            train=splits.train,
            validation=splits.validation,
            training=settings,
            teacher=None,
            checkpoint=Path(place) / "checkpoint",
            seed=0,
            device=device,
            hook=_pruned if loop == LOOPS[2] else lambda _: Hook(),
        )
        for _ in train(network, job):
            yield len(splits.train) // BATCH


def _pruned(network: nn.Module) -> Hook:
    image = torch.zeros(1, 3, 32, 32, device=next(network.parameters()).device)
    return TrainedRankPruning(network, image, **vars(PRUNING))


def _plain(network: nn.Module, settings: Training, device: str) -> Iterator[int]:
    layout = torch.channels_last if settings.channels_last else torch.contiguous_format
    network = network.to(memory_format=layout)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    inputs = torch.randn(BATCH, 3, 32, 32, device=device).contiguous(memory_format=layout)
    labels = torch.arange(BATCH, device=device) % 10
    network.train()
    while True:
        for _ in range(10):
            optimizer.zero_grad(set_to_none=True)
            half = settings.precision == "bfloat16"
            with torch.autocast(device, dtype=torch.bfloat16, enabled=half):
                loss = functional.cross_entropy(network(inputs), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()
        yield 10


def _work(
    rank: int,
    trainings: Sequence[tuple[str, Training, str]],
    plan: tuple[Sequence[int], float],
    meeting: Any,  # noqa: ANN401  multiprocessing's own types are private
    found: Any,  # noqa: ANN401
) -> None:
    """One process of several: in every phase the first `at_once` of them train for `seconds`."""
    numbers, seconds = plan
    with threads(1):
        for training in trainings:
            going = steps(*training)
            next(going)
            for at_once in numbers:
                meeting.wait(timeout=_PATIENCE)
                began, made = time.perf_counter(), 0
                while rank < at_once and time.perf_counter() - began < seconds:
                    made += next(going)
                if rank < at_once:
                    found.put((training[0], at_once, made / (time.perf_counter() - began)))
                meeting.wait(timeout=_PATIENCE)


def rates(
    settings: Training, device: str, *, numbers: Sequence[int], seconds: float, rounds: int
) -> list[tuple[str, int, float]]:
    """Loop, how many at once, and steps per second of one of them; so many rows each."""
    context = multiprocessing.get_context("spawn")
    together = max(numbers)
    meeting, found = context.Barrier(together), context.Queue()
    trainings = [(loop, settings, device) for loop in LOOPS] * rounds
    given = (trainings, (numbers, seconds), meeting, found)
    workers = [context.Process(target=_work, args=(rank, *given)) for rank in range(together)]
    for worker in workers:
        worker.start()
    rows = []
    for _ in range(len(trainings) * sum(numbers)):
        while True:
            try:
                rows.append(found.get(timeout=5))
                break
            except queue.Empty:
                if any(worker.exitcode for worker in workers):
                    raise SystemExit("a training died; what it said is above") from None
    for worker in workers:
        worker.join()
    return rows


def main() -> None:
    """Reads the command line, measures, prints one table for each variant."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--at-once", default="1,2,4,8")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--variants", default="float32,channels_last")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = parser.parse_args()
    numbers = sorted({1, *(int(number) for number in given.at_once.split(","))})
    for variant in given.variants.split(","):
        settings = dataclasses.replace(TRAINING, **VARIANTS[variant])
        rows = rates(
            settings, given.device, numbers=numbers, seconds=given.seconds, rounds=given.rounds
        )
        table = pd.DataFrame(rows, columns=["loop", "at once", "rate"])
        middle = table.groupby(["loop", "at once"])["rate"].median().unstack()
        wide = middle * middle.columns
        print(f"\n{given.device}, {variant}: steps per second of all trainings together")
        print(wide.loc[list(LOOPS)].round(2).to_string())
        print("\nfor each step of one plain loop alone")
        print((wide.loc[list(LOOPS)] / wide.loc[LOOPS[0], 1]).round(2).to_string())


if __name__ == "__main__":
    main()
