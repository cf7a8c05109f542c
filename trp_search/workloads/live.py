"""A function or class of Python that makes a network, as a name that other processes know."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

from torch import nn

from trp_search.errors import InputError
from trp_search.records import NetworkSpec
from trp_search.workloads.callables import resolved


def specification(network: str | Callable[..., nn.Module]) -> NetworkSpec:
    """The name of `network`, or of the function or class that makes it, and its options.

    Args:
        network: a name as in a search space, a function or class that other processes can import,
            or a `functools.partial` of one with plain keyword arguments.

    Raises:
        InputError: other processes cannot make it.
    """
    if isinstance(network, str):
        return NetworkSpec(name=network)
    options: dict[str, Any] = {}
    function: Callable[..., nn.Module] = network
    if isinstance(network, functools.partial) and not network.args:
        function, options = network.func, network.keywords
    name = f"{getattr(function, '__module__', '')}:{getattr(function, '__qualname__', '')}"
    if name.startswith("__main__:") or not _is_importable(name, function):
        raise InputError(
            f"network: {function!r:.80} cannot be imported by other processes: define it by name "
            "at the top of a module"
        )
    try:
        return NetworkSpec(name=name, options=json.loads(json.dumps(options)))
    except (TypeError, ValueError):
        raise InputError(f"network: {name}: its arguments are not plain values") from None


def _is_importable(name: str, function: object) -> bool:
    try:
        return resolved(name, where="network") is function
    except InputError:
        return False
