"""Cuts: how trained weights become ranks."""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass as checked

from trp_search.records.keep import Keep, WholeNetwork
from trp_search.records.keeps import OF_VALUES, Error, MaxDrop, Pairs, Ranks, Ratio, Speedup
from trp_search.records.kinds import (
    STRICT,
    Allocation,
    Criterion,
    CutScheme,
    PairScheme,
    PositiveInt,
    Reconstruct,
)
from trp_search.records.layers import AUTO, Layers

# What each scheme of a cut takes beside an amount to keep; `trained`: what a training left for it.
TAKES: dict[CutScheme, frozenset[str]] = {
    **dict.fromkeys(get_args(CutScheme), frozenset({"multiple", "ranks", "activations"})),
    "channel": frozenset({"multiple", "ranks", "activations", "reconstruct"}),
    "per-layer": frozenset({"multiple", "pairs", "activations"}),
    "nested": frozenset({"multiple", "ranks", "trained"}),
    "tucker": frozenset({"multiple", "activations"}),
    "prune": frozenset({"multiple", "importance"}),
    "ddlr-style": frozenset({"multiple", "error"}),
    "net-trim": frozenset({"error"}),
}


def _who(option: str) -> str:
    return " or ".join(scheme for scheme, taken in TAKES.items() if option in taken)


@checked(frozen=True, kw_only=True, config=STRICT)
class Cut:
    """How trained weights become ranks.

    Attributes:
        keep: how much is kept; an `Error` is for `ddlr-style` and `net-trim` alone, which take
            nothing else; `Ranks` are for schemes with one rank per layer, `Pairs` for `per-layer`;
            both are taken as they are.
        scheme: how kernels are unfolded; `per-layer` takes in each layer what keeps most within a
            budget, or costs least at the ranks that another `keep` gives, `nested` the factors that
            an elastic training left, `tucker` factors both channel axes, `ddlr-style` and
            `net-trim` solve for linear layers, `prune` removes channels.
        allocation: `knapsack` (least sum of lost energies), `greedy` (largest product of kept
            ones), `alds-style` (ALDS's criterion), `pooled` (the largest singular values of all
            layers), or one `energy` or one `uniform` ratio in all layers.
        multiple: ranks are multiples of this.
        calibration_images: training images whose activations weight errors; 0 uses weights alone.
        importance: of `prune`, by what channels are ranked; `leading` ones stand first, as a
            slimmable training leaves them.
        factors: of `prune`, the scheme in which layers are factored once they have lost channels;
            pruning alone then reaches the root of the speedup. None factors nothing.
        reconstruct: whether factors are fitted to the layers' responses to calibration images:
            `linear`, or `relu`, which includes the activation that follows.
        layers: which may be cut, as in `Pruning`.
        reestimate_batch_norm: whether statistics are estimated again, unless the cut discards
            nothing.
        batch_norm_images: how many training images for that.
    """

    keep: Keep
    scheme: CutScheme = "channel"
    allocation: Allocation = "knapsack"
    multiple: PositiveInt = 1
    calibration_images: Annotated[int, Field(ge=0)] = 0
    importance: Criterion | None = None
    factors: PairScheme | None = None
    reconstruct: Reconstruct = "none"
    layers: Layers = AUTO
    reestimate_batch_norm: bool = True
    batch_norm_images: PositiveInt = 2048

    @model_validator(mode="after")
    def _as_its_scheme(self) -> Cut:
        takes = TAKES[self.scheme]
        if (self.solved is not None) != ("error" in takes):
            raise ValueError(f"error goes with scheme {_who('error')}, and these with error")
        if isinstance(self.keep, Ranks | Pairs) and self.keep.key() not in takes:
            wanted = _who(self.keep.key())
            raise ValueError(
                f"{self.keep.key()} by layer are for scheme {wanted}, not {self.scheme}"
            )
        if (self.solved or self.reconstruct != "none") and not self.calibration_images:
            raise ValueError("error and reconstruct need calibration_images")
        if self.reconstruct != "none" and "reconstruct" not in takes:
            raise ValueError(f"reconstruct is for scheme {_who('reconstruct')}, not {self.scheme}")
        if self.allocation == "pooled" and self.scheme == "per-layer":
            raise ValueError(
                "allocation: pooled compares singular values of one scheme, and "
                "per-layer has several"
            )
        if self.scheme == "cp" and isinstance(self.keep, OF_VALUES):
            raise ValueError(f"{self.keep.key()}: cp has no singular values")
        if self.multiple > 1 and "multiple" not in takes:
            raise ValueError(f"multiple is of ranks, and {self.scheme} has none")
        return self

    @model_validator(mode="after")
    def _with_importance(self) -> Cut:
        if (self.importance is not None) != ("importance" in TAKES[self.scheme]):
            raise ValueError(f"importance goes with scheme {_who('importance')}, and that with it")
        if self.importance and not isinstance(self.keep, WholeNetwork | Ratio | MaxDrop):
            raise ValueError(f"keep: {self.keep.key()}: prune takes a budget or a ratio")
        if self.importance and self.allocation not in ("knapsack", "uniform"):
            raise ValueError(f"allocation: prune takes knapsack or uniform, not {self.allocation}")
        if self.factors and not (self.importance and isinstance(self.keep, Speedup | MaxDrop)):
            raise ValueError("factors goes with scheme prune and a speedup")
        if self.fits and not self.calibration_images:
            raise ValueError(f"importance {self.importance} needs calibration_images")
        return self

    @property
    def solved(self) -> Error | None:
        """The error that layers are solved for on calibration images, if they are."""
        return self.keep if isinstance(self.keep, Error) else None

    @property
    def fits(self) -> bool:
        """Whether channels are chosen, and the weights that read them fitted, on images."""
        return self.importance in ("lasso", "thinet")

    @property
    def weighs(self) -> bool:
        """Whether activations may weight its errors."""
        return "activations" in TAKES[self.scheme]

    @property
    def pools(self) -> bool:
        """Whether the singular values of all layers compete, whatever is kept; by weights alone."""
        return self.allocation == "pooled"

    @property
    def name(self) -> str:
        """Short: `3x`, `channel-0.9`; says what is unlike most cuts of its kind."""
        budget = isinstance(self.keep, WholeNetwork)
        told = self.scheme != "per-layer" and not isinstance(self.keep, Ranks)
        parts: list[str] = [self.scheme] if told else []
        parts.append(self.keep.name)
        parts += [one for one in (self.importance, self.factors) if one]
        if self.allocation != "knapsack" and (budget or self.pools):
            parts.append(self.allocation)
        parts += [f"by-{self.multiple}"] if self.multiple > 1 else []
        if self.weighs and budget != (self.calibration_images > 0):
            parts.append("weights-only" if budget else "aware")
        parts += [f"fitted-{self.reconstruct}"] if self.reconstruct != "none" else []
        return "-".join(parts)
