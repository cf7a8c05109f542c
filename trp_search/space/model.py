"""A search space as values: fixed and varying settings, and the trial of each draw."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from trp_search.methods import METHODS, uses
from trp_search.records import (
    BASELINE,
    SUFFIXES,
    TAKES,
    USUAL_QUANTIZER,
    Point,
    PositiveInt,
    Pruning,
    QuantizerName,
    Training,
    TrialSpec,
    Workload,
    trial_name,
)
from trp_search.records.objectives import METRICS, OBJECTIVES, Name, Objective
from trp_search.space import cuts, entries
from trp_search.space.derived import distillation, seed_of, shortened
from trp_search.space.entries import Parameter
from trp_search.space.search_fields import Space, Strict
from trp_search.space.sections import (
    ExtraCuts,
    Patience,
    RankSearch,
    Resources,
    Rungs,
    Sampler,
    Timed,
)
from trp_search.space.settings import SERVED, written
from trp_search.store import text

_Given = Annotated[
    Annotated[Literal["paper"], Tag("<value>")]
    | Annotated[dict[str, entries.Scalar], Tag("<setting>")],
    Discriminator(lambda raw: "<setting>" if isinstance(raw, dict) else "<value>"),
]


def _usual_objectives(given: dict[str, Any]) -> tuple[Name, ...]:
    metric: Any = METRICS[given["workload"].task].name
    return metric, "speedup"


class SearchSpace(Strict):
    """The configuration of a search; `load_space` makes one and checks rules between fields.

    Attributes:
        workload: the network, its images and the origin of its weights.
        space: what varies from trial to trial.
        objectives: what Optuna optimises and the front compares; lists are sorted by the first.
        sampler: the algorithm that proposes settings.
        resources: what one trial uses.
        trials: number of trials.
        seed: the seed of every random draw.
        training: the full recipe, for the baseline and for a refit.
        constraints: lower bounds on the metric and speedups, upper bounds on parameters, bytes and
            milliseconds; points outside are kept off the front.
        extra_cuts: further cuts of trained networks.
        rungs: early stopping of trials; none by default.
        patience: early stopping of the whole search; none by default.
        rank_search: a search over ranks of trained networks; by default of elastic ones alone.
        warm_start: settings tried first; entries that a setting leaves out are proposed.
        target: the device and runtime of the objectives, constraints and budgets `latency_speedup`
            and `milliseconds`. Layers are timed there before the first trial, and each network's
            time is predicted from them; the front is timed after the last trial.
        targets: further targets on which the front is timed after the last trial.
        int8: runtimes for which the baseline and the front are quantised after the last trial.
        keep: which checkpoints are kept: those on the `front`; also those `near` it (the second
            front and each scheme's own); or `all`.
        repeats: trainings of each setting, each with its own seed.
        concurrency: trials at a time; None is as many as fit the resources.
        address: a running Ray cluster to join; None starts Ray on this machine.
    """

    workload: Workload
    training: Training
    space: Space = Space()
    objectives: Annotated[tuple[Name, ...], Field(min_length=1)] = Field(
        default_factory=_usual_objectives
    )
    constraints: dict[Name, float] = {}  # noqa: RUF012  pydantic copies it
    sampler: Sampler = Sampler()
    trials: PositiveInt = 16
    repeats: PositiveInt = 1
    extra_cuts: ExtraCuts = ExtraCuts()
    rungs: Rungs | None = None
    patience: Patience | None = None
    rank_search: RankSearch | None = None
    warm_start: tuple[_Given, ...] = ()
    target: Timed | None = None
    targets: tuple[Timed, ...] = ()
    int8: tuple[QuantizerName, ...] = ()
    keep: Literal["front", "near", "all"] = "near"
    concurrency: PositiveInt | None = None
    resources: Resources = Resources()
    address: str | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0

    @property
    def objective_list(self) -> tuple[Objective, ...]:
        """The objectives, in the order of the study's values."""
        return tuple(OBJECTIVES[name] for name in self.objectives)

    @property
    def timed_on(self) -> tuple[Timed, ...]:
        """Every target on which networks are timed after the last trial."""
        return (*((self.target,) if self.target else ()), *self.targets)

    @property
    def quantizer(self) -> QuantizerName | None:
        """The runtime for which trials are quantised; None if none may be in int8."""
        if "int8" not in self.space.precisions:
            return None
        timed = [name for name in SUFFIXES if self.target and name == self.target.runtime]
        return (*timed, *self.int8, USUAL_QUANTIZER)[0]

    @property
    def int8_on_target(self) -> bool:
        """Whether trials may be in int8 and run where `target` is."""
        where = self.target
        return where is not None and (where.runtime, where.device) == (self.quantizer, "cpu")

    @property
    def metric(self) -> Objective:
        """What the task scores networks by."""
        return METRICS[self.workload.task]

    @property
    def batch_sizes(self) -> dict[str, tuple[int, ...]]:
        """Those that trainings can have, by the entry that says so."""
        drawn = self.space.named_training().get("batch_size")
        given = () if drawn is None else entries.values(drawn)
        sizes = tuple(size for size in given if isinstance(size, int))
        found = {"training.batch_size": (self.training.batch_size,)}
        return found | ({"space.training.batch_size": sizes} if sizes else {})

    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters; `method` and `scheme` first, then each entry in turn."""
        schemes, methods = self.space.schemes, self.space.methods
        found: list[Parameter] = []
        for name, entry in self.space.named().items():
            using = frozenset(method for method in methods if uses(method, name))
            only = None if len(using) == len(methods) else using
            parts = entries.parameters(name, entry, schemes=schemes) if using else ()
            found += [dataclasses.replace(part, methods=only) for part in parts]
        return tuple(found)

    def trial_spec(
        self, drawn: Mapping[str, entries.Scalar], *, number: int, repeat: int = 0
    ) -> TrialSpec:
        """The trial of the setting `drawn`; repeats differ in their seed alone."""
        setting = self._resolved(drawn)
        way = METHODS[setting["method"]]
        own = way.cut(written("own", setting) | written("cut", setting))
        trained = {way.part: way.trained(written(way.part, setting))} if way.part else {}
        pruning = trained.get("pruning")
        truncated = isinstance(pruning, Pruning) and pruning.truncates
        training = self._training(setting) if way.trains else None
        fine_tuning = self._fine_tuning(written("fine_tuning", setting))
        return self._spec(
            kind="search",
            name=trial_name(number, repeat),
            number=number,
            repeat=repeat,
            seed=seed_of(self.seed, repeat),
            method=setting["method"],
            start=setting.get("start", "baseline"),
            training=training,
            cuts=(own,),
            distillation=distillation(setting) if training or fine_tuning else None,
            fine_tuning=fine_tuning,
            screening=cuts.further(setting, own, self.extra_cuts, truncated=truncated)
            if way.trains
            else (),
            screening_images=self.extra_cuts.images,
            rungs=self.rungs.epochs(training.epochs) if self.rungs and training else (),
            score_uncut=bool(trained) and pruning is None,  # it is trained as well
            int8=self.quantizer if setting[SERVED] == "int8" else None,
            **trained,
        )

    def baseline_spec(self) -> TrialSpec:
        """The baseline, uncut and cut: the reference for every trial.

        It is trained by the full recipe, or not at all if the workload has weights.
        """
        return self._spec(
            kind="baseline",
            name=BASELINE,
            seed=self.seed,
            start="scratch",
            training=None if self.workload.weights else self.training,
            cuts=cuts.controls(self.space),
            screening=cuts.of_controls(self.space, self.extra_cuts),
            screening_images=self.extra_cuts.images,
            score_uncut=True,
        )

    def searches_ranks(self, spec: TrialSpec) -> RankSearch | None:
        """The search over ranks of the network of a trial, if it may have one.

        Without `rank_search` it is that of the methods that train for any ranks.
        """
        if spec.method is None or not spec.cuts or "ranks" not in TAKES[spec.cuts[0].scheme]:
            return None
        default = RankSearch() if METHODS[spec.method].any_ranks else None
        return self.rank_search or default

    def fine_tuning(self, epochs: int) -> Training | None:
        """So many epochs of fine-tuning, by the recipe at a fifth of its rate; None for none."""
        return self._fine_tuning({"epochs": epochs})

    def violations(self, point: Point) -> dict[str, float]:
        """By how much `point` misses each constraint; at most 0 if it meets it."""
        return {
            name: OBJECTIVES[name].missed(point, bound) for name, bound in self.constraints.items()
        }

    def shortfalls(self, point: Point) -> dict[str, float]:
        """As `violations`, in shares of the bounds, so that their units do not weigh."""
        by = self.violations(point)
        return {name: by[name] / (abs(bound) or 1.0) for name, bound in self.constraints.items()}

    def shortfall(self, point: Point) -> float:
        """By how much a point misses all constraints together; 0 if it meets them."""
        return float(sum(max(0.0, by) for by in self.shortfalls(point).values()))

    def admits(self, point: Point) -> bool:
        """Whether `point` may be on the front of a search: a trial's that meets the constraints."""
        return point.searched and self.allows(point)

    def allows(self, point: Point) -> bool:
        """Whether `point` meets every constraint."""
        return all(by <= 0 for by in self.violations(point).values())

    def dump(self) -> str:
        """The whole space, defaults included, as YAML that loads as an equal one."""
        return text.write_mapping(self.model_dump(mode="json", exclude_none=True))

    def _resolved(self, drawn: Mapping[str, entries.Scalar]) -> dict[str, Any]:
        """The value of every entry that the method uses."""
        named = self.space.named()
        first = self.space.schemes[0]
        method: Any = entries.resolve("method", named["method"], scheme=first, drawn=drawn)
        scheme: Any = first
        if uses(method, "scheme"):
            scheme = entries.resolve("scheme", named["scheme"], scheme=first, drawn=drawn)
        return {
            name: entries.resolve(name, entry, scheme=scheme, drawn=drawn)
            for name, entry in named.items()
            if uses(method, name)
        }

    def _training(self, setting: Mapping[str, Any]) -> Training:
        training = self.training
        if setting.get("start", "baseline") == "baseline" and self.workload.weights is None:
            training = shortened(training)
        training = dataclasses.replace(training, **written("training", setting))
        left = training.epochs - (setting.get("fine_tuning_epochs") or 0)
        return dataclasses.replace(
            training, epochs=max(1, left // METHODS[setting["method"]].passes)
        )

    @property
    def least_epochs(self) -> int:
        """The fewest epochs in total of a trial that trains."""
        own = self.space.named_training().get("epochs")
        if own is not None:
            return min(e for e in entries.values(own) if isinstance(e, int))
        starts = entries.values(self.space.named()["start"])
        short = "baseline" in starts and self.workload.weights is None
        return (shortened(self.training) if short else self.training).epochs

    def _fine_tuning(self, own: Mapping[str, Any]) -> Training | None:
        if not own.get("epochs"):
            return None
        given = {"learning_rate": self.training.learning_rate / 5, **own}
        return dataclasses.replace(self.training, **given)

    def _spec(self, **own: object) -> TrialSpec:
        fixed: dict[str, Any] = own
        return TrialSpec(
            workload=self.workload,
            threads=self.resources.cpus,
            device="cuda" if self.resources.gpus > 0 else "cpu",
            split_seed=self.seed,
            **fixed,
        )
