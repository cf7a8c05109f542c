"""The trainings of `benchmarks/methods.py`."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.front_rows import BUDGETS
from trp_search.records import (
    Cut,
    Distillation,
    Elastic,
    Energy,
    Evbmf,
    Joint,
    MethodName,
    Pruning,
    Scheme,
    Speedup,
    Training,
    TrialSpec,
)
from trp_search.space import SearchSpace

EPOCHS = 8
SVD: tuple[Scheme, ...] = ("channel", "spatial")
# In the names of trials.
TAUGHT, ALL_AT_ONCE = "-taught", "-all"


def specs(space: SearchSpace) -> Iterator[TrialSpec]:
    """Every training and cut of a seed but the baseline's."""
    plain = space.baseline_spec()
    assert plain.training is not None
    after = dataclasses.replace(plain.training, epochs=EPOCHS, learning_rate=0.02, warmup=0.0)
    makes = _Makes(plain=plain, after=after)
    fitted = {"scheme": "channel", "reconstruct": "relu", "calibration_images": 1000}
    kinds: list[dict[str, Any]] = [
        *({"scheme": scheme} for scheme in SVD),
        fitted,
        {"scheme": "tucker"},
    ]
    greedy = [kind | {"allocation": "greedy"} for kind in (kinds[0], fitted, kinds[-1])]
    by_activations = {"scheme": "channel", "calibration_images": 256}
    aware = {"scheme": "per-layer", "calibration_images": 256}  # what `compress` does
    cuts = (*_curves(*kinds), *_budgets(*greedy, by_activations))
    yield makes.spec("plain-longer", "plain", cuts, training=after)
    yield makes.spec("plain-aware", "plain", _curves(aware), training=after)
    kinds.append(aware)
    for kind, budget in itertools.product(kinds, BUDGETS):
        method: MethodName = "tucker" if kind["scheme"] == "tucker" else "plain"
        how = "-fitted" if "reconstruct" in kind else ""
        name = f"{method}-{kind['scheme']}{how}-tuned-{budget:g}x"
        yield makes.spec(name, method, (_cut(kind, budget),), tuned=after)
    yield makes.spec(
        "tucker-evbmf", "tucker", (Cut(scheme="tucker", keep=Evbmf(), layers="all"),), tuned=after
    )
    for scheme in SVD:
        yield from _trained(makes, scheme)
    yield from _best(makes)
    yield from _taught(makes, aware)


