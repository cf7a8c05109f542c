"""The values that pass between stages: frozen, checked, JSON both ways, no torch."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any, Literal, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass as checked

Scheme = Literal["channel", "spatial", "decoupled"]
CutScheme = Literal["channel", "spatial", "decoupled", "per-layer"]
Spread = Literal["knapsack", "greedy", "least-worst", "energy", "uniform"]
Layers = Literal["kxk", "all"]
Start = Literal["baseline", "scratch"]
Role = Literal["baseline", "control", "trial", "derived", "raced", "refit"]

PositiveInt = Annotated[int, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1)]
Speedup = Annotated[float, Field(ge=1, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]

T = TypeVar("T")
_STRICT = ConfigDict(extra="forbid")


@checked(frozen=True, kw_only=True, config=_STRICT)
class NetworkSpec:
    """Which network: a built-in name, a `torchvision.models` name or `package.module:callable`."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)


@checked(frozen=True, kw_only=True, config=_STRICT)
class DataSpec:
    """Which images: `digits`, `cifar10`, `cifar100`, `images` or `package.module:callable`.

    Attributes:
        name: the source.
        root: folder of the files, where the source has any; `~` and `$VARIABLES` are expanded.
        download: whether torchvision may fetch the set into `root`.
        classes: number of classes; needed only by `images` of a missing folder and by callables.
        image_size: side in pixels that images are brought to; None keeps the source's own.
        channels: colour channels.
        subset: how many training images to use (a seeded, class-balanced choice); None uses all.
        heldout_subset: the same for the held-out images.
        validation: share of the training images set aside for validation.
        mean: subtracted from pixels in [0, 1], per channel; None takes the training images' own
            (ImageNet's when streaming). Weights from outside need what they were trained with.
        std: divides what is left; given together with `mean`.
        augment: whether training images are shifted and mirrored.
        stream: read files through workers instead of holding every image in memory.
        workers: loader processes when streaming.
        options: passed to a callable.
    """

    name: str
    root: str | None = None
    download: bool = False
    classes: PositiveInt | None = None
    image_size: PositiveInt | None = None
    channels: PositiveInt | None = None
    subset: PositiveInt | None = None
    heldout_subset: PositiveInt | None = None
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1
    mean: tuple[float, ...] | None = None
    std: tuple[Positive, ...] | None = None
    augment: bool = True
    stream: bool = False
    workers: Annotated[int, Field(ge=0)] = 4
    options: dict[str, Any] = field(default_factory=dict)

    @model_validator(mode="after")
    def _mean_with_std(self) -> DataSpec:
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std are given together")
        if self.mean is not None and self.std is not None and len(self.mean) != len(self.std):
            raise ValueError("mean and std need one number per channel each")
        return self


@checked(frozen=True, kw_only=True, config=_STRICT)
class Workload:
    """A network, what it is trained on and where its weights come from.

    `weights` is None (the run trains the plain network once), `torchvision` (that library's default
    weights) or the path of a safetensors file.
    """

    network: NetworkSpec
    data: DataSpec
    weights: str | None = None


@checked(frozen=True, kw_only=True, config=_STRICT)
class Training:
    """One training: SGD with momentum and a schedule.

    Attributes:
        schedule: `cosine` to zero, `step` (times `gamma` at each of `milestones`) or `constant`.
        milestones: shares of the epochs at which `step` drops.
        warmup: share of the epochs over which the rate rises linearly.
        precision: `bfloat16` is autocast on CUDA; on a CPU it is refused.
    """

    epochs: PositiveInt
    batch_size: PositiveInt = 128
    learning_rate: Positive = 0.1
    momentum: Fraction = 0.9
    nesterov: bool = True
    weight_decay: NonNegative = 1e-4
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    milestones: tuple[Fraction, ...] = (0.5, 0.75)
    gamma: Share = 0.1
    warmup: Fraction = 0.0
    label_smoothing: Fraction = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"
    channels_last: bool = False

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Training:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs momentum above 0")
        return self


