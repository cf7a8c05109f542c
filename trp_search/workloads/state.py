"""A file of weights, read without running code: a tensor by name, as the network names it."""

from __future__ import annotations

import argparse
import pickle
import pickletools
import re
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import TypeGuard

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from trp_search.errors import InputError, one_line

State = Mapping[str, Tensor]
Shapes = Mapping[str, tuple[int, ...]]

_UNDER = ("state_dict", "model", "model_ema")
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
_SHOWN = 3
_COUNTER = "num_batches_tracked"  # PyTorch before 0.4.1 had none


def read_state(path: Path, *, own: State) -> State:
    """The weights in a file of safetensors or torch.save, with the names of `own`.

    They may lie under `state_dict`, `model` or `model_ema` in it, the first that is there.

    Raises:
        InputError: the file is none of these, is damaged, or has objects that only code can make.
    """
    try:
        with path.open("rb") as file:
            start = file.read(9)
        if not start:
            raise InputError("is no file of weights: it is empty")
        zipped = start.startswith(_ZIP)
        # A file of safetensors begins with the length of its header, which may look like a pickle.
        headed = start[4:] == b"\0\0\0\0{"
        if zipped or (start.startswith(_PICKLE) and not headed):
            return renamed(_state_in(_loaded(path, mapped=zipped)), own=own)
        return renamed(safetensors.torch.load_file(path), own=own)
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"is no whole file of safetensors or torch.save: {one_line(error)}"
        ) from None


def renamed(state: State, *, own: State) -> State:
    """`state` without what wrappers put before the names: DataParallel, averages, torch.compile.

    Batches that batch norm counted are those of `own` where `state` has none.
    """
    found = {key.replace("_orig_mod.", ""): tensor for key, tensor in state.items()}
    if "n_averaged" not in own:
        found.pop("n_averaged", None)
    wrapper = "module."
    while found and all(key.startswith(wrapper) for key in found) and not _any(own, wrapper):
        found = {key.removeprefix(wrapper): tensor for key, tensor in found.items()}
    counters = {key: own[key] for key in own if key.endswith(_COUNTER) and key not in found}
    return found | counters


def problem(own: State, given: State) -> str | None:
    """The first way in which `given` are not the weights of a network that has `own`, or None."""
    found = mismatch(shapes(own), shapes(given))
    if found is not None:
        key = found.partition(" ")[0]
        return found + _another_head(key, own, given) if key in own else found
    for key, tensor in own.items():
        if _kind(tensor) != _kind(given[key]):
            return f"{key} is {_kind(given[key])} there and {_kind(tensor)} here"
        if not tensor.is_meta and bool(given[key].isnan().any()):
            return f"{key} holds NaN"
    return None


def shapes(state: State) -> Shapes:
    """The shape of every tensor of a state, by name."""
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def mismatch(own: Shapes, given: Shapes) -> str | None:
    """The first way in which shapes or names differ, or None."""
    for what, keys in (
        ("it has no", [key for key in own if key not in given]),
        ("it has a foreign", [key for key in given if key not in own]),
    ):
        if keys:
            return f"{what} {keys[0]}" + (f" and {len(keys) - 1} more" if keys[1:] else "")
    for key, shape in own.items():
        if shape != given[key]:
            return f"{key} is {given[key]} there and {shape} here"
    return None


def other_classes(given: int, own: int) -> str:
    """What to do about a head of another number of classes."""
    return (
        f"a head of {given} classes, and the network here has {own}: give weights for {own}, "
        f"null to train them, or images of {given} classes (a callable's options: num_classes)"
    )


def _another_head(key: str, own: State, given: State) -> str:
    (there, *rest), (here, *same) = (*given[key].shape, 0), (*own[key].shape, 0)
    last = key in list(own)[-2:]
    return f", {other_classes(there, here)}" if last and rest == same else ""


