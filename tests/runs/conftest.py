"""One training of a method in a run, for the tests of what follows from it."""

from __future__ import annotations

import pytest

from tests.runs.trained import begun, ended
from trp_search.space import SearchSpace, read_space
from trp_search.store import RunFolder


@pytest.fixture(scope="module")
def space(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SearchSpace:
    """The module's `SPACE`."""
    return read_space(request.module.SPACE, tmp_path_factory.mktemp("space") / "space.yaml")


@pytest.fixture(scope="module")
def once(space: SearchSpace, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of `space` with its baseline and one trial."""
    folder = begun(space, tmp_path_factory.mktemp("run") / "run")
    ended(folder, space.trial_spec({}, number=0))
    return folder


@pytest.fixture
def resumed(space: SearchSpace, tmp_path) -> RunFolder:
    """The same, its trial killed after an epoch and gone on with."""
    folder = begun(space, tmp_path / "run")
    ended(folder, space.trial_spec({}, number=0), epochs=1)
    ended(folder, space.trial_spec({}, number=0))
    return folder
