"""What a method is to the rest: entries that it reads, what these come to, how it trains."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from trp_search import records

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trp_search.training.hook import Hook

Fields: TypeAlias = Mapping[str, Any]

# Where an entry asks for calibration and does not say how many images.
IMAGES = 1000

EVERY = frozenset({"method", "layers", "reestimate_batch_norm", "batch_norm_images"})
EVERY |= {"fine_tuning_epochs", "fine_tuning_learning_rate"}
EVERY |= {"distillation", "distillation_temperature"}
_SOLVED = {records.Error.key()}
_TRAINED = records.KEEPS.keys() - _SOLVED
AMOUNT = frozenset({*_TRAINED, *(f"cut_{name}" for name in _TRAINED), "multiple"})
PAIRS = AMOUNT | {"scheme", "allocation", "calibration_images", "reconstruct"}
SOLVED = frozenset({*_SOLVED, "calibration_images"})


class Method(ABC):
    """One way to make a network small. Stateless; `METHODS` holds one of each.

    Attributes:
        name: in YAML, points and specifications.
        label: on the page.
        colour: on the page; None is the scheme's.
        reads: the entries of a space, other than a training's, that matter to it.
        trains: whether it trains before the cut; else it cuts the baseline.
        passes: of a batch through the network in one step of its training.
    """

    name: records.Method
    label: str
    colour: str | None = None
    reads: frozenset[str]
    trains: bool = False
    passes: int = 1

    @abstractmethod
    def cut(self, fields: Fields) -> records.Cut:
        """What the trained network is cut by; `fields` of a cut are what entries say."""

    def pruning(self, fields: Fields) -> records.Pruning | None:
        """Settings of its truncations, if it trains with such."""
        del fields
        return None

    def joint(self, fields: Fields) -> records.Joint | None:
        """Settings of its joint loss, if it trains by one."""
        del fields
        return None

    def again(self, scheme: records.CutScheme) -> Fields:
        """Scheme and allocation of further cuts of weights whose own cut is by `scheme`."""
        del scheme
        return {"scheme": "per-layer", "allocation": "knapsack"}

    def problems(self, possible: Mapping[str, tuple[Any, ...]]) -> Iterator[tuple[str, str]]:
        """Each entry of a space that it cannot train or cut with, and why.

        `possible` are the values that each given entry can have.
        """
        del possible
        yield from ()

    def called(self, settings: Fields) -> str:
        """What a point of these settings is called."""
        del settings
        return self.label

    def hook(
        self, network: nn.Module, spec: records.TrialSpec, example_input: Tensor
    ) -> Hook | None:
        """What it does in the training of `network`, if anything.

        Raises:
            InputError: the network has nothing for it to do.
        """
        del network, spec, example_input
        return None


def pairs(fields: Fields) -> records.Cut:
    """A cut into pairs; factors of channels alone are fitted to responses."""
    fields = dict(fields)
    if fields["scheme"] != "channel":
        fields.pop("reconstruct", None)
    if fields.get("reconstruct", "none") != "none":
        fields["calibration_images"] = fields.get("calibration_images") or IMAGES
    return records.Cut(**fields)
