"""Opens a bundle: the one place that decides what a bundle may hold. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from trp_search.errors import InputError
from trp_search.export.bundle import (
    WEIGHTS,
    Architecture,
    Card,
    present,
    read_architecture,
    read_card,
)
from trp_search.store import NESTED

# Of an m x n matrix they have m n numbers each at most, and weights may have half their precision.
_NESTED_MOST, _HEADER = 5, 1 << 20


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A bundle's records; nothing that they name is called, imported or downloaded.

    Attributes:
        folder: where it is.
        architecture: the network that its weights fit.
        card: provenance and metrics, which are a claim.
        shapes: the shape of every tensor in the file of weights, from its header alone.
    """

    folder: Path
    architecture: Architecture
    card: Card
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def weights(self) -> Path:
        """The file of weights."""
        return self.folder / WEIGHTS


def opened(bundle: Path | str) -> Bundle:
    """The bundle in a folder; all files are read and checked but the weights themselves.

    Raises:
        InputError: a file is missing, a link out of the folder, unreadable, of a later format, or
            has a value that no bundle may have.
    """
    folder = Path(bundle)
    _check_nested(folder)
    return Bundle(
        folder=folder,
        architecture=read_architecture(folder),
        shapes=_shapes(present(folder, WEIGHTS)),
        card=read_card(folder),
    )


def _check_nested(folder: Path) -> None:
    """Refuses nested factors from elsewhere, or of more bytes than the weights' can have."""
    if not (folder / NESTED).exists():
        return
    path, weights = present(folder, NESTED), present(folder, WEIGHTS).stat().st_size
    if path.stat().st_size > _NESTED_MOST * weights + _HEADER:
        raise InputError(f"{path}: is too large for nested factors of {WEIGHTS}")


def _shapes(weights: Path) -> dict[str, tuple[int, ...]]:
    try:
        with safe_open(weights, framework="np") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{weights}: not a whole safetensors file: {error}") from None
