"""The examples in the docstrings of public names can be typed as they stand."""

from __future__ import annotations

import doctest
import shutil
from pathlib import Path

import pytest

import trp_search

ROOT = Path(__file__).parents[1]


def assert_example_runs(name: str):
    (example,) = doctest.DocTestFinder(recurse=False).find(getattr(trp_search, name), name)
    assert example.examples, f"{name} has no example"
    doctest.DebugRunner().run(example)


@pytest.mark.parametrize(
    "name",
    ["decompose", "TrainedRankPruning", "ElasticTraining", "time_layers", "select", "points"],
)
def test_the_example_runs(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    assert_example_runs(name)


def test_the_example_of_load_runs(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shutil.copytree(bundle, tmp_path / "models" / "mine-2x")
    monkeypatch.chdir(tmp_path)
    assert_example_runs("load")
