"""The tables and the page of `benchmarks/front.py`'s measurements.

    python -m benchmarks.front_page results/front

Prints the tables and writes `index.html` beside them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
from plotly.subplots import make_subplots
from scipy import stats

from benchmarks.front import ARMS, CONTROLS, CUTS, FRONT
from benchmarks.front_rows import BUDGETS
from trp_search.store import write_whole

NAMED = [f"{budget:g}x" for budget in BUDGETS]
MEASURES = [*NAMED, "hypervolume"]
OTHERS = ("random", "tpe", "asha")
COLOURS = {
    "default": "#d1495b",
    "random": "#9aa5b1",
    "tpe": "#30638e",
    "asha": "#00798c",
    "plain": "#6b6b6b",
    "longer": "#c9a227",
    "scratch": "#8d5a97",
    "budgets": "#e07a3f",
    "halving": "#4c956c",
    "many-cuts": "#a5a58d",
    "trained-out": "#b07d9c",
    "labels": "#2b2d42",
    "no-projection": "#7f5539",
    "early": "#f4a6b0",
    "per-layer": "#bc6c25",
    "fine-tuned": "#3d5a80",
    "elastic": "#1b998b",
}


def differences(table: pd.DataFrame, against: str) -> Iterator[dict[str, object]]:
    """Each arm against another on the same seeds: the mean difference and its 95 % interval.

    A cell with fewer seeds than the arm, because a front does not reach that far, says so.
    """
    for arm in _ordered(table):
        seeds = len(table.xs(arm, level="arm"))
        row: dict[str, object] = {"arm": arm, "seeds": seeds}
        for measure in MEASURES:
            wide = table[measure].unstack("arm")
            gain = (wide[arm] - wide[against]).dropna()
            scale = 1 if measure == "hypervolume" else 100
            half = stats.sem(gain) * stats.t.ppf(0.975, len(gain) - 1) if len(gain) > 1 else None
            spread = "" if half is None else f" ± {scale * half:.{_digits(measure)}f}"
            spread += f" ({len(gain)} seeds)" if len(gain) < seeds else ""
            row[measure] = f"{scale * gain.mean():+.{_digits(measure)}f}{spread}"
        if arm != against:
            yield row


def means(table: pd.DataFrame) -> Iterator[dict[str, object]]:
    """Each arm's mean over seeds and, in brackets, the standard deviation."""
    for arm in _ordered(table):
        part = table.xs(arm, level="arm")
        row: dict[str, object] = {"arm": arm, "seeds": len(part)}
        for measure in MEASURES:
            scale = 1 if measure == "hypervolume" else 100
            digits = _digits(measure)
            row[measure] = f"{scale * part[measure].mean():.{digits}f}"
            row[measure] += f" ({scale * part[measure].std():.{digits}f})" if len(part) > 1 else ""
            missed = int(part[measure].isna().sum())
            row[measure] += f", missed by {missed}" if missed else ""
        for name, head in (("epochs", "epochs"), ("trials", "trials"), ("seconds", "s")):
            row[head] = f"{part[name].mean():.0f}"
        yield row


def reached(table: pd.DataFrame) -> str:
    """After which share of its epochs the default covers what the best of the others covers."""
    wide = table["hypervolume"].unstack("seed").loc[["default", *OTHERS]].dropna(axis=1)
    curves = wide.mean(axis=1)
    others = {arm: curves[arm, 1.0] for arm in OTHERS}
    best = max(others, key=lambda arm: others[arm])
    ours = curves["default"]
    shares = [share for share in ours.index if ours[share] >= others[best]]
    at = f"{min(shares):.0%} of the epochs" if shares else "never"
    return (
        f"The default covers what {best} covers in the end ({others[best]:.4f}, means over "
        f"{wide.shape[1]} seeds) after: {at}"
    )


def _digits(measure: str) -> int:
    return 4 if measure == "hypervolume" else 1


def _ordered(table: pd.DataFrame) -> list[str]:
    found = list(dict.fromkeys(table.index.get_level_values("arm")))
    known = [arm for arm in (*ARMS, *CONTROLS) if arm in found]
    return known + [arm for arm in found if arm not in known]


def markdown(rows: Sequence[dict[str, object]]) -> str:
    """A table as text."""
    heads = list(rows[0])
    lines = [heads, ["---"] * len(heads), *([str(row[head]) for head in heads] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page(table: pd.DataFrame) -> str:
    """Two pictures: what is covered as epochs go by, and accuracy at each budget."""
    figure = make_subplots(
        rows=1, cols=2, subplot_titles=("Covered, as epochs go by", "Test accuracy at a budget")
    )
    for arm in _ordered(table):
        style = {"color": COLOURS.get(arm, "#b0a8b9")}
        part = table.xs(arm, level="arm")
        curve = part["hypervolume"].groupby("share").agg(["mean", "std"]).fillna(0.0)
        shown = {"name": arm, "legendgroup": arm, "line": style, "marker": style}
        figure.add_scatter(
            x=[100 * share for share in curve.index],
            y=curve["mean"],
            error_y={"array": curve["std"], "thickness": 1},
            mode="lines+markers",
            row=1,
            col=1,
            **shown,
        )
        ends = part.xs(1.0, level="share")
        figure.add_scatter(
            x=BUDGETS,
            y=[100 * ends[name].mean() for name in NAMED],
            error_y={"array": [100 * ends[name].std() for name in NAMED], "thickness": 1},
            mode="lines+markers",
            showlegend=False,
            row=1,
            col=2,
            **shown,
        )
    figure.update_xaxes(title="share of the epochs, %", row=1, col=1)
    figure.update_yaxes(title="hypervolume", row=1, col=1)
    figure.update_xaxes(title="speedup in multiply-adds", row=1, col=2)
    figure.update_yaxes(title="test accuracy, %", row=1, col=2)
    figure.update_layout(
        title="Means over seeds; bars are standard deviations", template="simple_white", height=620
    )
    return figure.to_html(include_plotlyjs=True, full_html=True, config={"responsive": True})


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    place = parser.parse_args().table
    every = pd.read_csv(place / FRONT).set_index(["arm", "seed", "share"])
    table = every.xs(1.0, level="share")
    print(markdown(list(means(table))))
    for against in ("tpe", "default", "early", "plain", "longer"):
        if against in table.index.get_level_values("arm"):
            print(f"\nAgainst {against}, points and hypervolume, paired by seed, 95 % interval\n")
            print(markdown(list(differences(table, against))))
    print(f"\n{reached(every)}")
    cuts = pd.read_csv(place / CUTS).drop(columns="arm").rename(columns={"part": "arm"})
    print("\nThe default's networks cut otherwise, against the cuts as they are\n")
    print(markdown(list(differences(cuts.set_index(["arm", "seed"]), "as it is"))))
    write_whole(place / "index.html", page(every))


if __name__ == "__main__":
    main()
