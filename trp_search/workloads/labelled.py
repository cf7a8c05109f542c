"""Images and labels by number, from a pair of arrays or a data set that a user made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trp_search.errors import InputError, one_line

_WHERE = "workload.data"


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Labels at once, images one by one.

    Attributes:
        labels: int64 (n,), from 0.
        image: the image of that number as given; InputError if its label disagrees.
    """

    labels: Tensor
    image: Callable[[int], object]


def labelled(part: Any, name: str) -> Labelled:  # noqa: ANN401  whatever a user's code returned
    """A pair (images, labels) of arrays, or a data set of (image, label).

    Labels of a data set are its `targets`, with its `target_transform`, if it has them; otherwise
    every item is read once.
    """
    if isinstance(part, tuple | list) and len(part) == 2 and _is_array(part[0]):
        images, labels = part
        if not _is_array(labels) or labels.shape != images.shape[:1]:
            raise InputError(f"{_WHERE}: {name} returned images without one label each")
        return Labelled(labels=_labels(labels, name, "labels"), image=images.__getitem__)
    if not hasattr(part, "__getitem__") or not hasattr(part, "__len__"):
        raise InputError(
            f"{_WHERE}: {name} returned {kind(part)}, not (images, labels) or a Dataset"
        )
    labels, source = _of_data_set(part, name)

    def image(number: int) -> object:
        found, label = _item(part, number, name)
        if not _same(label, int(labels[number])):
            raise InputError(
                f"{_WHERE}: {name}: item {number}: {source} {int(labels[number])}, "
                f"__getitem__ gives {_text(label)}; make them agree"
            )
        return found

    return Labelled(labels=labels, image=image)


def kind(value: object) -> str:
    """A value's type in short; of an array its element type and shape."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    if isinstance(value, np.ndarray):
        return f"{'text' if value.dtype.kind in 'US' else value.dtype} {value.shape}"
    return type(value).__name__


def _of_data_set(part: Any, name: str) -> tuple[Tensor, str]:  # noqa: ANN401  as `labelled`
    """A data set's labels, and a phrase that says where they are from."""
    count = _asked(lambda: len(part), f"{name}: its length")
    targets = _asked(lambda: getattr(part, "targets", None), f"{name}: its targets")
    if targets is None:
        found = [_item(part, number, name)[1] for number in range(count)]
        return _labels(found, name, "labels"), "read first, its label was"
    change = getattr(part, "target_transform", None)
    if callable(change):
        targets = _asked(
            lambda: [change(target) for target in targets], f"{name}: its target_transform"
        )
    labels = _labels(targets, name, "targets")
    if len(labels) != count:
        raise InputError(f"{_WHERE}: {name} has {len(labels)} targets for {count} items")
    return labels, "targets says"


def _item(part: Any, number: int, name: str) -> tuple[object, object]:  # noqa: ANN401  as `labelled`
    item = _asked(lambda: part[number], f"{name}: item {number}")
    if not isinstance(item, tuple | list) or len(item) < 2:
        raise InputError(
            f"{_WHERE}: {name}: item {number} is {kind(item)}, not a pair (image, label)"
        )
    return item[0], item[1]


def _asked(question: Callable[[], Any], what: str) -> Any:  # noqa: ANN401  as `labelled`
    try:
        return question()
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{_WHERE}: {what} raised {one_line(error)}") from error


def _labels(given: Any, name: str, what: str) -> Tensor:  # noqa: ANN401  as `labelled`
    found = _array(given)
    if found.ndim and not len(found):
        raise InputError(f"{_WHERE}: {name} returned a part without images")
    if found.dtype.kind not in "iu" or found.ndim != 1:
        each = found.flat[0] if found.ndim else given
        seen = kind(each if found.dtype == object else found)
        raise InputError(
            f"{_WHERE}: {name}'s {what} are {seen}, not whole numbers from 0, one per image"
        )
    labels = torch.from_numpy(found.astype(np.int64))
    if int(labels.min()) < 0:
        raise InputError(
            f"{_WHERE}: {name}'s {what} begin at {int(labels.min())}, not whole numbers from 0"
        )
    return labels


def _array(value: Any) -> NDArray[np.generic]:  # noqa: ANN401  as `labelled`
    try:
        return np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value)
    except (ValueError, TypeError):  # of different lengths, or a type that NumPy lacks
        return np.asarray(None)


def _same(label: object, known: int) -> bool:
    found = _array(label)
    return found.ndim == 0 and found.dtype.kind in "iu" and int(found) == known


def _text(label: object) -> str:
    found = _array(label)
    return repr(found.tolist()) if found.size == 1 else kind(found)


def _is_array(value: object) -> bool:
    return isinstance(value, Tensor | np.ndarray)
