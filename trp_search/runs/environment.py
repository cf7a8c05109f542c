"""Versions, devices and seeds of a run."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from trp_search.runtimes.machine import processor
from trp_search.store import FORMAT, RunFolder, write_whole

_PACKAGES = ("trp_search", "torch", "torchvision", "timm", "ray", "optuna", "fvcore")


def write_environment(run: RunFolder, *, seed: int, accelerators: Sequence[str] = ()) -> None:
    """Writes `environment.json` with the run's format, before any other file."""
    found = {
        "format": FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": {name: found for name in _PACKAGES if (found := installed(name))},
        "commit": _commit(),
        "platform": platform.platform(),
        "devices": [processor(), *accelerators],
        "seed": seed,
    }
    write_whole(run.environment, json.dumps(found, indent=2) + "\n")


def installed(package: str) -> str | None:
    """The version of a package; None without it."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the package's own checkout, marked when files differ from it."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    here = Path(__file__).parent
    try:
        done = subprocess.run(  # noqa: S603  a fixed command
            command, cwd=here, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
