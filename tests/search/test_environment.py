"""What a run was made with."""

from __future__ import annotations

import json
import platform

from trp_search.search.environment import write_environment
from trp_search.store import RunFolder


def test_versions_devices_and_the_seed_are_written_once(folder: RunFolder):
    write_environment(folder, seed=3, accelerators=["H200"])
    first = folder.environment.read_text()
    found = json.loads(first)
    assert found["python"] == platform.python_version()
    assert {"trp_search", "torch", "ray", "optuna"} <= set(found["versions"])
    assert found["devices"][-1] == "H200"
    assert found["seed"] == 3
    write_environment(folder, seed=4, accelerators=[])
    assert folder.environment.read_text() == first
