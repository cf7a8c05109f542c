"""Python source that rebuilds one of PyTorch's layers, or a tensor; never a `repr` of either."""

from __future__ import annotations

import inspect
import math

import torch
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from trp_search.errors import TrpSearchError

# Most numbers of a tensor that is written out because no weights file holds it.
_NUMBERS = 4096


class NoSourceError(TrpSearchError):
    """A network that cannot be written as source; the message says why."""


def layer_call(name: str, layer: nn.Module) -> str:
    """The call that builds `layer`, without its weights, verified by building it.

    Arguments are the layer's attributes named like its constructor's parameters, a convention of
    PyTorch's layers.

    Raises:
        NoSourceError: the layer is not one of PyTorch's own, or its attributes do not rebuild it.
    """
    kind = _kind(layer)
    if getattr(nn, kind.__name__, None) is not kind:
        raise NoSourceError(f"{name} is a {kind.__name__}, which is not one of PyTorch's layers")
    positional, named = _arguments(layer)
    try:
        with torch.device("meta"):  # no memory, no numbers drawn
            again = kind(*positional, **named)
    except Exception:  # noqa: BLE001  a constructor may raise anything
        raise NoSourceError(f"{name}: its {kind.__name__} cannot be made again") from None
    if not _alike(layer, again):
        raise NoSourceError(f"{name}: its {kind.__name__} is not as its constructor makes it")
    given = [written(value) for value in positional]
    given += [f"{key}={written(value)}" for key, value in named.items()]
    return f"nn.{kind.__name__}({', '.join(given)}){_precision(name, layer)}"


def tensor_call(name: str, tensor: Tensor, *, stored: bool) -> str:
    """The call that builds a tensor used outside layers: empty if its numbers are `stored`.

    Raises:
        NoSourceError: the tensor has too many numbers to write out, or one that is not finite.
    """
    kind = f"dtype={tensor.dtype}"
    if stored:
        empty = f"torch.empty({tuple(tensor.shape)}, {kind})"
        if not isinstance(tensor, nn.Parameter):
            return f"nn.Buffer({empty})"
        return f"nn.Parameter({empty}, requires_grad={tensor.requires_grad})"
    if tensor.numel() > _NUMBERS or tensor.is_complex() or not tensor.isfinite().all():
        raise NoSourceError(
            f"{name}: a tensor of {tensor.numel()} numbers is not among the network's weights"
        )
    numbers = written(tensor.tolist())
    made = f"torch.tensor({numbers}, {kind}).reshape({tuple(tensor.shape)})"
    return f"nn.Buffer({made}, persistent=False)"


def written(value: object) -> str:
    """Python source of `value`, which consists of plain values.

    Raises:
        NoSourceError: some part is not a plain value.
    """
    if value is None or isinstance(value, bool):
        return repr(value)
    if isinstance(value, str):
        return repr(str(value))
    if isinstance(value, int):
        return repr(int(value))
    if isinstance(value, float):
        number = float(value)
        return repr(number) if math.isfinite(number) else f"float({str(number)!r})"
    if isinstance(value, list):
        return f"[{', '.join(written(part) for part in value)}]"
    if isinstance(value, tuple):
        parts = [written(part) for part in value]
        return f"({parts[0]},)" if len(parts) == 1 else f"({', '.join(parts)})"
    raise NoSourceError(f"a {type(value).__name__} has no plain source")


def _kind(layer: nn.Module) -> type[nn.Module]:
    """Its class; that of the last layer of torch's attention adds nothing to a linear layer."""
    return nn.Linear if type(layer) is NonDynamicallyQuantizableLinear else type(layer)


def _arguments(layer: nn.Module) -> tuple[list[object], dict[str, object]]:
    """Required constructor arguments, and keyword arguments that differ from the defaults."""
    positional: list[object] = []
    named: dict[str, object] = {}
    for key, parameter in inspect.signature(_kind(layer)).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if not hasattr(layer, key):
            continue
        value = _value(layer, key)
        if parameter.default is parameter.empty:
            positional.append(value)
        elif not _same(value, parameter.default):
            named[key] = value
    return positional, named


def _value(layer: nn.Module, key: str) -> object:
    value = getattr(layer, key)
    if key == "bias":
        # Without bias and weight, `affine` says so, and older constructors have no `bias`.
        return value is not None or getattr(layer, "weight", value) is None
    return value


def _same(value: object, default: object) -> bool:
    """Whether `value` equals the default, or is a tuple that repeats it."""
    if not isinstance(value, tuple) or isinstance(default, tuple) or not value:
        return value == default
    return value == (default,) * len(value)


def _alike(layer: nn.Module, again: nn.Module) -> bool:
    shapes, found = (
        {key: tensor.shape for key, tensor in module.state_dict().items()}
        for module in (layer, again)
    )
    parts, made = list(layer.modules()), list(again.modules())
    same = shapes == found and list(map(_kind, parts)) == list(map(_kind, made))
    return same and all(map(_set_alike, parts, made))


def _set_alike(layer: nn.Module, again: nn.Module) -> bool:
    settings = {k: v for k, v in vars(again).items() if not k.startswith("_") and k != "training"}
    return all(k in vars(layer) and vars(layer)[k] == v for k, v in settings.items())


def _precision(name: str, layer: nn.Module) -> str:
    kinds = {
        t.dtype for t in layer.state_dict().values() if t.is_floating_point() or t.is_complex()
    }
    if len(kinds) > 1:
        raise NoSourceError(f"{name} has weights of several precisions")
    return "".join(f".to({kind})" for kind in kinds if kind is not torch.float32)
