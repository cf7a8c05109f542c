"""A user's network, and the accidents that happen to trials which train it."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from trp_search.records import EpochReport, NetworkSpec
from trp_search.runs import trial
from trp_search.training.loop import Job, Note
from trp_search.workloads import networks

_train = trial.train
_troubles: dict[str, str] = {}
_marks: list[Path] = []


def build(*, troubles: dict[str, str], marks: str) -> nn.Module:
    """The small ResNet for the digits; `troubles` says what befalls the trial of each name."""
    _troubles.update(troubles)
    _marks[:] = [Path(marks)]
    trial.train = train
    return networks.build(NetworkSpec(name="small_resnet"), channels=1, classes=10)


def train(network: nn.Module, job: Job, *, note: Note) -> Iterator[EpochReport]:
    trouble = _troubles.get(job.name)
    if trouble == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if trouble == "raises":
        raise RuntimeError("the dog ate the homework")
    if trouble == "diverges":
        with torch.no_grad():
            next(network.parameters()).fill_(float("nan"))
    for report in _train(network, job, note=note):
        yield report
        mark = _marks[0] / job.name
        if mark.exists():
            continue
        if trouble == "killed once":
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if trouble == "full disk once":
            mark.touch()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
