"""Settings that a search tries before any is proposed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from trp_search.methods import METHODS, uses
from trp_search.records import Keep, TrialSpec
from trp_search.space import entries
from trp_search.space.entries import ByScheme, Parameter, Scalar
from trp_search.space.example import any_trial
from trp_search.space.model import SearchSpace
from trp_search.space.settings import ENTRIES, TRAINED, Parts, flat, parts_of

# Energy and weight of the authors' code; the period is the paper's, arXiv 2004.14566.
_ENERGY, _PERIOD, _NUCLEAR = 0.98, 20, 3e-4


def settings(space: SearchSpace) -> list[Mapping[str, Scalar]]:
    """The settings of `space.warm_start`, the paper's expanded for each scheme."""
    found: list[Mapping[str, Scalar]] = []
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


def parameters(space: SearchSpace) -> list[dict[str, Scalar]]:
    """The parameters of each setting; those that a setting does not name are proposed."""
    return [_drawn(space, setting) for setting in settings(space)]


def _drawn(space: SearchSpace, setting: Mapping[str, Scalar]) -> dict[str, Scalar]:
    names = {parameter.name for parameter in space.parameters()}
    scheme = setting.get("scheme", space.space.schemes[0])
    keys = {name: (f"{name}_{scheme}", name) for name in setting}
    return {key: setting[name] for name, both in keys.items() for key in both if key in names}


def problems(space: SearchSpace, setting: Mapping[str, Scalar]) -> Iterator[tuple[str, str]]:
    """Each name in `setting` with a value outside the space, and the reason."""
    schemes = space.space.schemes
    method = setting.get("method", space.space.methods[0])
    needed = len(schemes) > 1 and (method not in METHODS or uses(method, "scheme"))
    scheme = setting.get("scheme", None if needed else schemes[0])
    for name, value in setting.items():
        why = _problem(space, scheme, name, value)
        if why is not None:
            yield name, why


def _problem(space: SearchSpace, scheme: Scalar | None, name: str, value: Scalar) -> str | None:
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


def _outside(parameter: Parameter, value: Scalar) -> str | None:
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


def setting_of(space: SearchSpace, spec: TrialSpec) -> dict[str, Scalar]:
    """The setting of this space that makes `spec`, a trial of any space."""
    assert spec.method is not None, "of a trial that a search proposed"
    parts, method = parts_of(spec, spec.cuts[0]), spec.method
    varying = {parameter.entry for parameter in space.parameters()} | {"scheme"}
    if spec.pruning is None and _cut_apart(space, method, spec.cuts[0].keep):
        varying -= TRAINED.keys()
    found = flat(parts, lambda name: name in varying and uses(method, name))
    if found.get("scheme") not in space.space.schemes and spec.pruning is None:
        found.pop("scheme", None)
    scheme = found.get("scheme") if uses(method, "scheme") else space.space.schemes[0]
    return {name: _fitting(space, scheme, name, value, parts) for name, value in found.items()}


def _cut_apart(space: SearchSpace, method: str, keep: Keep) -> bool:
    """Whether an entry of the cut alone, which the method reads, said `keep` in this space."""
    named = {name for name in space.space.named() if uses(method, name)}
    acting = (n for n, kind in TRAINED.items() if not kind.is_switch() or isinstance(keep, kind))
    return any(f"cut_{name}" in named for name in acting)


def _fitting(
    space: SearchSpace, scheme: Scalar | None, name: str, value: Scalar, parts: Parts
) -> Scalar:
    """The first value in the space among those that make the same trial."""
    others = ENTRIES[name].alike(value, parts)
    fits = [one for one in (value, *others) if _problem(space, scheme, name, one) is None]
    return fits[0] if fits else value


def departures(
    space: SearchSpace, setting: Mapping[str, Scalar], spec: TrialSpec
) -> Iterator[tuple[str, str]]:
    """Differences between a trial of `setting` and `spec`, another space's.

    Entries that are fixed or absent here are in no setting, so they are compared here. The recipe,
    distillation included, may differ.
    """
    drawn = _drawn(space, setting)
    here, also = (_done(any_trial(space, drawn, last=last)) for last in (False, True))
    there = _done(spec)
    for name, sentence in _unlike(there, here):
        if here.get(name) == also.get(name):  # else it is proposed
            yield name, sentence


def _done(spec: TrialSpec) -> dict[str, Scalar]:
    """What is done to a trial's network, whatever it is trained by."""
    found = flat(parts_of(spec, spec.cuts[0]), lambda name: not ENTRIES[name].recipe)
    return found | {"fine-tuned": spec.fine_tuning is not None}


def contradictions(
    space: SearchSpace, drawn: Mapping[str, Scalar], spec: TrialSpec
) -> Iterator[tuple[str, str]]:
    """Differences between the trial of `drawn` and `spec`, which should be it."""
    try:
        made = space.trial_spec(drawn, number=spec.number or 0, repeat=spec.repeat)
    except (KeyError, TypeError, ValueError):  # of another space
        yield "space", "has not what was drawn"
        return
    there, here = (flat(parts_of(one, one.cuts[0])) for one in (spec, made))
    yield from _unlike(there, here)


def _unlike(there: Mapping[str, Scalar], here: Mapping[str, Scalar]) -> Iterator[tuple[str, str]]:
    for name in dict.fromkeys([*there, *here]):
        one, other = there.get(name), here.get(name)
        if one != other:
            yield name, f"{_shown(one)} there, {_shown(other)} here"


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else f"{value}"


def _paper(space: SearchSpace) -> dict[str, Scalar]:
    """The paper's setting, with a nuclear weight of the space; without distillation if possible."""
    found: dict[str, Scalar] = {"energy": _ENERGY, "period": _PERIOD}
    found["nuclear_weight"] = _NUCLEAR / _PERIOD
    alone = all(_problem(space, s, "distillation", 0.0) is None for s in space.space.schemes)
    return found | ({"distillation": 0.0} if alone else {})


def _same(one: Scalar, other: Scalar) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)
