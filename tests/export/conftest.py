"""A real run, small enough to train in a second: digits, one plain network, one trial."""

from __future__ import annotations

from pathlib import Path

import pytest

from trp_search import trial
from trp_search.export.write import export_point
from trp_search.records import TrialResult, TrialSpec
from trp_search.space import load_space
from trp_search.store import RunFolder, append_record, write_whole

SPACE = """\
workload:
  network: {network}
  data: {{name: digits, subset: 300, heldout_subset: 100}}
training: {{epochs: 1, batch_size: 50, learning_rate: 0.05}}
space: {{start: scratch, scheme: spatial, energy: 0.8, period: 2}}
trials: 1
curve: {{speedups: [2], energies: []}}
"""

OWN_NETWORK = """\
from torch import nn

def make(width):
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10),
    )
"""


def small_run(folder: Path, *, network: str = "small_resnet") -> RunFolder:
    """A run with the points `baseline`, `plain-spatial-...` and `0`."""
    run = RunFolder.create(folder)
    write_whole(run.search, SPACE.format(network=network))
    space = load_space(run.search)
    specs: tuple[TrialSpec, ...] = (
        space.baseline_spec(),
        space.trial_spec({}, name="0", repeat=0),
    )
    for spec in specs:
        for item in trial.run(spec, run):
            if isinstance(item, TrialResult):
                assert item.points, item
                for point in item.points:
                    append_record(run.points, point)
    return run


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return small_run(tmp_path_factory.mktemp("runs") / "small")


@pytest.fixture(scope="session")
def bundle(trained_run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trial's point, exported once for every test that only reads it."""
    return export_point(trained_run, "0", tmp_path_factory.mktemp("bundles") / "zero")


@pytest.fixture
def own_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run of a network that only the current folder's own module can build."""
    (tmp_path / "own_network.py").write_text(OWN_NETWORK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return small_run(tmp_path / "run", network="{name: own_network:make, options: {width: 8}}")
