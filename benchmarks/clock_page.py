"""The picture of `benchmarks/clock.py`'s table: delivered against promised speedup.

    python -m benchmarks.clock_page results/clock

Writes `index.html` beside the table.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from plotly.subplots import make_subplots

from benchmarks.clock import NETWORKS, RULES, RUNTIMES
from trp_search.store import write_whole

COLOURS = dict(zip(RULES, ("#d1495b", "#6b7a8f"), strict=True))
MARKS = dict(zip(NETWORKS, ("circle", "diamond", "square"), strict=True))
TITLES = {"onnxruntime": "ONNX Runtime", "eager": "eager PyTorch", "openvino": "OpenVINO"}
_MOST = 3.3


def page(table: pd.DataFrame) -> str:
    """A plot for each runtime, one thread and one image; what was refused is not there."""
    shown = [name for name in RUNTIMES if name in set(table["runtime"])]
    figure = make_subplots(
        rows=1, cols=len(shown), subplot_titles=[TITLES[name] for name in shown], shared_yaxes=True
    )
    told: set[str] = set()
    for col, name in enumerate(shown, 1):
        figure.add_scatter(
            x=[1, _MOST],
            y=[1, _MOST],
            mode="lines",
            line={"color": "#b0b7c1", "dash": "dot"},
            name="as promised",
            showlegend=col == 1,
            row=1,
            col=col,
        )
        alone = (table["threads"] == 1) & (table["batch"] == 1)
        part = table[alone & (table["runtime"] == name) & (table["outcome"] == "timed")]
        for (network, rule), rows in part.groupby(["network", "rule"]):
            label = f"{network}, ranks by {rule}"
            figure.add_scatter(
                x=rows["promised"],
                y=rows["delivered"],
                error_y={
                    "array": rows["high"] - rows["delivered"],
                    "arrayminus": rows["delivered"] - rows["low"],
                    "thickness": 1,
                },
                mode="markers",
                marker={"color": COLOURS[str(rule)], "symbol": MARKS[str(network)], "size": 10},
                name=label,
                legendgroup=label,
                showlegend=label not in told,
                row=1,
                col=col,
            )
            told.add(label)
    figure.update_xaxes(title="promised speedup", range=[1, _MOST], tickvals=[1.5, 2, 3])
    figure.update_yaxes(range=[1, _MOST])
    figure.update_yaxes(title="delivered on the clock", col=1)
    figure.update_layout(
        template="plotly_white",
        height=440,
        margin={"t": 40, "b": 20},
        legend={"orientation": "h", "y": -0.25},
    )
    return str(figure.to_html(include_plotlyjs=True, config={"displayModeBar": False}))


def main() -> None:
    """Reads the command line; writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of table.csv; the page is written here")
    folder = parser.parse_args().folder
    table = pd.read_csv(folder / "table.csv")
    alone = table[(table["threads"] == 1) & (table["batch"] == 1)]
    write_whole(folder / "index.html", page(alone))
    print(folder / "index.html")


if __name__ == "__main__":
    main()
