"""Settings that vary between trials: one entry each, a value, a range or a list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from trp_search.records import (
    AUTO,
    Allocation,
    ChannelScore,
    Factor,
    Fraction,
    Keep,
    Layers,
    MethodName,
    NonNegative,
    PairScheme,
    Part,
    Positive,
    PositiveInt,
    Precision,
    Pruning,
    Reconstruct,
    Share,
    Start,
)
from trp_search.space import entries
from trp_search.space.entries import (
    Choice,
    ChoiceOfLists,
    ChoiceOfMappings,
    Entry,
    Number,
    NumberOr,
    PerScheme,
)
from trp_search.space.settings import ENTRIES, SERVED, SOLVED, TRAINED

Images = Annotated[int, Field(ge=0)]
Above = Annotated[Factor, Field(gt=1)]


class Strict(BaseModel):
    """Frozen, and a key that it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TrainingEntries(Strict):
    """A trial's training; settings that it does not name are the recipe's.

    A trial that starts from a baseline trained by the recipe has a quarter of its epochs and a
    fifth of its learning rate.
    """

    epochs: PerScheme[Number[PositiveInt]] | None = None
    batch_size: PerScheme[Number[PositiveInt]] | None = None
    learning_rate: PerScheme[Number[Positive]] | None = None
    momentum: PerScheme[Number[Fraction]] | None = None
    nesterov: PerScheme[Choice[bool]] | None = None
    weight_decay: PerScheme[Number[NonNegative]] | None = None
    schedule: PerScheme[Choice[Literal["cosine", "step", "constant"]]] | None = None
    milestones: PerScheme[ChoiceOfLists[float]] | None = None
    gamma: PerScheme[Number[Share]] | None = None
    warmup: PerScheme[Number[Fraction]] | None = None
    label_smoothing: PerScheme[Number[Fraction]] | None = None
    precision: PerScheme[Choice[Literal["float32", "bfloat16"]]] | None = None
    channels_last: PerScheme[Choice[bool]] | None = None
    compile: PerScheme[Choice[bool]] | None = None


def keep_entries(kinds: Mapping[str, type[Keep]], prefix: str = "") -> dict[str, Any]:
    """The fields for how much is kept, one for each kind."""
    found: dict[str, Any] = {}
    choice: Any = Choice
    number: Any = Number
    by_scheme: Any = PerScheme
    for name, kind in kinds.items():
        one = choice[bool] if kind.is_switch() else number[kind.kind_of_amount()]
        found[prefix + name] = ((by_scheme[one] if name in TRAINED else one) | None, None)
    return found


class _Methods(Strict):
    method: Choice[MethodName] = "trp"
    scheme: Choice[PairScheme] = "channel"
    start: PerScheme[Choice[Start]] = "baseline"


class _Truncations(create_model("_Keep", __base__=_Methods, **keep_entries(TRAINED))):  # type: ignore[misc]
    period: PerScheme[NumberOr[PositiveInt, Literal["never"]]] = 20
    projection: PerScheme[Choice[bool]] = True
    nuclear_weight: PerScheme[Number[NonNegative]] | None = None
    nuclear_every_step: PerScheme[Choice[bool]] = False
    layers: PerScheme[ChoiceOfMappings[Layers]] = AUTO
    truncation_images: PerScheme[Number[Images]] = 0
    truncation_images_every: PerScheme[Number[PositiveInt]] = Pruning.calibration_every


_CUTS = keep_entries(TRAINED, "cut_") | keep_entries(SOLVED)


