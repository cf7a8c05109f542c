"""scikit-learn's handwritten digits, included in it: 1,797 images of 8 x 8 pixels."""

from __future__ import annotations

from typing import final

import torch
from sklearn.datasets import load_digits
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
        data = load_digits()
        labels = torch.from_numpy(data.target).long()
        held = balanced(labels, _HELD_OUT, generator=seeded("digits"))
        order = held.int().argsort(stable=True)
        pixels = (torch.from_numpy(data.images) * (255 / 16)).round().byte()
        self.labels = labels[order]
        self.training = len(labels) - _HELD_OUT
        self._pixels = pixels[order].unsqueeze(1)

    @override
    def read(self, ids: Tensor) -> Tensor:
        return self._pixels[ids]
