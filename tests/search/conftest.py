"""Search spaces and results that any test of the search can use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from trp_search.space import SearchSpace, load_space
from trp_search.store import RunFolder

TEXT = """\
workload: {network: small_resnet, data: {name: digits, subset: 200}}
training: {epochs: 2, batch_size: 64}
space:
  start: scratch
  scheme: channel
  energy: {low: 0.6, high: 0.99}
  distillation: 0
  training: {epochs: 1}
trials: 4
seed: 7
"""


@pytest.fixture
def make_space(tmp_path: Path) -> Callable[..., SearchSpace]:
    """A small space; each pair of texts replaces one by the other."""

    def make(*changes: tuple[str, str]) -> SearchSpace:
        text = TEXT
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        if "extra_cuts:" not in text:
            text += "extra_cuts: {speedups: [2], energies: []}\n"
        path = tmp_path / "space.yaml"
        path.write_text(text)
        return load_space(path)

    return make


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run")
