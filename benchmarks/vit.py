"""Trains the baseline of a transformer's search with AdamW; searches train with SGD.

    python -m benchmarks.vit search_spaces/cifar10_vit.yaml [--epochs 24] [--seed 0]

From the repository's folder, with timm. Writes the last epoch's weights to the space's
`workload.weights`. No held-out image is trained on, and none decides anything.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from pathlib import Path

import safetensors.torch
import torch
from torch import nn
from torch.nn import functional

from trp_search.space import load_space
from trp_search.tasks import TASKS
from trp_search.tasks.task import threads
from trp_search.workloads import data, networks
from trp_search.workloads.data import Splits

BATCH = 128
RATE, DECAY, WARMUP, SMOOTHING, CLIP = 1e-3, 0.05, 0.05, 0.1, 1.0


def main() -> None:
    """Reads the command line, trains, writes the weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("space", type=Path)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    workload = load_space(given.space).workload
    assert workload.weights is not None, "the space names no file of weights"
    splits = data.load(workload.data, split_seed=0, outside_weights=True, device="cpu")
    torch.manual_seed(given.seed)
    shape = splits.shape
    network = networks.build(workload.network, channels=shape.channels, classes=shape.classes)
    with threads(1):
        for line in trained(network, splits, epochs=given.epochs, seed=given.seed):
            print(line, flush=True)
    path = Path(workload.weights)
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(network.state_dict(), path)


def trained(network: nn.Module, splits: Splits, *, epochs: int, seed: int) -> Iterator[str]:
    """Trains `network` in place; a line per epoch, with the accuracy on validation images."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY, fused=True)
    whole = epochs * (len(splits.train) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _share(step / whole))
    for epoch in range(epochs):
        began, total, steps = time.perf_counter(), 0.0, 0
        network.train()
        for images, labels in splits.train.batches(BATCH, seed=seed, epoch=epoch):
            optimizer.zero_grad(set_to_none=True)
            loss = functional.cross_entropy(network(images), labels, label_smoothing=SMOOTHING)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), CLIP)
            optimizer.step()
            schedule.step()
            total, steps = total + loss.item(), steps + 1
        found = TASKS["classification"].evaluate(network, splits.validation.batches(256))
        seconds = time.perf_counter() - began
        yield (
            f"epoch {epoch + 1}: loss {total / steps:.3f}, "
            f"validation {found.score.value:.4f}, {seconds:.0f} s"
        )


def _share(progress: float) -> float:
    """Of the highest learning rate: linear warmup, then cosine to zero."""
    if progress < WARMUP:
        return progress / WARMUP
    return 0.5 * (1 + math.cos(math.pi * (progress - WARMUP) / (1 - WARMUP)))


if __name__ == "__main__":
    main()
