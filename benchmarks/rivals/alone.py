"""A rival at work, in its own environment: a process that the benchmark starts.

PYTHON -m benchmarks.rivals.alone RIVAL SETTING BUDGET EPOCHS SEED WEIGHTS PLACE
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path

import torch

from benchmarks.rivals import handed
from benchmarks.rivals.given import EXAMPLE, Given, resnet20

TOLD = "told.json"


def work(rival: str, given: Given, place: Path) -> None:
    """Has the rival make a network; writes it, and what it cost, into `place`."""
    torch.manual_seed(given.seed)
    made = importlib.import_module(f"benchmarks.rivals.{rival}")
    assert len(given.splits.train)  # images are read before the clock runs
    began, spent = time.time(), time.process_time()
    network = made.cut(given)
    told = {
        "seconds": round(time.time() - began, 1),
        "processor_seconds": round(time.process_time() - spent, 1),
    }
    handed.write(network, resnet20(given.weights), EXAMPLE, place)
    (place / TOLD).write_text(json.dumps(told))


def main() -> None:
    """Reads the command line."""
    rival, setting, budget, epochs, seed, weights, place = sys.argv[1:]
    folder = Path(place)
    given = Given(
        weights=Path(weights),
        setting=setting,
        budget=float(budget),
        epochs=int(epochs),
        seed=int(seed),
        folder=folder.parents[1],
    )
    work(rival, given, folder)


if __name__ == "__main__":
    main()
