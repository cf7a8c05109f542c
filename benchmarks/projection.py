"""What Trained Rank Pruning's truncated SVDs cost: ResNet-20, batch 128, one CPU thread (and CUDA).

    python benchmarks/projection.py [--repeats 15]

First table: all layers' projection against a loop of one `torch.linalg.svd` per layer with a rank
rule that adds up one singular value at a time, as the paper's authors wrote it. Second table: a
training step with pruning against a plain one. Both are timed in turn (A B A B ...) in one process;
medians and the quartiles of the paired ratios are printed.
"""

from __future__ import annotations

import argparse
import copy
import functools
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from trp_search.lowrank.kernels import shape_of
from trp_search.lowrank.schemes import SCHEMES
from trp_search.lowrank.select import select
from trp_search.records import Energy, NetworkSpec
from trp_search.training.regulariser import TrainedRankPruning
from trp_search.workloads import networks

ENERGY = 0.95


def rank_one_by_one(values: Tensor, energy: float) -> int:
    """The rank rule of the loop: a comparison per singular value."""
    total = values.square().sum()
    kept = torch.zeros((), device=values.device)
    for rank, value in enumerate(values, start=1):
        kept = kept + value * value
        if kept / total >= energy:
            return rank
    return len(values)


@torch.no_grad()
def project_by_loop(layers: list[nn.Module], scheme: str) -> None:
    """One SVD per layer, written back."""
    method = SCHEMES[scheme]
    for layer in layers:
        matrix = method.matrices(layer.weight)[0]
        u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
        rank = rank_one_by_one(s, ENERGY)
        low = (u[:, :rank] * s[:rank]) @ vh[:rank]
        layer.weight.copy_(method.weight(low.unsqueeze(0), shape_of(layer)))


def seconds(action: Callable[[], None], device: str) -> float:
    """One timed call, the device idle before and after."""
    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    action()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


Result = tuple[float, float, list[float]]


def summary(pairs: list[tuple[float, float]]) -> Result:
    """Medians of both columns and the quartiles of their ratio."""
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    return ours, theirs, statistics.quantiles((a / b for a, b in pairs), n=4)


def line(name: str, result: Result) -> None:
    """One row of a table."""
    ours, theirs, (low, middle, high) = result
    print(
        f"{name:<26}{ours * 1e3:>9.2f}{theirs * 1e3:>10.2f}{middle:>8.3f}  ({low:.3f}-{high:.3f})"
    )


def network_on(device: str) -> nn.Module:
    """ResNet-20 with the weights of seed 0."""
    torch.manual_seed(0)
    return networks.build(NetworkSpec(name="resnet20"), channels=3, classes=10).to(device)


def projections(device: str, repeats: int) -> None:
    """All layers' projection, ours against the loop; each starts from the same weights."""
    print(f"\nprojection, {device:<14}  ours ms   loop ms   ratio  (quartiles)")
    for scheme in ("channel", "spatial"):
        ours, theirs = network_on(device), network_on(device)
        pruning = TrainedRankPruning(
            ours,
            torch.zeros(1, 3, 32, 32, device=device),
            scheme=scheme,
            keep=Energy(ENERGY),
            period=1,
            layers="kxk",
        )
        chosen, _ = select(theirs, SCHEMES[scheme], layers="kxk")
        layers = list(chosen.values())
        start = copy.deepcopy(ours.state_dict())

        pairs = []
        for _ in range(repeats + 2):
            ours.load_state_dict(start)
            theirs.load_state_dict(start)
            loop = functools.partial(project_by_loop, layers, scheme)
            pairs.append((seconds(pruning.before_forward, device), seconds(loop, device)))
        line(scheme, summary(pairs[2:]))


def stepper(network: nn.Module, pruning: TrainedRankPruning | None) -> Callable[[], None]:
    """One optimiser step on a fixed batch."""
    device = next(network.parameters()).device
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(128, 3, 32, 32, generator=generator).to(device)
    labels = torch.randint(10, (128,), generator=generator).to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, nesterov=True)

    def step() -> None:
        if pruning is not None:
            pruning.before_forward()
        loss = functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        if pruning is not None:
            pruning.before_step()
        optimizer.step()

    return step


def steps(device: str, repeats: int) -> None:
    """A step with projection and nuclear term against a plain one; m = 20 over 20 steps."""
    print(f"\ntraining step, {device:<11}  ours ms  plain ms   ratio  (quartiles)")
    for scheme in ("channel", "spatial"):
        for period in (20, 1):
            network = network_on(device)
            pruning = TrainedRankPruning(
                network,
                torch.zeros(1, 3, 32, 32, device=device),
                scheme=scheme,
                keep=Energy(ENERGY),
                period=period,
                nuclear_weight=3e-4 / 20,
                layers="kxk",
            )
            ours, plain = stepper(network, pruning), stepper(network_on(device), None)
            result = alternating(ours, plain, period, device=device, repeats=repeats)
            line(f"{scheme}, m = {period}", result)


def alternating(
    ours: Callable[[], None],
    plain: Callable[[], None],
    period: int,
    *,
    device: str,
    repeats: int,
) -> Result:
    """Single steps in turn, `period` of them to a pair, so that drift falls on both alike."""
    sums = []
    for _ in range(max(3, repeats // period) + 1):
        first = second = 0.0
        for _ in range(period):
            first += seconds(ours, device)
            second += seconds(plain, device)
        sums.append((first / period, second / period))
    return summary(sums[1:])


def main() -> None:
    """Prints both tables for the CPU and, where there is one, for CUDA."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, ResNet-20, batch 128, energy {ENERGY}, {repeats} repeats")
    for device in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
        projections(device, repeats)
        steps(device, repeats)


if __name__ == "__main__":
    main()
