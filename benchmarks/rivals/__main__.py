"""Tools that a user would pick beside this project: one baseline, equal images, one score.

    python -m benchmarks.rivals run OUT [--seeds 0] [--budgets 2,3] [--epochs 8] [--only NAMES]
    python -m benchmarks.rivals show OUT

From the repository's folder, which needs CIFAR-10 as images under `data/cifar10-images` and the
baselines of `results/resnet20`. Each rival works in an environment of its own,
OUT/environments/NAME, made from `benchmarks/rivals/NAME.txt` if it is missing, and hands over a
network cut to a budget of multiply-adds, which is scored

- as it is handed over (tuned: no),
- with statistics of batch norm estimated again (tuned: norm),
- after `--epochs` of the training of `benchmarks.resnet20`; 0 leaves this out.

A rival that fails has a row with its error. Kill `run` whenever you like: rows that OUT/table.csv
or `results/rivals` has are not made again, and networks are kept. `show` brings rows into
`results/rivals` and prints them, and how far ours, plain cuts by activations, are ahead on the same
test images.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.rivals.score import ahead
from benchmarks.rivals.table import COLUMNS, KEY, RESULTS, TABLE, Table, shown
from benchmarks.rivals.trial import NO, NORM, RIVALS, Trial
from trp_search.store import write_whole


def run(out: Path, given: argparse.Namespace) -> None:
    """Makes what is missing, the cuts of all before any training."""
    for trial in _wanted(out, given):
        if not Table(out).has(trial.key):
            row = trial.row()
            Table(out).add(trial.key | row)
            print(*trial.key.values(), row.get("test", row.get("outcome")), flush=True)


def _wanted(out: Path, given: argparse.Namespace) -> Iterator[Trial]:
    tuned = (NO, NORM, *((str(given.epochs),) if given.epochs else ()))
    seeds, budgets = given.seeds.split(","), given.budgets.split(",")
    for state, seed, budget, rival in itertools.product(tuned, seeds, budgets, RIVALS):
        named = f"{rival.name} {rival.setting}".startswith(tuple(given.only.split(",")))
        if named and (rival.cuts or state not in (NO, NORM)):
            yield Trial(rival=rival, seed=int(seed), budget=float(budget), tuned=state, out=out)


def show(out: Path) -> None:
    """Brings rows into `results`, those whose answers OUT has compared with ours."""
    rows = Table(out).rows()
    rivals = {(rival.name, rival.setting): rival for rival in RIVALS}
    for index, row in rows.iterrows():
        key = {name: row[name] for name in KEY if name not in ("rival", "setting")}
        rival = rivals[row["rival"], row["setting"]]
        theirs = Trial(rival=rival, out=out, **key)
        ours = dataclasses.replace(theirs, rival=RIVALS[0])
        pair = (ours.answers, theirs.answers)
        if rival is ours.rival or not all(answers.exists() for answers in pair):
            continue
        # A network that was made again here is not that of the row.
        if round(float(np.load(theirs.answers).mean()), 4) == round(row["test"], 4):
            rows.loc[index, ["ahead", "within"]] = ahead(ours.answers, theirs.answers)
    RESULTS.mkdir(parents=True, exist_ok=True)
    rows = rows.reindex(columns=COLUMNS).sort_values(KEY).convert_dtypes().round(4)
    write_whole(RESULTS / TABLE, rows.to_csv(index=False))
    print(shown(rows))


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run")
    one.add_argument("out", type=Path)
    one.add_argument("--seeds", default="0")
    one.add_argument("--budgets", default="2,3")
    one.add_argument("--epochs", type=int, default=8)
    one.add_argument("--only", default="", help="rivals whose names begin so, by commas")
    two = commands.add_parser("show")
    two.add_argument("out", type=Path)
    given = parser.parse_args()
    out = given.out.resolve()
    if given.command == "show":
        show(out)
    else:
        run(out, given)


if __name__ == "__main__":
    main()
