"""As fast as a rival: ours with a time budget beside the fastest of them, ModelOpt's FastNAS.

    python -m benchmarks.rivals.as_fast OUT [--budgets 2,3] [--epochs 1]

From the repository's folder, as `benchmarks.rivals`, on a machine that does nothing else. FastNAS
cuts the baseline to a budget of multiply-adds; its network is timed in turn with the baseline. That
speedup is the time budget of ours: each layer a pair or dense, by activations of 256 images.
OUT/as_fast.csv has both after batch norm's statistics and after the epochs, which are the same for
both; `ahead` is how far ours is ahead on the same test images, in points.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from benchmarks.clock_trained import Bench, trained
from benchmarks.resnet20 import Place, weights
from benchmarks.rivals import given, ours, score
from benchmarks.rivals.trial import NORM, RIVALS, Trial
from trp_search.records import Cut
from trp_search.store import write_whole

RIVAL = next(rival for rival in RIVALS if rival.setting == "divisor 4")
SEED = 0
COLUMNS = ["budget", "tuned", "name", "fewer", "faster", "low", "high", "milliseconds"]
COLUMNS += ["validation", "test", "ahead", "within", "machine", "commit"]


def rows(out: Path, budget: float, epochs: int) -> Iterator[score.Row]:
    """FastNAS and ours at one budget, before and after the epochs."""
    theirs = Trial(rival=RIVAL, seed=SEED, budget=budget, tuned=NORM, out=out)
    found = theirs.row()
    if "faster" not in found:
        raise SystemExit(f"{RIVAL.name}: {found['outcome']}")
    cut = as_fast(found["faster"], out)
    for tuned in (NORM, str(epochs)):
        theirs = dataclasses.replace(theirs, tuned=tuned)
        row = found if tuned == NORM else theirs.row()
        key = {"budget": budget, "tuned": tuned}
        key |= {"machine": row["machine"], "commit": row["commit"]}
        yield key | {"name": f"{RIVAL.name}, {RIVAL.setting}"} | row
        answers = theirs.place / f"ours-{tuned}.npy"
        own = scored(cut, theirs, answers)
        own["ahead"], own["within"] = score.ahead(answers, theirs.answers)
        yield key | {"name": "trp_search, plain, by time"} | own


def as_fast(speedup: float, out: Path) -> Cut:
    """The baseline's cut that is measured so fast."""
    own = trained("resnet20", out)
    bench = Bench(name="resnet20", own=own, target=score.TARGET, out=out, seconds=score.SECONDS)
    return bench.by_time(speedup)


def scored(cut: Cut, beside: Trial, answers: Path) -> score.Row:
    """Our row, trained as the rival's network was."""
    asked = ours.spec("plain", beside.budget, seed=SEED, epochs=beside.epochs)
    name = f"as-fast-{beside.budget:g}x-{beside.epochs}"
    asked = dataclasses.replace(asked, name=name, cuts=(cut,))
    made = ours.made(asked, Place(beside.out).run(SEED))
    network = next(network for tuned, network in made if tuned == bool(beside.epochs))
    found = score.scored(network, trained("resnet20", beside.out).splits, answers)
    dense = given.resnet20(weights(SEED))
    return found | score.size(network, dense, beside.place / f"ours-{beside.epochs}.json")


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--budgets", default="2,3")
    parser.add_argument("--epochs", type=int, default=1)
    asked = parser.parse_args()
    out, found = asked.out.resolve(), list[score.Row]()
    for budget in map(float, asked.budgets.split(",")):
        for row in rows(out, budget, asked.epochs):
            found.append(row)
            table = pd.DataFrame(found).reindex(columns=COLUMNS).round(4)
            write_whole(out / "as_fast.csv", table.to_csv(index=False))
            print(table.iloc[-1].to_string(), "", sep="\n", flush=True)


if __name__ == "__main__":
    main()
