"""Rooms that need no torch load without it, whichever of their modules is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

ROOMS = ("errors", "records", "store", "space", "selection", "report", "methods")
LOADS = """
import importlib, pkgutil, sys
for room in {rooms!r}:
    found = importlib.import_module("trp_search." + room)
    for module in pkgutil.walk_packages(getattr(found, "__path__", ()), found.__name__ + "."):
        importlib.import_module(module.name)
print(*sorted({{"torch", "ray", "optuna", "fvcore"}} & sys.modules.keys()))
"""


@pytest.mark.slow
def test_values_fronts_reports_and_methods_load_no_torch():
    code = LOADS.format(rooms=ROOMS)
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
