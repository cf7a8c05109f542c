"""One score for every network that is handed over, whoever made it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.rivals import handed
from benchmarks.rivals.given import macs
from trp_search.records import Target
from trp_search.runtimes import serving
from trp_search.runtimes.timing import clock_of, compare
from trp_search.workloads.splits import Splits, Test, Validation

Row = dict[str, Any]
TARGET = Target(name="here", runtime="onnxruntime", threads=1, batch=1, height=32, width=32)
SECONDS = 2.0  # of a timing


def scored(network: nn.Module, splits: Splits, answers: Path) -> Row:
    """Accuracies; which test images were right goes into `answers`."""
    right = correct(network, splits.test)
    np.save(answers, right)
    validation = correct(network, splits.validation)
    return {"validation": validation.mean(), "test": right.mean()}


def correct(network: nn.Module, images: Validation | Test) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which images are classified as they are labelled."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    batches = images.batches(250)
    return torch.cat([handed.answer(network, x).argmax(1) == y for x, y in batches]).numpy()


def size(network: nn.Module, baseline: nn.Module, kept: Path) -> Row:
    """Multiply-adds, parameters and the time in ONNX Runtime, in turn with the baseline's.

    A network is timed once: `kept` has what was found.
    """
    if not kept.exists():
        calls = [serving.serve(each, TARGET, channels=3)[0] for each in (baseline, network)]
        timing = compare(*calls, seconds=SECONDS, clock=clock_of(TARGET))
        found = {
            "fewer": macs(baseline) / macs(network),
            "parameters": sum(weight.numel() for weight in network.parameters()),
            "milliseconds": 1e3 * timing.seconds,
            "faster": timing.speedup,
            "low": timing.low,
            "high": timing.high,
        }
        kept.write_text(json.dumps(found))
    return dict(json.loads(kept.read_text()))


def ahead(ours: Path, theirs: Path) -> tuple[float, float]:
    """How far the first is ahead on the same test images, in points, and half its 95 % interval."""
    difference = np.load(ours).astype(float) - np.load(theirs)
    return 100 * difference.mean(), 196 * difference.std() / np.sqrt(len(difference))
