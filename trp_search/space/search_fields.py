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
Above = Annotated[float, Field(gt=1, allow_inf_nan=False)]


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
    milestones: PerScheme[ChoiceOfLists[Fraction]] | None = None
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
        method: how a network is made smaller; each method reads the entries that concern it. `trp`
            trains with truncations, `nuclear` with the nuclear term alone, `decomposable` with a
            joint loss of the full and a low-rank network (Decomposable-Net), `elastic` trains
            factors nested by rank for all budgets at once, `slimmable` channels in order of
            importance for all widths at once; `plain`, `tucker` and `cp` cut the baseline,
            `ddlr-style` (DDLR-style) and `net-trim` its linear layers; `prune` removes channels of
            the baseline.
        scheme: how a kernel is unfolded into a matrix, which decides the two layers that replace
            it; `per-layer` takes in each layer the scheme that keeps most within a budget, or costs
            least at the ranks that `energy` and the like give, in training and at the cut.
        start: `baseline` trains from the baseline's weights, `scratch` from new ones.
        period: iterations between truncations (the paper's m).
        projection: whether truncations replace the weights; without it the nuclear term acts alone.
        nuclear_weight: factor of the nuclear norm's sub-gradient per iteration: the paper's lambda
            over its period.
        nuclear_every_step: whether the nuclear term acts at every iteration, not only at
            truncations.
        layers: the layers that may be cut: `kxk` (convolutions wider than 1x1 but the first, as in
            the paper), `all`, or `auto`: `kxk` where these hold three quarters of the multiply-adds
            that can be cut, else `all`. Or names and patterns: `{exclude: [head, "stem.*"]}`,
            `{include: ["blocks.*"]}`, in one line `all, !head`; a name stands for all below it too.
        truncation_images: training images whose activations weight errors at truncations in
            training; 0 uses weights alone.
        truncation_images_every: truncations between two measurements of these activations; each
            epoch begins with a measurement.
        allocation: how a budget is divided among layers: `knapsack`, `greedy`, `alds-style`, one
            `energy` or one `uniform` ratio for all, or one threshold on the `pooled` singular
            values of all.
        multiple: ranks are multiples of this.
        calibration_images: training images whose activations weight a cut's errors; 0 uses weights
            alone.
        importance: for `prune` and `slimmable`: how channels are ranked. `magnitude` (of their
            weights, over each group's mean) or `bn-scale` (batch norms' factors); `prune` takes
            `lasso` (He et al., ICCV 2017) and `thinet` (Luo et al., ICCV 2017) too, which choose by
            the next layers' responses to calibration images and fit those layers' weights.
        factors: for `prune`: the scheme that factors layers once they have lost channels, or
            `none`. With a scheme, pruning reaches the square root of the speedup and factoring the
            rest.
        reconstruct: whether channel factors are fitted to the layers' responses to the calibration
            images (1000 if none are asked for): `linear`, or `relu`, which includes the activation
            that follows.
        joint_alpha: for `decomposable`: the low-rank network's weight in the loss.
        joint_lowest: for `decomposable`: the smallest share of all singular values that a step
            keeps.
        joint_highest: for `decomposable`: the largest such share.
        joint_rank_min: for `decomposable`: the smallest rank of a layer.
        elastic_lowest: for `elastic`: the smallest speedup that is trained, 1.5 by default.
        elastic_highest: for `elastic`: the largest speedup that is trained, 6 by default, or the
            largest within reach if that is less.
        elastic_spread: for `elastic`: standard deviation of a layer's budget around the network's,
            in steps of the grid of 24 budgets between these, 1 by default.
        elastic_images: for `elastic`: training images whose activations weight the initial factors,
            512 by default.
        slimmable_highest: for `slimmable`: the speedup of the narrowest network that is trained, 6
            by default, or the largest within reach if that is less.
        fine_tuning_epochs: epochs of fine-tuning after the cut, taken from the trial's own epochs
            if it trains before the cut; the cut without it is a point too.
        fine_tuning_learning_rate: peak learning rate of fine-tuning; a fifth of the recipe's by
            default.
        distillation: weight of the distillation loss, the distance to the baseline's outputs
            (Hinton et al.), before and after the cut; the rest is the loss on the labels.
        distillation_temperature: temperature of both networks' logits in the distillation loss.
        reestimate_batch_norm: whether batch-norm statistics are estimated again after a cut, unless
            the cut discards next to nothing, as after truncations in training.
        batch_norm_images: training images for that estimate.
        precision: the precision in which a trial's network is served: `int8` quantises it for the
            runtime of `target`, else the first of `int8`, else ONNX Runtime, and scores it there;
            its float32 network is a point as well. In a warm start it is `served_precision`.
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
