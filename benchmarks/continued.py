"""What a run's trials owe to their extra epochs: the baseline trained on as long, then cut.

    python benchmarks/continued.py RUN [--learning-rate 0.02]

Trials that start from the baseline train for some epochs more than it did. This trains the
baseline on for as many epochs, by the trials' own schedule but without pruning, cuts it at the
energies of the run's controls and prints both next to the front. Results stay under
RUN/trials/continued and are taken up again.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from trp_search.records import EpochReport, Point, TrialResult
from trp_search.runs import trial
from trp_search.selection.pareto import front
from trp_search.space import load_space
from trp_search.store import RunFolder


def continued(folder: RunFolder, learning_rate: float | None) -> tuple[Point, ...]:
    """The continued network, uncut and at every control cut of the run."""
    baseline = folder.trial("baseline").read_spec()
    pattern = folder.trial("0").read_spec()
    assert pattern.training is not None
    rate = learning_rate or pattern.training.learning_rate
    spec = dataclasses.replace(
        baseline,
        name="continued",
        start="baseline",
        training=dataclasses.replace(pattern.training, learning_rate=rate),
    )
    result = None
    for item in trial.run(spec, folder):
        if isinstance(item, EpochReport):
            print(f"epoch {item.epoch}/{item.epochs}: {item.metric:.1%}", flush=True)
        else:
            result = item
    assert isinstance(result, TrialResult)
    assert result.ended_well, result.failed or result.diverged
    return result.points


def table(title: str, points: list[Point]) -> None:
    """Speedup and validation accuracy, slowest first."""
    print(f"\n{title}")
    for point in sorted(points, key=lambda point: point.speedup):
        print(f"  {point.scheme or 'uncut':<10}{point.speedup:>6.2f}x  {point.score.value:>6.1%}")


def main() -> None:
    """Trains what is missing and prints three tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--learning-rate", type=float)
    given = parser.parse_args()
    folder = RunFolder.open(given.run)
    space = load_space(folder.search)
    later = continued(folder, given.learning_rate)
    points = folder.read_points()
    admitted = [point for point in points if space.admits(point)]
    table("front of the trials", front(admitted, space.objective_list))
    table("baseline, cut", [p for p in points if p.role in ("baseline", "control")])
    table("baseline trained on as long as a trial, cut", list(later))


if __name__ == "__main__":
    main()
