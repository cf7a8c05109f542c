"""A live module as a specification by which other processes make it again, proven beforehand."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from trp_search.errors import InputError
from trp_search.records import NetworkSpec, Workload
from trp_search.runs.answers import other_precision
from trp_search.tasks.modes import evaluating
from trp_search.workloads import data, networks, state, timm_networks
from trp_search.workloads.callables import TIMM
from trp_search.workloads.configured import configured
from trp_search.workloads.eager import check_eager
from trp_search.workloads.guard import SECONDS, guarded
from trp_search.workloads.images import Shape
from trp_search.workloads.live import specification
from trp_search.workloads.seeds import seeded

_TOLERANCE = 1e-4  # of the largest output


def remade(module: nn.Module, workload: Workload, *, seconds: float = SECONDS) -> NetworkSpec:
    """What makes `module` again: timm's or torchvision's name, or its class and arguments.

    A class's arguments are those that the module keeps in attributes of the same names. What is
    made must be of the same modules with the same settings and shapes, and with the weights of
    `module` answer as it does for noise of the shape of the workload's images.

    Raises:
        InputError: why nothing makes it again.
    """
    what = f"a live {type(module).__name__}"
    where = f"network: {what}"
    check_eager(module, where=where)
    if found := other_precision(module):
        raise InputError(f"{where}: {found}: give it with .float()")
    if workload.weights is not None:
        raise InputError(f"workload.weights: {what} has its own: null")
    problem = ""
    for spec in _candidates(module, where):
        made = dataclasses.replace(workload, network=spec)
        shape = data.describe(configured(made).data)
        with guarded(where, seconds=seconds), torch.random.fork_rng(devices=[]):
            found = _difference(module, spec, shape)
        if found is None:
            return spec
        problem = f"made by {spec.name}, {found}"
    raise InputError(f"{where} cannot be made again by other processes: {problem}; {_INSTEAD}")


_INSTEAD = "give the function or class that makes it, and its weights as workload.weights"


def _candidates(module: nn.Module, where: str) -> Iterator[NetworkSpec]:
    """Names of libraries, or the class with its arguments."""
    kind = type(module)
    known = getattr(module, "pretrained_cfg", None)
    if kind.__module__.startswith("timm.models.") and isinstance(known, dict):
        tag = f".{known['tag']}" if known.get("tag") else ""
        name = f"{TIMM}{known.get('architecture')}{tag}"
        timm_networks.check_known(name)
        own = {"drop_rate": rate} if (rate := getattr(module, "drop_rate", None)) else {}
        yield NetworkSpec(name=name, options=own)
        size = getattr(getattr(module, "patch_embed", None), "img_size", None)
        if size is not None:
            yield NetworkSpec(name=name, options=own | {"img_size": list(size)})
    elif builder := networks.builder_of(module):
        attributes = {"image_size", "transform_input"} & vars(module).keys()
        options = {name: getattr(module, name) for name in attributes}
        yield NetworkSpec(name=builder, options=options)
    else:
        yield specification(functools.partial(kind, **_arguments(module, where)))


def _arguments(module: nn.Module, where: str) -> dict[str, Any]:
    """What the constructor takes beside its defaults, from attributes of the same names."""
    found = {}
    for name, parameter in inspect.signature(type(module)).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        value = getattr(module, name, inspect.Parameter.empty)
        if _is_plain(value) and value != parameter.default:
            found[name] = value
        elif parameter.default is inspect.Parameter.empty:
            kept = "kept in no attribute" if value is parameter.empty else type(value).__name__
            raise InputError(
                f"{where} cannot be made again by other processes: the argument {name!r} of its "
                f"class is {kept}, and a number, a text or a list of them is needed; {_INSTEAD}"
            )
    return found


def _difference(module: nn.Module, spec: NetworkSpec, shape: Shape) -> str | None:
    """How what `spec` makes differs from `module`, or None."""
    made = networks.build(spec, channels=shape.channels, classes=shape.classes)
    if found := _other_parts(made, module):
        return found
    if found := state.problem(made.state_dict(), module.state_dict()):
        return f"its weights do not fit: {found}"
    if odd := _shared(made) ^ _shared(module):
        return f"its {' and '.join(min(odd))} share a weight in one of the two alone"
    if apart := _trained(made) ^ _trained(module):
        name = min(apart)
        kinds = ("trained", "frozen") if name in _trained(made) else ("frozen", "trained")
        return f"its {name} is {', not '.join(kinds)}"
    made.load_state_dict(module.state_dict())
    images = torch.randn(2, shape.channels, shape.height, shape.width, generator=seeded("remade"))
    if (first := next(module.parameters(), None)) is not None:
        made, images = made.to(first.device), images.to(first.device)
    with torch.no_grad(), evaluating(module):
        one, other = module(images), made.eval()(images)
    return None if _alike(one, other) else "it answers otherwise, with the same weights"


def _other_parts(made: nn.Module, module: nn.Module) -> str | None:
    """The first part of `module` that is another one, or set otherwise, in `made`."""
    others = dict(made.named_modules())
    for name, part in module.named_modules():
        there, here = (type(found).__name__ for found in (others.get(name), part))
        if type(others.get(name)) is not type(part):
            return f"its part {name!r} is {there}, not {here}"
    for name, part in module.named_modules():
        own, other = _settings(part), _settings(others[name])
        for key in own | other:
            if own.get(key) != other.get(key):
                what = f"{name}.{key}".removeprefix(".")
                return f"its {what} is {other.get(key, 'none'):.60}, not {own.get(key, 'none'):.60}"
    return None


def _shared(module: nn.Module) -> set[tuple[str, ...]]:
    """The names of each weight that has several."""
    found = defaultdict[int, list[str]](list)
    for name, weight in module.named_parameters(remove_duplicate=False):
        found[id(weight)].append(name)
    return {tuple(names) for names in found.values() if len(names) > 1}


def _trained(module: nn.Module) -> set[str]:
    return {name for name, weight in module.named_parameters() if weight.requires_grad}


def _alike(one: object, other: object) -> bool:
    if not (isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor)):
        return False
    return bool((one - other).abs().max() <= _TOLERANCE * one.abs().max())


def _settings(part: nn.Module) -> dict[str, str]:
    """What a module keeps beside weights and parts, of plain values, as text."""
    own = vars(part).items()
    return {key: json.dumps(value) for key, value in own if key != "training" and _is_plain(value)}


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return isinstance(value, str | int | float | None)
