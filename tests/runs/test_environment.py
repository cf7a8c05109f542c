"""What a run was made with."""

from __future__ import annotations

import json
import platform
from pathlib import Path

from trp_search.runs.environment import write_environment
from trp_search.store import FORMAT, RunFolder


def test_format_versions_devices_and_the_seed_are_written(tmp_path: Path):
    folder = RunFolder.create(tmp_path / "run")
    write_environment(folder, seed=3, accelerators=["H200"])
    found = json.loads(folder.environment.read_text())
    assert found["format"] == FORMAT
    assert found["python"] == platform.python_version()
    assert {"trp_search", "torch", "ray", "optuna"} <= set(found["versions"])
    assert found["devices"][-1] == "H200"
    assert found["seed"] == 3
