"""scikit-learn's handwritten digits, included in it: 1,797 images of 8 x 8 pixels."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from trp_search.workloads.choose import balanced
from trp_search.workloads.collection import Collection
from trp_search.workloads.seeds import seeded

_HELD_OUT = 500


@final
class Digits(Collection):
    """The set has no test part of its own: the same 500 images are held out for every seed."""

    def __init__(self) -> None:
        table = torch.from_numpy(np.loadtxt(_file(), delimiter=","))  # 64 pixels and a label a row
        labels = table[:, -1].long()
        held = balanced(labels, _HELD_OUT, generator=seeded("digits"))
        order = held.int().argsort(stable=True)
        pixels = (table[:, :-1].reshape(-1, 8, 8) * (255 / 16)).round().byte()
        self.labels = labels[order]
        self.training = len(labels) - _HELD_OUT
        self._pixels = pixels[order].unsqueeze(1)

    @override
    def read(self, ids: Tensor) -> Tensor:
        return self._pixels[ids]


def _file() -> Path:
    """The file that `load_digits` reads: scikit-learn takes a second of each process to load."""
    found = find_spec("sklearn")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz"
