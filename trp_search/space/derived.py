"""What a trial has that its space does not say in so many words."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

from trp_search.records import Distillation, Training
from trp_search.space.settings import written


def distillation(setting: Mapping[str, Any]) -> Distillation | None:
    """How a trial learns from the baseline's answers, if it does."""
    return Distillation(**written("distillation", setting)) if setting["distillation"] else None


def shortened(recipe: Training) -> Training:
    """The default training of a trial that starts from the baseline."""
    epochs = max(1, round(recipe.epochs / 4))
    return dataclasses.replace(recipe, epochs=epochs, learning_rate=recipe.learning_rate / 5)


def seed_of(seed: int, repeat: int) -> int:
    """One of 2**31 seeds, the same for every setting."""
    digest = hashlib.blake2b(f"{seed}/{repeat}".encode(), digest_size=4).digest()
    return int.from_bytes(digest) >> 1
