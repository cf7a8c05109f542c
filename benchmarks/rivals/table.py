"""The rows of all rivals: here and in `results/rivals`, and how they are shown beside ours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.rivals.score import Row
from trp_search.store import exclusive, write_whole

RESULTS, TABLE = Path("results/rivals"), "table.csv"
KEY = ["seed", "rival", "setting", "budget", "tuned"]
COLUMNS = [*KEY, "outcome", "validation", "test", "ahead", "within", "fewer", "parameters"]
COLUMNS += ["milliseconds", "faster", "low", "high"]
COLUMNS += ["images", "processor_seconds", "machine", "commit"]


@dataclass(frozen=True)
class Table:
    """Rows while they are made; those of `results` count as made."""

    out: Path

    def rows(self) -> pd.DataFrame:
        """All rows; those here have the last word."""
        paths = [path for path in (RESULTS / TABLE, self.out / TABLE) if path.exists()]
        found = [pd.read_csv(path, dtype={"commit": str, "tuned": str}) for path in paths]
        every = pd.concat([pd.DataFrame(columns=COLUMNS), *found])
        return every.drop_duplicates(KEY, keep="last").reset_index(drop=True)

    def has(self, key: Row) -> bool:
        """Whether there is a row of this key, or one of a failure at the same budget."""
        rows = self.rows()
        same = (rows[KEY[:-1]] == pd.Series(key)[KEY[:-1]]).all(axis=1)
        return bool((same & ((rows["tuned"] == key["tuned"]) | rows["outcome"].notna())).any())

    def add(self, row: Row) -> None:
        """Adds a row to those here; several programs may."""
        self.out.mkdir(parents=True, exist_ok=True)
        with exclusive(self.out / ".lock", wait_seconds=60, holder="rows are being written"):
            both = pd.concat([self.rows(), pd.DataFrame([row], columns=COLUMNS)])
            whole = both.drop_duplicates(KEY, keep="last")
            write_whole(self.out / TABLE, whole.to_csv(index=False))


def shown(rows: pd.DataFrame) -> str:
    """Test accuracies by rival, a table for each budget, and what else was measured.

    Times are of the machine that timed ours, plain, where it timed a rival as well; ° marks others.
    """
    parts = []
    for (seed, budget), every in rows.groupby(["seed", "budget"]):
        ours = every[every["setting"] == "plain"]["machine"].head(1).tolist()
        foreign = ~every["machine"].isin(ours)
        own = every.assign(foreign=foreign).sort_values("foreign", kind="stable")
        wide = own.assign(name=own["rival"] + ", " + own["setting"], cell=own.apply(_cell, axis=1))
        table = wide.pivot_table("cell", "name", "tuned", aggfunc="last", sort=False).fillna("")
        first = wide.groupby("name", sort=False)[["fewer", "faster", "milliseconds"]].first()
        told = first.astype(float).round(2).astype(str)
        mark = wide.groupby("name")["foreign"].min().map({True: " °", False: ""})
        table = table.join(told.assign(machine=mark)).sort_index()
        parts.append(f"Seed {seed}, {budget:g}x\n\n{table.to_markdown()}\n")
    return "\n".join([*parts, _ahead(rows)])


def _ahead(rows: pd.DataFrame) -> str:
    """How far ours is ahead of each rival, seeds beside each other."""
    found = rows[rows["ahead"].notna()].sort_values("seed")
    found = found.assign(
        name=found["rival"] + ", " + found["setting"],
        column=found["budget"].map("{:g}x ".format) + found["tuned"],
        cell=found["ahead"].map("{:+.1f}".format),
    )
    table = found.pivot_table("cell", "name", "column", aggfunc=" / ".join).fillna("")
    return f"Ours ahead by, one seed / the next\n\n{table.to_markdown()}\n"


def _cell(row: Any) -> str:  # noqa: ANN401  a row of a table
    """Accuracy in per cent; in brackets how far ours is ahead."""
    if pd.isna(row["test"]):
        return str(row["outcome"])
    found = f"{100 * row['test']:.2f}"
    return (
        found if pd.isna(row["ahead"]) else f"{found} ({row['ahead']:+.1f} ± {row['within']:.1f})"
    )
