"""The training of a network after, or while, it is cut, as in `benchmarks.resnet20`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Optimizer

from benchmarks.resnet20_arms import RATES, WHOLE
from benchmarks.rivals.given import TASK, resnet20
from trp_search.records import Distillation
from trp_search.tasks.distillation import Teacher
from trp_search.training.schedule import learning_rate
from trp_search.workloads.splits import Train

Groups = list[dict[str, Any]]
SETTINGS = dataclasses.replace(WHOLE, learning_rate=RATES[0], compile=False)


def descent(groups: Groups) -> Optimizer:
    """The optimiser of the arms."""
    return SGD(
        groups,
        lr=SETTINGS.learning_rate,
        momentum=SETTINGS.momentum,
        nesterov=SETTINGS.nesterov,
        weight_decay=SETTINGS.weight_decay,
    )


def train(
    network: nn.Module,
    images: Train,
    weights: Path,
    *,
    epochs: int,
    seed: int,
    optimizer: Optimizer,
) -> nn.Module:
    """Trains `network` in place, by labels and the answers of the baseline with these `weights`."""
    settings = dataclasses.replace(SETTINGS, epochs=epochs)
    teacher = Teacher(resnet20(weights), Distillation(), TASK)
    network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    steps = len(images) // settings.batch_size
    for epoch in range(epochs):
        batches = images.batches(settings.batch_size, seed=seed, epoch=epoch)
        for step, (given, labels) in enumerate(batches):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(settings, (epoch + step / steps) / epochs)
            inputs = given.contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                found = network(inputs)
                loss = teacher.mixed(TASK.loss(found, labels, settings), inputs, found)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.eval()
