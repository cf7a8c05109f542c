"""Settings that a search tries before anything is proposed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from trp_search.records import Error, Pruning, TrialSpec
from trp_search.space import entries
from trp_search.space.entries import ByScheme, Parameter, Value
from trp_search.space.example import any_trial
from trp_search.space.methods import JOINT_PASSES, METHODS
from trp_search.space.model import SearchSpace

# Energy and weight of the authors' code; the period is the paper's, arXiv 2004.14566.
_ENERGY, _PERIOD, _NUCLEAR = 0.98, 20, 3e-4


def settings(space: SearchSpace) -> list[Mapping[str, Value]]:
    """Those that `space.warm_start` names, the paper's written out for each scheme."""
    found: list[Mapping[str, Value]] = []
    for given in space.warm_start:
        if given == "paper":
            paper = _paper(space)
            if len(space.space.methods) > 1:
                paper["method"] = "trp"
            found += [{"scheme": scheme} | paper for scheme in space.space.schemes]
        else:
            assert not isinstance(given, str)
            found.append(given)
    return found


def parameters(space: SearchSpace) -> list[dict[str, Value]]:
    """What a study is to draw for each setting; what one does not name is proposed."""
    return [_drawn(space, setting) for setting in settings(space)]


def _drawn(space: SearchSpace, setting: Mapping[str, Value]) -> dict[str, Value]:
    names = {parameter.name for parameter in space.parameters()}
    scheme = setting.get("scheme", space.space.schemes[0])
    keys = {name: (f"{name}_{scheme}", name) for name in setting}
    return {key: setting[name] for name, both in keys.items() for key in both if key in names}


def problems(space: SearchSpace, setting: Mapping[str, Value]) -> Iterator[tuple[str, str]]:
    """Each name in `setting` whose value the space cannot take, and why."""
    schemes = space.space.schemes
    method = setting.get("method", space.space.methods[0])
    needed = len(schemes) > 1 and (method not in METHODS or METHODS[method].uses("scheme"))
    scheme = setting.get("scheme", None if needed else schemes[0])
    for name, value in setting.items():
        why = _problem(space, scheme, name, value)
        if why is not None:
            yield name, why


def _problem(space: SearchSpace, scheme: Value | None, name: str, value: Value) -> str | None:
    entry = space.space.named().get(name)
    if entry is None:
        return "is no entry of the space"
    if isinstance(entry, ByScheme) and scheme not in entry.by_scheme:
        return "needs the scheme beside it" if scheme is None else f"has no entry for {scheme}"
    parameters = {parameter.name: parameter for parameter in space.parameters()}
    varied = parameters.get(f"{name}_{scheme}", parameters.get(name))
    if varied is not None:
        return _outside(varied, value)
    known = next((one for one in space.space.schemes if one == scheme), space.space.schemes[0])
    fixed = entries.label(entries.first(entry, scheme=known))
    return None if _same(value, fixed) else f"{value!r} is not the space's {fixed!r}"


def _outside(parameter: Parameter, value: Value) -> str | None:
    if parameter.choices is not None:
        if any(_same(value, choice) for choice in parameter.choices):
            return None
        return f"{value!r} is not one of {', '.join(map(str, parameter.choices))}"
    low, high, step = parameter.low, parameter.high, parameter.step
    assert low is not None
    assert high is not None
    if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
        steps = (value - low) / step if step else 0.0
        whole = not parameter.integer or float(value).is_integer()
        if whole and math.isclose(steps, round(steps), abs_tol=1e-6):
            return None
    every = f" by steps of {step:g}" if step else ""
    return f"{value!r} is not in [{low:g}, {high:g}]{every}"


def setting_of(space: SearchSpace, spec: TrialSpec) -> dict[str, Value]:
    """What of `spec`, a trial of any space, is for this one to vary."""
    cut = spec.cuts[0]
    found: dict[str, object] = {"method": spec.method or "trp", "start": spec.start}
    if spec.pruning is not None:
        found |= {name: getattr(spec.pruning, name) for name in vars(spec.pruning)}
        found |= {spec.pruning.keep.key(): spec.pruning.keep.amount}
        found["period"] = "never" if spec.pruning.period is None else spec.pruning.period
        found |= _nuclear(spec.pruning)
    if spec.joint is not None:
        found |= {f"joint_{name}": value for name, value in vars(spec.joint).items()}
    found |= _learning(spec)
    found |= {f"cut_{cut.keep.key()}": cut.keep.amount}
    if isinstance(cut.keep, Error):
        found |= {"error": cut.keep.error}
    shared = ("allocation", "multiple", "calibration_images", "reestimate_batch_norm")
    others = ("batch_norm_images", "reconstruct")
    found |= {name: getattr(cut, name) for name in (*shared, *others)}
    if spec.pruning is None:  # what it was cut by is what was asked for
        found |= {"scheme": cut.scheme, cut.keep.key(): cut.keep.amount}
        found["layers"] = cut.layers
    varying = {p.name.removesuffix(f"_{p.scheme}") for p in space.parameters()} | {"scheme"}
    if found["scheme"] not in space.space.schemes and spec.pruning is None:
        varying -= {"scheme"}
    way = METHODS[spec.method or "trp"]
    return {
        name: value
        for name, value in found.items()
        if name in varying and way.uses(name) and isinstance(value, bool | int | float | str)
    }


