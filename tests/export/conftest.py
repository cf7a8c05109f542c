"""A real run, small enough to train in a second: digits, one baseline, one trial."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from trp_search.store import RunFolder

OWN_NETWORK = """\
from torch import nn

def make(width):
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10),
    )
"""


@pytest.fixture
def own_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_run: Callable[..., RunFolder]
) -> RunFolder:
    """A run of a network that only the current folder's own module can build."""
    (tmp_path / "own_network.py").write_text(OWN_NETWORK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_network", raising=False)  # another test's
    return small_run(tmp_path / "run", "{name: own_network:make, options: {width: 8}}")


@pytest.fixture
def copied(bundle: Path, tmp_path: Path) -> Path:
    """A bundle that may be written to."""
    return shutil.copytree(bundle, tmp_path / "bundle")