@checked(frozen=True, kw_only=True, config=_STRICT)
class Pruning:
    """Trained Rank Pruning during a training (arXiv 1812.02402, 2004.14566).

    Attributes:
        scheme: how a weight is unfolded into a matrix.
        energy: share of squared singular values that a truncation keeps.
        speedup: what truncations aim at in place of an energy: ranks are chosen anew over all
            layers each time so that the network would run this many times fewer multiply-adds.
        period: iterations between truncated SVDs (the paper's m); None is never.
        projection: whether the weight is replaced by its truncation.
        nuclear_weight: factor of U V^T in the gradient (the paper's lambda); 0 is off.
        nuclear_every_step: add U V^T at every iteration, not only at every `period`-th.
        layers: `kxk` (the paper's: every convolution wider than 1x1 but the first) or `all`.
    """

    scheme: Scheme = "channel"
    energy: Share = 0.95
    speedup: Speedup | None = None
    period: PositiveInt | None = 20
    projection: bool = True
    nuclear_weight: NonNegative = 0.0
    nuclear_every_step: bool = False
    layers: Layers = "all"


@checked(frozen=True, kw_only=True, config=_STRICT)
class Cut:
    """How trained weights become ranks. Exactly one of the first six says how much is kept.

    Attributes:
        energy: this share of each layer's squared singular values.
        value: singular values at or above this.
        ratio: this share of each layer's full rank.
        evbmf: what stands out of noise (empirical variational Bayesian matrix factorisation).
        speedup: what fits multiply-adds before / after, spread over layers by `spread`.
        parameters: what fits this many parameters, spread in the same way.
        scheme: how kernels are unfolded; `per-layer` takes in each layer what keeps most.
        spread: `knapsack` (least sum of lost energies), `greedy` (largest product of kept ones),
            `least-worst` (ALDS's criterion), or one `energy` or one `uniform` ratio in all layers.
        multiple: ranks are multiples of this.
        calibration_images: training images whose activations weigh what is lost; 0 looks at
            weights alone.
        layers: `kxk` or `all`.
        reestimate_batch_norm: whether statistics are measured again after the cut.
        batch_norm_images: on how many training images.
    """

    energy: Share | None = None
    value: Positive | None = None
    ratio: Share | None = None
    evbmf: bool = False
    speedup: Speedup | None = None
    parameters: PositiveInt | None = None
    scheme: CutScheme = "channel"
    spread: Spread = "knapsack"
    multiple: PositiveInt = 1
    calibration_images: Annotated[int, Field(ge=0)] = 0
    layers: Layers = "all"
    reestimate_batch_norm: bool = True
    batch_norm_images: PositiveInt = 2048

    @model_validator(mode="after")
    def _one_amount(self) -> Cut:
        amounts = (self.energy, self.value, self.ratio, self.speedup, self.parameters)
        if sum(amount is not None for amount in amounts) + self.evbmf != 1:
            raise ValueError(
                "a cut needs exactly one of energy, value, ratio, evbmf, speedup and parameters"
            )
        return self

    @property
    def name(self) -> str:
        """Short: `per-layer-2x-aware`, `channel-0.9`."""
        amount = {
            "": self.energy,
            "value-": self.value,
            "ratio-": self.ratio,
            "parameters-": self.parameters,
        }
        parts = [f"{key}{value:g}" for key, value in amount.items() if value is not None]
        if self.speedup is not None:
            parts.append(f"{self.speedup:g}x")
        if self.evbmf:
            parts.append("evbmf")
        if self.speedup is not None or self.parameters is not None:
            parts += [self.spread] if self.spread != "knapsack" else []
        parts += [f"by-{self.multiple}"] if self.multiple > 1 else []
        parts += ["aware"] if self.calibration_images else []
        return "-".join([self.scheme, *parts])


@checked(frozen=True, kw_only=True, config=_STRICT)
class TrialSpec:
    """Everything one training and its scores depend on.

    `name` is the folder under `trials/`: an Optuna number (`7`), a repeat of it (`7r1`) or
    `baseline`. `pruning` is None for a plain training. Each of `cuts` becomes a point; those of
    `race` run against each other, first on `race_images` validation images, and one that is out of
    reach is left out. An uncut network is scored as well when `score_uncut`. `baseline` names the
    trial whose weights a start from the baseline takes. With `fit_on_validation` validation images
    are trained on.
    """

    name: str
    seed: int
    start: Start
    workload: Workload
    training: Training | None
    pruning: Pruning | None
    cuts: tuple[Cut, ...]
    race: tuple[Cut, ...] = ()
    race_images: PositiveInt = 1000
    score_uncut: bool = False
    threads: PositiveInt = 1
    device: Literal["cpu", "cuda"] = "cpu"
    split_seed: int = 0
    baseline: str = "baseline"
    fit_on_validation: bool = False


