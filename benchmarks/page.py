"""How quick the page of a large run is, in a real browser.

    python -m benchmarks.page RUN [--points 2000]

From the repository's folder; needs chromium and chromedriver. RUN is any finished run: its points
are multiplied, each moved a little. Prints seconds to write the page, its size, and milliseconds
until its first figure stands, until a move of the slider and a switch to parameters are drawn.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from trp_search import report
from trp_search.records import Point
from trp_search.records.scores import share
from trp_search.store import RunFolder, append_record

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
)
DRAWN = """
const [done, act] = [arguments[arguments.length - 1], arguments[0]];
const plot = document.getElementById('tradeoff');
plot.once('plotly_relayout', () => requestAnimationFrame(() => done(performance.now() - began)));
const began = performance.now();
eval(act);
"""
_GIVE = "const e = document.getElementById('{}'); e.value = '{}'; e.dispatchEvent(new Event('{}'))"


def enlarged(run: RunFolder, place: Path, number: int) -> RunFolder:
    """A copy of the run, without weights, with so many points of trials."""
    shutil.copytree(run.path, place, ignore=shutil.ignore_patterns("*.safetensors"))
    large = RunFolder.open(place)
    own = [point for point in large.read_points() if point.searched]
    draws = np.random.default_rng(0)
    for index in range(max(0, number - len(own))):
        append_record(large.points, _moved(own[index % len(own)], index, draws))
    return large


def _moved(point: Point, index: int, draws: np.random.Generator) -> Point:
    images = point.score.images
    hits = min(1, max(0, point.score.value + draws.normal(-0.05, 0.03))) * images
    macs = max(1, round(point.macs * draws.uniform(0.8, 1.2)))
    return dataclasses.replace(
        point,
        id=f"{point.trial}-copy-{index}",
        score=share(round(hits), images),
        macs=macs,
    )


def measured(run: RunFolder, times: int) -> pd.Series:
    """Medians over `times` loads or moves."""
    began = time.perf_counter()
    page = report.write(run)
    wrote = time.perf_counter() - began
    options = webdriver.ChromeOptions()
    for flag in FLAGS:
        options.add_argument(flag)
    driver = webdriver.Chrome(
        options=options, service=Service(executable_path=shutil.which("chromedriver"))
    )
    try:
        driver.set_window_size(1280, 900)
        loads, moves, switches = [], [], []
        for turn in range(times):
            driver.get("about:blank")
            driver.get(page.as_uri())
            stands = "return document.querySelector('#tradeoff .points path') && performance.now()"
            while (at := driver.execute_script(stands)) is None:
                time.sleep(0.01)
            loads.append(at)
            moves.append(
                driver.execute_async_script(DRAWN, _GIVE.format("slide", 1.5 + 0.1 * turn, "input"))
            )
            switches.append(
                driver.execute_async_script(DRAWN, _GIVE.format("axis", "parameters", "change"))
            )
    finally:
        driver.quit()
    return pd.Series(
        {
            "points": len([point for point in run.read_points() if point.searched]),
            "written, s": wrote,
            "page, MB": page.stat().st_size / 1e6,
            "first figure, ms": pd.Series(loads).median(),
            "slider moved, ms": pd.Series(moves).median(),
            "switched, ms": pd.Series(switches).median(),
        }
    )


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--points", type=int, default=2000)
    parser.add_argument("--times", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        large = enlarged(RunFolder.open(given.run), Path(place) / given.run.name, given.points)
        print(measured(large, given.times).round(2).to_string())


if __name__ == "__main__":
    main()
