"""Scoring a bundle again, on another machine than its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from trp_search.errors import InputError
from trp_search.export.evaluate import evaluate_bundle


def changed(bundle: Path, out: Path, name: str, values: dict[str, Any]) -> Path:
    path = shutil.copytree(bundle, out) / name
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return out


def test_a_bundle_made_on_cuda_is_scored_on_the_cpu_where_there_is_no_gpu(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    copied = changed(bundle, tmp_path / "bundle", "card.json", {"device": "cuda"})
    assert evaluate_bundle(copied) == evaluate_bundle(bundle)


def test_an_absurd_image_size_is_refused_before_memory_is_taken(bundle: Path, tmp_path: Path):
    copied = changed(bundle, tmp_path / "bundle", "architecture.json", {"height": 10**9})
    with pytest.raises(InputError, match="takes images of 1000000000 x 8 pixels; its own have 8"):
        evaluate_bundle(copied)