def _kind(tensor: Tensor) -> str:
    """What copying may not change: precision may differ, the kind of number may not."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type == "meta":
        return "sparse, quantised or without values"
    if tensor.is_complex():
        return "complex"
    return "floating-point" if tensor.is_floating_point() else "whole"


def _any(state: Iterable[str], prefix: str) -> bool:
    return any(key.startswith(prefix) for key in state)


def _loaded(path: Path, *, mapped: bool) -> object:
    """What `torch.save` wrote: tensors and plain values alone; a program's arguments count."""
    try:
        (_check_archive if mapped else _check_pickles)(path)
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise InputError(f"is no whole file of torch.save: {one_line(error)}") from None
    try:
        with safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"holds {_named(path, error)}, which only running its code could read: save the "
            "weights alone, torch.save(network.state_dict(), ...)"
        ) from None
    except Exception as error:
        raise InputError(f"is no whole file of torch.save: {one_line(error)}") from error


def _check_archive(path: Path) -> None:
    """Raises InputError for records that may unfold, and for archives of programs."""
    with zipfile.ZipFile(path) as file:
        names = [entry.filename for entry in file.infolist()]
        if any(name.endswith("/constants.pkl") for name in names):
            raise InputError("holds a TorchScript program: save its state_dict() by torch.save")
        pickled = [name for name in names if name.endswith("/data.pkl")]
        if not pickled:
            raise InputError("is an archive without tensors of torch.save, perhaps a program")
        for entry in file.infolist():
            if entry.compress_type != zipfile.ZIP_STORED:  # torch.save compresses nothing
                raise InputError(f"is no file of torch.save: {entry.filename!r:.60} is compressed")
        for name in pickled:
            _check_plain(BytesIO(file.read(name)), pickles=1)


def _check_pickles(path: Path) -> None:
    """As `_check_archive`, for the older format: a magic number, versions, objects, keys."""
    with path.open("rb") as stream:
        _check_plain(stream, pickles=5)


def _check_plain(stream: BytesIO | BufferedReader, *, pickles: int) -> None:
    """Raises InputError for objects that take as much memory as a number in them says."""
    for _ in range(pickles):
        for code, argument, _ in pickletools.genops(stream):
            if code.name == "GLOBAL" and str(argument).endswith(" bytearray"):
                raise InputError("holds a bytearray, which no weights of a network are")


def _named(path: Path, error: Exception) -> str:
    """The objects in a file that are no tensors and no plain values, by their classes."""
    try:
        found = sorted(get_unsafe_globals_in_checkpoint(path))
    except Exception:  # noqa: BLE001  a file of the older format, or a damaged one
        found = re.findall(r"GLOBAL ([\w.]+)", str(error))
    names = [name[:80] for name in found if name != "argparse.Namespace"]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return "objects of " + (", ".join(names[:_SHOWN]) or "unknown classes") + more


def _state_in(loaded: object) -> State:
    """The state in what a file holds: all of it, or what lies under one of the usual names."""
    if _is_state(loaded):
        return loaded
    if isinstance(loaded, Mapping):
        for key in _UNDER:
            if _is_state(found := loaded.get(key)):
                return found
        keys = ", ".join(str(key)[:40] for key in list(loaded)[:_SHOWN]) or "nothing"
        what = f"{keys}, and no tensors by name under {', '.join(_UNDER)}"
    else:
        what = f"a {type(loaded).__name__}"
    raise InputError(f"holds {what}, no weights of a network")


def _is_state(value: object) -> TypeGuard[State]:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())
    )


def versioned(network: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`tensors` as `load_state_dict` takes them: some classes, such as MNASNet, ask for a version.

    Norms get none: weights of before version 2 have no count of batches.
    """
    found = OrderedDict(tensors)
    versions = getattr(network.state_dict(), "_metadata", {})
    kept = {
        name: version
        for name, version in versions.items()
        if not hasattr(network.get_submodule(name), _COUNTER)
    }
    found._metadata = kept  # type: ignore[attr-defined]
    return found
