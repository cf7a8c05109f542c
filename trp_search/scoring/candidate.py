"""From trained weights and a cut to a scored network, or the reason for no score."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from trp_search.errors import InputError
from trp_search.lowrank.agreement import agree
from trp_search.lowrank.analysis import Analysis
from trp_search.lowrank.budgets import Count
from trp_search.lowrank.cutting import Cutter
from trp_search.lowrank.decompose import Decomposed
from trp_search.records import Cut, Layer, Widths
from trp_search.scoring.batch_norm import reestimate
from trp_search.scoring.flops import count
from trp_search.scoring.sizes import weight_bytes
from trp_search.tasks.task import DivergedError, Evaluation, Task
from trp_search.workloads.data import Shape, Splits, Train, Validation

_BATCH = 256
_NOTHING = 1e-3  # of a layer's energy; right after a truncation a cut takes 1e-9 to 1e-6


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Costs of one image, and sizes of the stored network; `counted` as in `Count.note`."""

    macs: int
    parameters: int
    bytes: int
    counted: str | None = None


@dataclass(frozen=True, kw_only=True)
class CompressedNetwork:
    """A network as shipped."""

    network: nn.Module
    layers: tuple[Layer, ...]
    cost: Cost
    batch_norm: str
    widths: Widths = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A network and its result on validation."""

    made: CompressedNetwork
    validation: Evaluation


class Cuts:
    """Scores the cuts of a trained network; work common to all cuts is done once.

    Budgets in time need the `times` of layers.
    """

    def __init__(
        self, network: nn.Module, splits: Splits, task: Task, *, times: Count | None = None
    ) -> None:
        self._splits, self._task = splits, task
        self._dense = cost_of(network, splits).macs
        self._cutter = Cutter(
            network,
            _example(splits, network),
            macs=self._dense,
            samples=splits.train.calibration,
            times=times,
        )
        self._ranks: dict[tuple[object, ...], str] = {}

    def score(self, wanted: Cut, *, images: int | None = None) -> Scored:
        """The cut network, batch norm measured again if the cut says so, scored on validation.

        Args:
            wanted: how to cut.
            images: number of validation images; all by default.

        Raises:
            InputError: the budget is out of reach, or what was saved is counted in two ways.
            DivergedError: a loss that is not finite.
        """
        decomposed = self._cutter.cut(wanted)
        self._seen(wanted, decomposed)
        validation = self._splits.validation
        seen = validation if images is None else validation.sample(images)
        return _scored(self._settled(decomposed, wanted), seen, self._task)

    def analysis(self, wanted: Cut) -> Analysis:
        """What the cut chooses from; raises as `score` does."""
        return self._cutter.analysis(wanted)

    def screen(self, wanted: Sequence[Cut], *, images: int) -> Screening:
        """Scores all cuts on a sample of `images` validation images, survivors on the full set.

        A cut falls back when one that is at least as fast is better on the sample by more than a
        standard error of the difference. A cut with the ranks of an earlier one is skipped.
        """
        sample = self._splits.validation.sample(images)
        ran: list[tuple[Cut, Scored]] = []
        refused: dict[str, str] = {}
        for cut_ in wanted:
            try:
                decomposed = self._cutter.cut(cut_)
                same = self._seen(cut_, decomposed)
                if same is None:
                    scored = _scored(self._settled(decomposed, cut_), sample, self._task)
                    ran.append((cut_, scored))
                else:
                    refused[cut_.name] = f"the same network as {same}"
            except (InputError, DivergedError) as error:
                refused[cut_.name] = str(error)
        everything = self._splits.validation
        survivors, behind = [], []
        for cut_, scored in ran:
            if any(_overtakes(other, scored, self._task) for _, other in ran):
                behind.append((cut_, scored))
            else:
                more = len(sample) < len(everything)
                again = _scored(scored.made, everything, self._task) if more else scored
                survivors.append((cut_, again))
        return Screening(survivors=survivors, behind=behind, refused=refused)

    def _seen(self, wanted: Cut, decomposed: Decomposed) -> str | None:
        """The name of an earlier cut with these ranks and the same weighting, if any."""
        ranks = tuple((layer.scheme, layer.rank_in, layer.rank) for layer in decomposed.layers)
        images = wanted.calibration_images
        key = (
            wanted.importance,
            images,
            wanted.reconstruct,
            wanted.solved,
            wanted.reestimate_batch_norm,
            ranks,
        )
        name = self._ranks.setdefault(key, wanted.name)
        return None if name == wanted.name else name

    def _settled(self, decomposed: Decomposed, wanted: Cut) -> CompressedNetwork:
        cost = cost_of(decomposed.network, self._splits, layers=decomposed.layers)
        expected = self._dense - (decomposed.dense_macs - decomposed.macs)
        if not agree(cost.macs, expected):
            raise InputError(
                f"no speedup can be stated: fvcore counts {cost.macs:,} multiply-adds for an image "
                f"of the cut network, torch's counter {expected:,}"
            )
        return CompressedNetwork(
            network=decomposed.network,
            layers=decomposed.layers,
            widths=decomposed.widths,
            batch_norm=_settle_batch_norm(decomposed, wanted, self._splits.train),
            cost=cost,
        )


@dataclass(frozen=True, kw_only=True)
class Screening:
    """The outcome of cuts compared with each other.

    Attributes:
        survivors: scored on every validation image.
        behind: scored on the sample only.
        refused: by the cut's name, why it gave no network.
    """

    survivors: Sequence[tuple[Cut, Scored]]
    behind: Sequence[tuple[Cut, Scored]]
    refused: Mapping[str, str]


def _overtakes(one: Scored, other: Scored, task: Task) -> bool:
    faster = one.made.cost.macs <= other.made.cost.macs
    return faster and task.overtakes(one.validation.score, other.validation.score)


def score_uncut(
    network: nn.Module, splits: Splits, task: Task, *, batch_norm: str = "as trained"
) -> Scored:
    """Scores `network` as it is; raises as `Cuts.score` does."""
    made = CompressedNetwork(
        network=network, layers=(), batch_norm=batch_norm, cost=cost_of(network, splits)
    )
    return _scored(made, splits.validation, task)


def settle_(network: nn.Module, train: Train, images: int) -> str:
    """Estimates batch-norm statistics anew, in place; says so."""
    seen = reestimate(network, train.samples(images, batch_size=_BATCH))
    return f"re-estimated on {seen} training images" if seen else "none in the network"


def cost_of(network: nn.Module, splits: Splits, *, layers: Sequence[Layer] = ()) -> Cost:
    """Multiply-adds, parameters and bytes, less the zeros of the sparse ones of `layers`."""
    return cost(network, _example(splits, network), layers=layers)


def cost(network: nn.Module, image: Tensor, *, layers: Sequence[Layer] = ()) -> Cost:
    """As `cost_of`, for one image."""
    found = count(network, image)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    sparse = [layer for layer in layers if layer.is_sparse]  # fvcore counts them as dense
    return Cost(
        macs=found.macs - sum(layer.dense_macs - layer.macs for layer in sparse),
        parameters=parameters - sum(x.dense_parameters - x.parameters for x in sparse),
        bytes=weight_bytes(network, layers),
        counted=found.note,
    )


def example(shape: Shape, device: str) -> Tensor:
    """One image of zeros, (1, c, h, w)."""
    return torch.zeros(1, shape.channels, shape.height, shape.width, device=device)


def _example(splits: Splits, network: nn.Module) -> Tensor:
    return example(splits.shape, str(next(network.parameters()).device))


def _settle_batch_norm(decomposed: Decomposed, cut: Cut, train: Train) -> str:
    if cut.reconstruct != "none":
        return "fitted with the factors"  # measuring again would undo part of the fit
    if not cut.reestimate_batch_norm or not any(_took(layer) for layer in decomposed.layers):
        return "as trained"
    return settle_(decomposed.network, train, cut.batch_norm_images)


def _took(layer: Layer) -> bool:
    """Whether the cut removed anything from a layer that training had not removed."""
    if layer.scheme is None:
        return False
    return layer.kept.get(layer.scheme, 0.0) < 1 - _NOTHING


def _scored(made: CompressedNetwork, images: Validation, task: Task) -> Scored:
    result = task.evaluate(made.network, images.batches(_BATCH))
    if not math.isfinite(result.loss):
        raise DivergedError("the validation loss is not finite")
    return Scored(made=made, validation=result)