def _learning(spec: TrialSpec) -> dict[str, object]:
    """Of its training, fine-tuning and distillation."""
    found: dict[str, object] = {}
    if spec.training is not None:
        found |= {name: entries.label(value) for name, value in vars(spec.training).items()}
    tuning, asked = spec.fine_tuning, spec.distillation
    found["fine_tuning_epochs"] = charged = 0 if tuning is None else tuning.epochs
    found["fine_tuning_learning_rate"] = None if tuning is None else tuning.learning_rate
    if spec.training is not None:  # as the space has them: of the trial in all
        passes = JOINT_PASSES if spec.joint is not None else 1
        found["epochs"] = charged + passes * spec.training.epochs
    if asked is not None:
        found |= {"distillation": asked.weight, "distillation_temperature": asked.temperature}
    elif spec.training is not None or tuning is not None:
        found["distillation"] = 0.0
    return found


def departures(
    space: SearchSpace, setting: Mapping[str, Value], spec: TrialSpec
) -> Iterator[tuple[str, str]]:
    """What a trial of `setting` would do otherwise than `spec`, another space's.

    What is fixed here and what is no entry here is in no setting; this finds it. The recipe, which
    has distillation, may differ.
    """
    yield from _departures(space, _drawn(space, setting), spec)


def contradictions(
    space: SearchSpace, drawn: Mapping[str, Value], spec: TrialSpec
) -> Iterator[tuple[str, str]]:
    """What a trial for which `drawn` was drawn would do otherwise than `spec`, which it made."""
    yield from _departures(space, drawn, spec)
    learned = {} if spec.training is None else vars(spec.training)
    for name in space.space.named_training():
        value = drawn.get(f"{name}_{spec.cuts[0].scheme}", drawn.get(name))
        there = entries.label(learned[name]) if name in learned else None
        if name != "epochs" and value is not None and there is not None and value != there:
            yield name, f"{_shown(there)} there, {_shown(value)} here"


def _departures(
    space: SearchSpace, drawn: Mapping[str, Value], spec: TrialSpec
) -> Iterator[tuple[str, str]]:
    there = _method(spec)
    try:
        here, also = (_method(any_trial(space, drawn, last=last)) for last in (False, True))
    except (KeyError, TypeError, ValueError):  # of another space
        yield "space", "has not what was drawn"
        return
    for name in dict.fromkeys([*there, *here]):
        one, other = there.get(name), here.get(name)
        if not _alike(one, other) and _alike(other, also.get(name)):  # else it is proposed
            yield name, f"{_shown(one)} there, {_shown(other)} here"


def _alike(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-6)  # a weight per step was divided before
    return one == other


def _method(spec: TrialSpec) -> dict[str, Any]:
    cut, pruning = spec.cuts[0], spec.pruning
    found: dict[str, Any] = {"method": spec.method or "trp", "start": spec.start}
    if pruning is not None:
        acts = pruning.nuclear_every_step or pruning.period is not None
        found |= vars(pruning) | {"nuclear_weight": pruning.nuclear_weight if acts else 0.0}
    if spec.joint is not None:
        found |= {f"joint_{name}": value for name, value in vars(spec.joint).items()}
    found["cut_keep"] = cut.keep
    kinds = ("scheme", "allocation", "multiple", "reconstruct", "layers")
    found |= {f"cut_{name}": getattr(cut, name) for name in kinds}
    return found | {"fine-tuned": spec.fine_tuning is not None}


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else f"{value}"


def _nuclear(pruning: Pruning) -> dict[str, float | None]:
    """The weight as either entry has it; not known where the term never acted."""
    every = 1 if pruning.nuclear_every_step else pruning.period
    if every is None:
        return {"nuclear_weight": None}
    weight = pruning.nuclear_weight
    return {"nuclear_weight": weight, "nuclear_weight_per_step": weight / every}


def _paper(space: SearchSpace) -> dict[str, Value]:
    """The paper's setting, its nuclear weight as the space has it; by labels alone if it can be."""
    found: dict[str, Value] = {"energy": _ENERGY, "period": _PERIOD}
    if space.space.nuclear_weight_per_step is None:
        found["nuclear_weight"] = _NUCLEAR
    else:
        found["nuclear_weight_per_step"] = _NUCLEAR / _PERIOD
    alone = all(_problem(space, s, "distillation", 0.0) is None for s in space.space.schemes)
    return found | ({"distillation": 0.0} if alone else {})


def _same(one: Value, other: Value) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)
