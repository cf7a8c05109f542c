"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) as torchvision stores them."""

from __future__ import annotations

from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor
from torchvision.datasets import CIFAR10, CIFAR100
from typing_extensions import override

from trp_search.errors import InputError, one_line
from trp_search.store import exclusive
from trp_search.workloads.collection import Collection

_KINDS: dict[str, type[CIFAR10]] = {"cifar10": CIFAR10, "cifar100": CIFAR100}
_FETCH_SECONDS = 3600.0


@final
class Cifar(Collection):
    """50,000 training and 10,000 held-out images of 32 x 32 pixels under `root`."""

    def __init__(self, name: str, *, root: Path, download: bool) -> None:
        parts = _open(name, root=root, download=download)
        self.labels = torch.tensor([label for part in parts for label in part.targets])
        self.training = len(parts[0].data)
        self._pixels = np.concatenate([part.data for part in parts])

    @override
    def read(self, ids: Tensor) -> Tensor:
        return torch.from_numpy(self._pixels[ids.numpy()]).permute(0, 3, 1, 2).contiguous()


def is_whole(name: str, *, root: Path) -> bool:
    """Whether `root` holds all files of the set; downloads nothing."""
    try:
        _KINDS[name](str(root), train=False)
    except (RuntimeError, OSError):
        return False
    return True


def _open(name: str, *, root: Path, download: bool) -> list[CIFAR10]:
    kind = _KINDS[name]
    try:
        return [kind(str(root), train=train) for train in (True, False)]
    except (RuntimeError, OSError):
        if not download:
            raise InputError(
                f"workload.data.root: '{root}' holds no whole {name}; a search with download: true "
                "fetches it"
            ) from None
    try:
        root.mkdir(parents=True, exist_ok=True)
        # Trials start together; one of them fetches.
        with exclusive(root / ".lock", wait_seconds=_FETCH_SECONDS, holder="is being fetched"):
            return [kind(str(root), train=train, download=True) for train in (True, False)]
    except (RuntimeError, OSError) as error:
        raise InputError(
            f"workload.data.download: {name} cannot be fetched into '{root}': {one_line(error)}"
        ) from None
