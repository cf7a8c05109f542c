"""What DDLR-style factors and Net-Trim's zeros keep of networks with large linear layers.

    python -m benchmarks.linear TABLE [--seeds 0,1,2] [--only lenet]

From the repository's folder; the second network needs CIFAR-10 as images under
`data/cifar10-images`. LeNet-300-100 on the digits and a small VGG on CIFAR-10 at 8 pixels are
trained plainly; then their linear layers are cut, with no training afterwards, each way at several
errors, and beside it what it has to beat at the same size: one share of all ranks by plain SVDs, or
the largest weights. Test accuracies are shown; nothing is chosen. Rows that TABLE has are kept.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn
from torch.nn.utils.prune import L1Unstructured

from trp_search.lowrank.decompose import decompose
from trp_search.records import Cut, DataSpec, Error, Layer, Training
from trp_search.scoring.candidate import Cuts, Scored, cost_of, example
from trp_search.scoring.sizes import csr_bytes
from trp_search.store import write_whole
from trp_search.tasks import TASKS
from trp_search.tasks.task import threads
from trp_search.training.loop import Job, train
from trp_search.workloads import data
from trp_search.workloads.data import Splits

TASK = TASKS["classification"]

ERRORS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
IMAGES, BATCH, WIDE = 1000, 256, 4
PHOTOGRAPHS: dict[str, Any] = {"root": "data/cifar10-images", "classes": 10, "image_size": 8}


def lenet() -> nn.Module:
    """LeNet-300-100 for 8 by 8 pixels."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), _last(100)
    )


def vgg() -> nn.Module:
    """Three convolutions and three linear layers, which hold nine tenths of the weights."""
    body: list[nn.Module] = []
    for before, width in ((3, 32), (32, 64), (64, 64)):
        body += [nn.Conv2d(before, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
    head = [nn.Linear(1024, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), _last(256)]
    return nn.Sequential(*body, nn.MaxPool2d(2), nn.Flatten(), *head)


def _last(width: int) -> nn.Module:
    return nn.Linear(width, 10)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], DataSpec, int]] = {
    "lenet": (lenet, DataSpec(name="digits", augment=False), 40),
    "vgg": (vgg, DataSpec(name="images", subset=7000, validation=0.43, **PHOTOGRAPHS), 20),
}


def rows(name: str, seed: int) -> Iterator[dict[str, object]]:
    """The baseline, and every cut of it beside what it is compared with."""
    build, spec, epochs = NETWORKS[name]
    splits = data.load(spec, split_seed=seed, outside_weights=False, device="cpu")
    network = _trained(build, splits, epochs, seed)
    cuts, dense = Cuts(network, splits, TASK), cost_of(network, splits)
    size = {"speedup": 1.0, "parameters": dense.parameters, "bytes": WIDE * dense.parameters}
    yield {"method": "plain", "error": 0.0, "test": _test(network, splits)} | size
    for error in ERRORS:
        for method in ("ddlr-style", "net-trim"):
            began = time.perf_counter()
            wanted = Cut(scheme=method, keep=Error(error), calibration_images=IMAGES)
            scored = cuts.score(wanted)
            seconds = time.perf_counter() - began
            own = _row(scored, splits) | {"speedup": dense.macs / scored.made.cost.macs}
            rival = _rival(network, scored.made.layers, splits)
            yield {"method": method, "error": error, "seconds": round(seconds, 1)} | own | rival


def _trained(build: Callable[[], nn.Module], splits: Splits, epochs: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    network = build()
    with tempfile.TemporaryDirectory() as place:
        job = Job(
            name="plain",
            task=TASK,
            train=splits.train,
            validation=splits.validation,
            training=Training(epochs=epochs, batch_size=64, learning_rate=0.05, weight_decay=5e-4),
            teacher=None,
            checkpoint=Path(place) / "checkpoint",
            seed=seed,
            device="cpu",
        )
        for _ in train(network, job):
            pass
    return network.eval()


def _row(scored: Scored, splits: Splits) -> dict[str, object]:
    cost, layers = scored.made.cost, scored.made.layers
    zeros = [layer for layer in layers if layer.scheme == "sparse"]
    stored = WIDE * (cost.parameters - sum(layer.parameters for layer in zeros))
    for layer in zeros:
        bias = scored.made.network.get_submodule(layer.name).bias
        outputs = len(bias)
        stored += csr_bytes(layer.parameters - outputs, outputs) + WIDE * outputs
    return {
        "test": _test(scored.made.network, splits),
        "parameters": cost.parameters,
        "bytes": stored,
    }


def _rival(network: nn.Module, layers: Sequence[Layer], splits: Splits) -> dict[str, object]:
    """The test accuracy of the plain way to the same size: SVDs, or the largest weights."""
    zeros = {x.name: x.parameters for x in layers if x.scheme == "sparse"}
    if zeros:
        other = copy.deepcopy(network)
        for name, parameters in zeros.items():
            layer = other.get_submodule(name)
            kept = parameters - len(layer.bias)
            least = L1Unstructured(amount=layer.weight.numel() - kept)
            layer.weight.data = least.prune(layer.weight.data)
        return {"rival": _test(other, splits)}
    ranks = {x.name: x.rank for x in layers if x.rank is not None}
    if not ranks:
        return {"rival": _test(network, splits)}
    image = example(splits.shape, "cpu")
    own = decompose(network, image, scheme="channel", keep=ranks)
    full = sum(x.full_rank or 0 for x in layers if x.rank is not None)
    even = {
        x.name: max(1, round(sum(ranks.values()) / full * x.full_rank))
        for x in layers
        if x.rank is not None and x.full_rank is not None
    }
    uniform = decompose(network, image, scheme="channel", keep=even)
    return {"rival": _test(own.network, splits), "uniform": _test(uniform.network, splits)}


def _test(network: nn.Module, splits: Splits) -> float:
    return TASK.evaluate(network.eval(), splits.test.batches(BATCH)).score.value


def main() -> None:
    """Reads the command line, measures what is missing, prints the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--only", default=",".join(NETWORKS))
    given = parser.parse_args()
    path = given.table / "linear.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=["network", "seed"])
    for name in given.only.split(","):
        for seed in map(int, given.seeds.split(",")):
            if ((table["network"] == name) & (table["seed"] == seed)).any():
                continue
            with threads(1):
                found = [{"network": name, "seed": seed} | row for row in rows(name, seed)]
            fresh = pd.DataFrame(found)
            table = pd.concat([table, fresh]) if len(table) else fresh
            write_whole(path, table.round(5).to_csv(index=False))
            print(f"{name}, seed {seed}: done", flush=True)
    means = (
        table.groupby(["network", "method", "error"]).mean(numeric_only=True).drop(columns="seed")
    )
    print(means.round(4).to_string())


if __name__ == "__main__":
    main()
