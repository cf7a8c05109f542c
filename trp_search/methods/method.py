"""The interface of a method: the entries it reads, its settings from them, its training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from typing_extensions import override

from trp_search import records

if TYPE_CHECKING:
    from trp_search.training.hook import Beginning, Hook

Fields: TypeAlias = Mapping[str, Any]

# Calibration images where an entry asks for calibration without a number.
IMAGES = 1000

EVERY = frozenset({"method", "layers", "reestimate_batch_norm", "batch_norm_images"})
EVERY |= {"served_precision"}
EVERY |= {"fine_tuning_epochs", "fine_tuning_learning_rate"}
EVERY |= {"distillation", "distillation_temperature"}
_SOLVED = {records.Error.key()}
_TRAINED = records.KEEPS.keys() - _SOLVED - records.TIMED.keys()
AMOUNT = frozenset({*_TRAINED, *(f"cut_{name}" for name in _TRAINED), "multiple"})
# Only pairs are timed.
TIME = frozenset({*records.TIMED, *(f"cut_{name}" for name in records.TIMED)})
PAIRS = AMOUNT | TIME | {"scheme", "allocation", "calibration_images", "reconstruct"}
SOLVED = frozenset({*_SOLVED, "calibration_images"})


class Method(ABC):
    """One way to compress a network. Stateless; `METHODS` holds one of each.

    Attributes:
        name: in YAML, points and specifications.
        label: on the page.
        colour: on the page; None is the scheme's.
        scheme: of its cuts, if that is no other method's; None is the method's name or a pair's.
        symbol: plotly's, of what is cut by its own scheme.
        reads: the entries of a space that the method reads, other than a training's.
        trains: whether the method trains before the cut; else it cuts the baseline.
        passes: passes of a batch through the network per training step.
        part: the field of a trial's specification that holds what the method trains by; None if it
            trains as usual or not at all.
        any_budget: whether it trains one network for a range of budgets.
        any_ranks: whether it trains for any ranks, so that these are searched once it has.
    """

    name: records.MethodName
    label: str
    colour: str | None = None
    scheme: records.CutScheme | None = None
    symbol: str = "star-diamond"
    reads: frozenset[str]
    trains: bool = False
    passes: int = 1
    part: str | None = None
    any_budget: bool = False
    any_ranks: bool = False

    @abstractmethod
    def cut(self, fields: Fields) -> records.Cut:
        """The cut of the trained network; `fields` of the cut come from the entries."""

    def trained(self, fields: Fields) -> records.Way:
        """The settings that the method trains by; of a method with a `part`."""
        raise NotImplementedError

    def again(self, *, scheme: records.CutScheme, allocation: records.Allocation) -> Fields:
        """Scheme and allocation of further cuts of weights whose own cut is by these."""
        del scheme, allocation
        return {"scheme": "per-layer", "allocation": "knapsack"}

    def problems(self, possible: Mapping[str, tuple[Any, ...]]) -> Iterator[tuple[str, str]]:
        """Each entry of a space that the method cannot train or cut with, and the reason.

        `possible` are the values that each given entry can have.
        """
        del possible
        yield from ()

    def called(self, settings: Fields) -> str:
        """The display name of a point with these settings."""
        del settings
        return self.label

    def hook(self, begun: Beginning) -> Hook | None:
        """The method's hook in a training, if any.

        Raises:
            InputError: the method has nothing to do on the network.
        """
        del begun
        return None


def out_of_order(
    possible: Mapping[str, tuple[Any, ...]],
    prefix: str,
    kind: type[records.Joint | records.Elastic],
) -> Iterator[tuple[str, str]]:
    """As `Method.problems`: that the entry `PREFIX_lowest` can be above `PREFIX_highest`."""
    lowest, highest = f"{prefix}_lowest", f"{prefix}_highest"
    most = max(possible.get(lowest, (kind.lowest,)))
    least = min(possible.get(highest, (kind.highest,)))
    if most > least:
        yield lowest, f"can be {most:g}, above {highest}, which can be {least:g}"


class Factored(Method):
    """Cuts the baseline, from weights alone, by the decomposition that has the method's name."""

    reads = EVERY | AMOUNT | {"allocation"}

    @override
    def cut(self, fields: Fields) -> records.Cut:
        return records.Cut(**{**fields, "scheme": self.name})


def pairs(fields: Fields) -> records.Cut:
    """A cut into pairs; only channel factors are fitted to responses."""
    fields = dict(fields)
    if "reconstruct" not in records.TAKES[fields["scheme"]]:
        fields.pop("reconstruct", None)
    if fields.get("reconstruct", "none") != "none":
        fields["calibration_images"] = fields.get("calibration_images") or IMAGES
    return records.Cut(**fields)