class Space(create_model("_Cut", __base__=_Truncations, **_CUTS)):  # type: ignore[misc]
    """Settings that vary between trials; see `records.Pruning` and `records.Cut`.

    Attributes:
        method: how a network is made smaller; each reads the entries that concern it. `trp` trains
            with truncations, `nuclear` with the nuclear term alone, `decomposable` with a joint
            loss of the full and a low-rank network (Decomposable-Net), `elastic` trains factors
            nested by rank for all budgets at once, `slimmable` the channels in order of importance
            at all widths; `plain`, `tucker` and `cp` cut the baseline, `ddlr-style` (DDLR-style)
            and `net-trim` its linear layers; `prune` removes channels of the baseline.
        scheme: how a kernel is unfolded into a matrix, and so which two layers replace it;
            `per-layer` takes in each layer the one that keeps most at its cost, in training and at
            the cut.
        start: `baseline` trains from the baseline's weights, `scratch` from new ones.
        period: iterations between truncations (the paper's m).
        projection: whether truncations replace the weights; without it the nuclear term acts alone.
        nuclear_weight: factor of the nuclear norm's sub-gradient per iteration: the paper's lambda
            over its period.
        nuclear_every_step: whether that term acts at every iteration, not only at truncations.
        layers: which may be cut: `kxk` are convolutions wider than 1x1 but the first (the paper's),
            `all`, or `auto`: `kxk` where these hold nearly all multiply-adds, else `all`. Or names
            and patterns: `{exclude: [head, "stem.*"]}`, `{include: ["blocks.*"]}`, in one line
            `all, !head`; a name stands for all below it too.
        truncation_images: training images whose activations weigh errors at truncations in
            training; 0 uses weights alone.
        truncation_images_every: truncations from one measurement of these activations to the next;
            each epoch begins with one.
        allocation: how a budget is divided among layers: `knapsack`, `greedy`, `alds-style`, one
            `energy` or one `uniform` ratio.
        multiple: ranks are multiples of this.
        calibration_images: training images whose activations weigh a cut's errors; 0 uses weights
            alone.
        importance: of `prune` and `slimmable`: by what channels are ranked. `magnitude` (of their
            weights, over each group's mean) or `bn-scale` (batch norms' factors); `prune` takes
            `lasso` (He et al., ICCV 2017) and `thinet` (Luo et al., ICCV 2017) too, which choose by
            what the next layers answer to calibration images and fit those layers' weights.
        factors: of `prune`: how layers are factored once they have lost channels, a scheme or
            `none`; pruning alone then reaches the root of the speedup.
        reconstruct: whether channel factors are fitted to the layers' responses to these images
            (1000 if there are none): `linear`, or `relu`, which includes the activation that
            follows.
        joint_alpha: of `decomposable`: the low-rank network's weight in the loss.
        joint_lowest: the smallest share of all singular values that an iteration keeps.
        joint_highest: the largest.
        joint_rank_min: the smallest rank of a layer.
        elastic_lowest: of `elastic`: the smallest speedup that is trained, 1.5 by default.
        elastic_highest: the largest, 6 by default, or what can be reached if that is less.
        elastic_spread: how far a layer's rank may lie from that of the budget drawn: standard
            deviation in steps of the 24 budgets between these, 1 by default.
        elastic_images: training images whose activations weigh the factors that it begins with, 512
            by default.
        slimmable_highest: of `slimmable`: the speedup of the narrowest network that is trained, 6
            by default, or what can be reached if that is less.
        fine_tuning_epochs: epochs of fine-tuning after the cut, taken from the trial's own epochs
            if it trains before the cut; the cut without it is a point too.
        fine_tuning_learning_rate: its highest rate; a fifth of the recipe's by default.
        distillation: share of the loss, before and after the cut, that is the distance to the
            baseline's answers (Hinton et al.); the rest is the distance to the labels.
        distillation_temperature: divides both networks' logits in that distance.
        reestimate_batch_norm: whether batch-norm statistics are estimated again after a cut, unless
            the cut discards nothing, as after truncations in training.
        batch_norm_images: how many training images for that.
        precision: of a trial's own network where it runs: `int8` quantises it for the runtime of
            `target`, else the first of `int8`, else ONNX Runtime, and scores it there; its float32
            network is a point as well. In a warm start it is `served_precision`.
        training: a trial's own training.
    """

    allocation: PerScheme[Choice[Allocation]] = "knapsack"
    multiple: PerScheme[Number[PositiveInt]] = 1
    calibration_images: PerScheme[Number[Images]] = 0
    importance: Choice[ChannelScore] | None = None
    factors: Choice[Literal["none"] | PairScheme] | None = None
    reconstruct: PerScheme[Choice[Reconstruct]] | None = None
    joint_alpha: PerScheme[Number[Part]] | None = None
    joint_lowest: PerScheme[Number[Share]] | None = None
    joint_highest: PerScheme[Number[Share]] | None = None
    joint_rank_min: PerScheme[Number[PositiveInt]] | None = None
    elastic_lowest: PerScheme[Number[Factor]] | None = None
    elastic_highest: PerScheme[Number[Factor]] | None = None
    elastic_spread: PerScheme[Number[NonNegative]] | None = None
    elastic_images: PerScheme[Number[Images]] | None = None
    slimmable_highest: Number[Above] | None = None
    fine_tuning_epochs: PerScheme[Number[Images]] | None = None
    fine_tuning_learning_rate: PerScheme[Number[Positive]] | None = None
    distillation: PerScheme[Number[Part]] = 0.5
    distillation_temperature: PerScheme[Number[Positive]] = 4.0
    reestimate_batch_norm: PerScheme[Choice[bool]] = True
    batch_norm_images: PerScheme[Number[PositiveInt]] = 2048
    precision: Choice[Precision] = "float32"
    training: TrainingEntries = TrainingEntries()

    def named(self) -> dict[str, Entry]:
        """Every entry, given or default, by its parameter's name; method and scheme first."""
        own = {name: getattr(self, name) for name in type(self).model_fields if name != "training"}
        if all(own[name] is None or kind.is_switch() for name, kind in TRAINED.items()):
            own[Pruning.keep.key()] = Pruning.keep.amount
        own[SERVED] = own.pop("precision")
        every = own | self.named_training()
        return {name: every[name] for name in ENTRIES if every.get(name) is not None}

    def named_training(self) -> dict[str, Entry]:
        """The training entries that are given."""
        fields = TrainingEntries.model_fields
        every = {name: getattr(self.training, name) for name in fields}
        return {name: entry for name, entry in every.items() if entry is not None}

    def key(self, name: str) -> str:
        """The key in the file of the entry whose parameter is `name`."""
        part = "space.training" if name in self.named_training() else "space"
        return f"{part}.{'precision' if name == SERVED else name}"

    @property
    def schemes(self) -> tuple[PairScheme, ...]:
        """Those that can be drawn."""
        schemes: tuple[Any, ...] = entries.values(self.named()["scheme"])
        return schemes

    @property
    def methods(self) -> tuple[MethodName, ...]:
        """Those that can be drawn."""
        methods: tuple[Any, ...] = entries.values(self.named()["method"])
        return methods

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """Those that can be drawn."""
        precisions: tuple[Any, ...] = entries.values(self.named()[SERVED])
        return precisions