def _best(makes: _Makes) -> Iterator[TrialSpec]:
    """TRP towards a budget with a scheme for each layer, by weights and by activations."""
    after = makes.after
    half, quarter, rest = (
        dataclasses.replace(after, epochs=epochs)
        for epochs in (EPOCHS // 2, EPOCHS // 4, EPOCHS - EPOCHS // 4)
    )
    for budget, images in itertools.product(BUDGETS, (0, 256)):
        aimed = Pruning(
            scheme="per-layer", keep=Speedup(budget), period=10, calibration_images=images
        )
        cuts = (_cut({"scheme": "per-layer", "calibration_images": images}, budget),)
        name = f"aimed-per-layer{'-aware' if images else ''}-{budget:g}x"
        for tail, own, tuned in (
            ("", after, None),
            ("-tuned", half, half),
            ("-early", quarter, rest),
        ):
            yield makes.spec(name + tail, "trp", cuts, training=own, pruning=aimed, tuned=tuned)


def _taught(makes: _Makes, aware: Mapping[str, Any]) -> Iterator[TrialSpec]:
    """What learns from the baseline's answers too, at two rates each."""
    for rate in (0.02, 0.05):
        after = dataclasses.replace(makes.after, learning_rate=rate)
        half = dataclasses.replace(after, epochs=EPOCHS // 2)
        own = dataclasses.replace(makes, after=after, taught=Distillation())
        for budget in BUDGETS:
            keep, name = Speedup(budget), f"{budget:g}x-{rate:g}"
            cuts = (_cut(aware, budget),)
            yield own.spec(f"plain{TAUGHT}-tuned-{name}", "plain", cuts, tuned=after)
            trp = Pruning(scheme="per-layer", keep=keep, period=10, calibration_images=256)
            yield own.spec(
                f"aimed{TAUGHT}-per-layer-tuned-{name}",
                "trp",
                cuts,
                training=half,
                pruning=trp,
                tuned=half,
            )
            trp, cuts = Pruning(scheme="spatial", keep=keep, period=10), (_cut(_SPATIAL, budget),)
            yield own.spec(
                f"aimed{TAUGHT}-spatial-{name}", "trp", cuts, training=after, pruning=trp
            )
        for scheme, budgets in itertools.product(SVD, (1, len(BUDGETS))):
            training = dataclasses.replace(after, epochs=EPOCHS * budgets // Elastic.draws)
            elastic = Elastic(scheme=scheme, lowest=1.25, highest=5.0)
            name = f"elastic{TAUGHT}-{scheme}{ALL_AT_ONCE if budgets > 1 else ''}-{rate:g}"
            curve = _budgets({"scheme": "nested"})
            yield own.spec(name, "elastic", curve, training=training, elastic=elastic)


_SPATIAL = {"scheme": "spatial"}


def _trained(makes: _Makes, scheme: Scheme) -> Iterator[TrialSpec]:
    """The methods that train before the cut, under one scheme."""
    after, own = makes.after, {"scheme": scheme}
    half = dataclasses.replace(after, epochs=EPOCHS // 2)
    curve = _curves(own)
    for weight in (1e-3, 1e-2):
        nuclear = Pruning(scheme=scheme, projection=False, nuclear_weight=weight, period=1)
        yield makes.spec(
            f"nuclear-{scheme}-{weight:g}", "nuclear", curve, training=after, pruning=nuclear
        )
    for energy, weight in itertools.product((0.95, 0.9), (0.0, 3e-3)):
        trp = Pruning(scheme=scheme, keep=Energy(energy), nuclear_weight=weight / 10, period=10)
        name = f"trp{'-nuclear' if weight else ''}-{scheme}-{energy:g}"
        yield makes.spec(name, "trp", curve, training=after, pruning=trp)
    for budget in BUDGETS:
        aimed = Pruning(scheme=scheme, keep=Speedup(budget), period=10)
        cut = (_cut(own, budget),)
        name = f"aimed-{scheme}-{budget:g}x"
        yield makes.spec(name, "trp", cut, training=after, pruning=aimed)
        yield makes.spec(f"{name}-tuned", "trp", cut, training=half, pruning=aimed, tuned=half)
    for highest in (0.3, 0.6):
        joint = Joint(scheme=scheme, lowest=0.1, highest=highest, rank_min=2)
        pooled = _curves(own | {"allocation": "pooled"})
        name = f"decomposable-{scheme}-{highest:g}"
        yield makes.spec(name, "decomposable", pooled, training=half, joint=joint)
    quarter = dataclasses.replace(after, epochs=EPOCHS // 4)
    joint = Joint(scheme=scheme, lowest=0.1, highest=0.6, rank_min=2)
    for budget in BUDGETS:
        cut = (_cut(own | {"allocation": "pooled"}, budget),)
        name = f"decomposable-{scheme}-tuned-{budget:g}x"
        yield makes.spec(name, "decomposable", cut, training=quarter, joint=joint, tuned=half)


@dataclasses.dataclass(frozen=True)
class _Makes:
    """Specifications that share all but what is given."""

    plain: TrialSpec
    after: Training
    taught: Distillation | None = None

    def spec(  # noqa: PLR0913  fields of a specification
        self,
        name: str,
        method: MethodName,
        cuts: tuple[Cut, ...],
        *,
        training: Training | None = None,
        pruning: Pruning | None = None,
        joint: Joint | None = None,
        elastic: Elastic | None = None,
        tuned: Training | None = None,
    ) -> TrialSpec:
        """The trial `name`, which starts from the baseline."""
        return dataclasses.replace(
            self.plain,
            kind="search",
            name=name,
            method=method,
            start="baseline",
            training=training,
            pruning=pruning,
            joint=joint,
            elastic=elastic,
            distillation=self.taught,
            cuts=cuts,
            fine_tuning=tuned,
            screening=(),
            score_uncut=False,
        )


def _curves(*kinds: Mapping[str, Any]) -> tuple[Cut, ...]:
    """Each kind of cut at every budget, and with one share of all ranks at 2x."""
    uniform = [_cut({**kind, "allocation": "uniform"}, 2.0) for kind in kinds]
    return (*_budgets(*kinds), *uniform)


def _budgets(*kinds: Mapping[str, Any]) -> tuple[Cut, ...]:
    return tuple(_cut(kind, budget) for kind in kinds for budget in BUDGETS)


def _cut(kind: Mapping[str, Any], budget: float) -> Cut:
    return Cut(keep=Speedup(budget), layers="all", **kind)