@checked(frozen=True, kw_only=True, config=_STRICT)
class EpochReport:
    """One epoch of one trial; `loss` is None when it was not finite."""

    trial: str
    epoch: int
    epochs: int
    loss: float | None
    accuracy: float
    learning_rate: float
    seconds: float


@checked(frozen=True, kw_only=True, config=_STRICT)
class Layer:
    """One layer of a cut network: its rank, or why it is dense; multiply-adds are per image.

    `kept` is the share of energy that each scheme on offer keeps at what the layer now costs.
    """

    name: str
    scheme: Scheme | None
    rank: int | None
    full_rank: int | None
    macs: int
    dense_macs: int
    parameters: int
    dense_parameters: int
    reason: str | None
    kept: dict[Scheme, float] = field(default_factory=dict)


@checked(frozen=True, kw_only=True, config=_STRICT)
class Point:
    """A scored network. Accuracy is on validation; test lives in its own file.

    Attributes:
        id: unique in the run: `baseline`, `plain-channel-0.9`, a trial's name or that and a cut's.
        role: `trial` points, cut as their trial was told to be, and `derived` ones, further cuts of
            the same weights, make the front; a `raced` one fell back on a sample of the validation
            images and was not scored on more; `control` points are cuts of the plain network; a
            `refit` point was trained on the validation images too: its accuracy says nothing.
        settings: what was varied, flat, for people.
        batch_norm: what was done to the statistics after the cut.
        seconds: training time of the trial.
    """

    id: str
    trial: str
    role: Role
    accuracy: float
    correct: int
    images: int
    loss: float
    macs: PositiveInt
    dense_macs: PositiveInt
    parameters: int
    dense_parameters: int
    scheme: CutScheme | None
    cut: Cut | None
    settings: dict[str, float | int | str | bool | None]
    layers: tuple[Layer, ...]
    batch_norm: str
    seconds: float

    @property
    def speedup(self) -> float:
        """Multiply-adds before / after."""
        return self.dense_macs / self.macs

    @property
    def searched(self) -> bool:
        """Whether a trial made it and it was scored in full, so that it may be on the front."""
        return self.role in ("trial", "derived")


@checked(frozen=True, kw_only=True, config=_STRICT)
class TestScore:
    """Accuracy of one point on the test split, made after every choice."""

    __test__ = False  # not a pytest class

    point: str
    accuracy: float
    correct: int
    images: int


@checked(frozen=True, kw_only=True, config=_STRICT)
class TrialResult:
    """How a trial ended: points, or why there are none (`diverged` or `failed`).

    `refused` says, by name, why a cut that ran for a point is none.
    """

    trial: str
    points: tuple[Point, ...]
    diverged: str | None = None
    failed: str | None = None
    refused: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def ended_well(self) -> bool:
        """Whether the training ended and was scored."""
        return self.failed is None and self.diverged is None


def to_json(record: object) -> str:
    """The record as one line of JSON."""
    return TypeAdapter(type(record)).dump_json(record).decode()


def to_dict(record: object) -> dict[str, Any]:
    """The record as plain JSON values."""
    value: dict[str, Any] = TypeAdapter(type(record)).dump_python(record, mode="json")
    return value


def from_json(kind: type[T], text: str | bytes) -> T:
    """A record of `kind`; raises `pydantic.ValidationError` (a ValueError) when it is not one."""
    return TypeAdapter(kind).validate_json(text)


def problem(error: ValueError) -> str:
    """The first thing that a record refused: field, value given, what is allowed."""
    if not isinstance(error, ValidationError):
        return " ".join(str(error).split())
    first = error.errors(include_url=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['input']!r}: {message[0].lower()}{message[1:]}" if place else message
