"""What a process loads is what it needs: seconds of every command and of every worker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOMS = ("errors", "records", "store", "space", "selection", "methods")
LOADS = """
import importlib, pkgutil, sys
for room in {rooms!r}:
    found = importlib.import_module("trp_search." + room)
    for module in pkgutil.walk_packages(getattr(found, "__path__", ()), found.__name__ + "."):
        importlib.import_module(module.name)
print(*sorted({{"torch", "ray", "optuna", "fvcore", "pandas", "plotly"}} & sys.modules.keys()))
"""
BUNDLE = Path(__file__).parent / "export" / "bundles-0.1.0" / "trp"
OPENS = """
import sys, trp_search
trp_search.load({bundle!r})
print(*sorted({{"torch._dynamo", "sympy", "scipy", "sklearn", "pandas"}} & sys.modules.keys()))
"""


def loaded(code: str) -> list[str]:
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return found.stdout.split()


@pytest.mark.slow
def test_values_and_fronts_load_no_torch_and_no_tables():
    assert loaded(LOADS.format(rooms=ROOMS)) == []


@pytest.mark.slow
def test_the_page_loads_no_torch():
    assert set(loaded(LOADS.format(rooms=["report"]))) <= {"pandas", "plotly"}


@pytest.mark.slow
@pytest.mark.parametrize("before", ["enable", "disable"])
def test_the_collection_of_garbage_is_left_as_it_was(before: str):
    code = f"import gc, trp_search; gc.{before}(); trp_search.decompose; print(gc.isenabled())"
    assert loaded(code) == [str(before == "enable")]


@pytest.mark.slow
def test_a_bundle_loads_without_compilers_and_tables():
    assert loaded(OPENS.format(bundle=str(BUNDLE))) == []
