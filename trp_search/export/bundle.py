"""The files of a bundle and their values. No torch, no pickle."""

from __future__ import annotations

import json
import math
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic.dataclasses import dataclass as checked
from safetensors import SafetensorError

from trp_search.errors import InputError
from trp_search.records import (
    Latency,
    Layer,
    NetworkSpec,
    Point,
    Positive,
    PositiveInt,
    TestScore,
    Threads,
    Widths,
    Workload,
    from_json,
    problem,
    to_dict,
)

FORMAT = 2
EARLIER = 1  # of version 0.1.0
WEIGHTS = "weights.safetensors"
ARCHITECTURE = "architecture.json"
CARD = "card.json"
READABLE_CARD = "card.md"
SOURCE = "network.py"

_MOST_BYTES = 2**25  # of a JSON file; that of a network of 1,000 layers has 2 ** 20
_MOST_DIGITS = 18  # fits 64 bits

T = TypeVar("T")
_STRICT = ConfigDict(extra="forbid")


@checked(frozen=True, kw_only=True, config=_STRICT)
class Architecture:
    """Everything needed to build the network that the weights fit.

    Attributes:
        network: the baseline; `package.module:callable` is never imported from here.
        height: pixels of an input image; with `width` and `channels` the network's input.
        mean: per channel, subtracted from pixels in [0, 1].
        std: per channel, divides them after that.
        layers: every convolution and linear layer; those with a rank are factored or pruned.
        widths: channels in and out of every module that lost some, before any is factored.
    """

    format: int
    network: NetworkSpec
    channels: Annotated[int, Field(gt=0, le=4096)]
    height: PositiveInt
    width: PositiveInt
    classes: PositiveInt
    mean: tuple[float, ...]
    std: tuple[Positive, ...]
    layers: tuple[Layer, ...]
    widths: Widths = field(default_factory=dict)

    @model_validator(mode="after")
    def _one_a_channel(self) -> Architecture:
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(f"mean and std need one number for each of {self.channels} channels")
        return self


@checked(frozen=True, kw_only=True, config=_STRICT)
class Input:
    """The network's input, and the classes of its logits.

    Attributes:
        channels: of an image; with `height` and `width` the network takes (n, c, h, w).
        height: in pixels.
        width: in pixels.
        mean: per channel, subtracted from pixels in [0, 1].
        std: per channel, divides them after that.
        classes: one name per logit; numbers if the data have no names.
    """

    channels: PositiveInt
    height: PositiveInt
    width: PositiveInt
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...]


@checked(frozen=True, kw_only=True, config=_STRICT)
class Card:
    """Provenance and metrics of the weights.

    Attributes:
        input: the network's input, and its classes.
        load: lines of Python that load the network, by what they need.
        run: name of the run folder it was exported from.
        point: the scored point.
        baseline: the metric of the run's baseline on validation.
        workload: the baseline, its data and its weights.
        split_seed: with the data, determines which images are train, validation and test.
        saw_validation: whether the weights were trained on validation images as well; then their
            score there is meaningless.
        test: score on images that no choice was made on.
        threads: CPU threads and ...
        device: ... kind of device that it was scored with.
        versions: of the software that wrote the bundle.
        licence: of the weights, as given when they were exported.
        latencies: on every target that the point was timed on.
        formats: files with the same network, each with the greatest difference of a logit.
        not_written: files that could not be written or whose outputs differ, with the reason.
        file_bytes: of every file that holds weights.
    """

    format: int
    run: str
    point: Point
    baseline: float | None
    workload: Workload
    split_seed: int
    saw_validation: bool
    test: TestScore | None
    threads: Threads
    device: Literal["cpu", "cuda"]
    versions: dict[str, str]
    licence: str | None = None
    input: Input | None = None
    load: dict[str, tuple[str, ...]] = field(default_factory=dict)
    latencies: tuple[Latency, ...] = ()
    formats: dict[str, float] = field(default_factory=dict)
    not_written: dict[str, str] = field(default_factory=dict)
    file_bytes: dict[str, int] = field(default_factory=dict)


def write_json(path: Path, record: Architecture | Card) -> None:
    """The record as indented JSON."""
    path.write_text(json.dumps(to_dict(record), indent=2) + "\n", encoding="utf-8")


def read_architecture(bundle: Path) -> Architecture:
    """The architecture of the bundle; raises InputError that names a file which cannot be read."""
    return _read(bundle, ARCHITECTURE, Architecture)


def read_card(bundle: Path) -> Card:
    """The card of the bundle; raises InputError that names a file which cannot be read."""
    return _read(bundle, CARD, Card)


def present(bundle: Path, name: str) -> Path:
    """The path of one file of the bundle; InputError if it is missing or outside the folder."""
    if not bundle.is_dir():
        raise InputError(f"{bundle}: no such bundle")
    path = bundle / name
    if not path.is_file():
        raise InputError(f"{path}: missing; a bundle holds {ARCHITECTURE}, {WEIGHTS} and {CARD}")
    if path.resolve().parent != bundle.resolve():
        raise InputError(f"{path}: a link to a file outside the bundle, which is not followed")
    return path


def vacant(out: Path) -> Path:
    """The absolute path of a folder to be written; raises InputError if it holds anything."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: already holds something; give a new or empty folder")
    return out.absolute()


def _read(bundle: Path, name: str, kind: type[T]) -> T:
    path = present(bundle, name)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"{path}: has more than {_MOST_BYTES:,} bytes")
        text = path.read_bytes()
        values = json.loads(text, parse_int=_whole, parse_float=_finite, parse_constant=_finite)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except RecursionError:
        raise InputError(f"{path}: nested too deeply") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    _check_format(path, values)
    if kind is Card and values["format"] == EARLIER:
        text = _as_today(path, values)
    try:
        return from_json(kind, text)
    except ValidationError as error:
        raise InputError(f"{path}: {problem(error, kind)[:400]}") from None


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"{text[:_MOST_DIGITS]}... has more than {_MOST_DIGITS} digits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:_MOST_DIGITS]} is not a finite number")
    return value


def _check_format(path: Path, values: Any) -> None:  # noqa: ANN401  whatever the file holds
    if not isinstance(values, dict) or "format" not in values:
        raise InputError(f"{path}: not a file of a bundle: it has no format")
    if values["format"] not in (EARLIER, FORMAT):
        raise InputError(
            f"{path}: format {values['format']!r:.40}; this version reads {EARLIER} and {FORMAT}"
        )


def _as_today(path: Path, values: dict[str, Any]) -> bytes:
    """A card of 0.1.0 as JSON of this version."""
    from trp_search.export import earlier  # noqa: PLC0415  loads torch, which no other card needs

    try:
        card = earlier.card(values, present(path.parent, WEIGHTS))
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, SafetensorError):
        raise InputError(f"{path}: not a card of version 0.1.0, which its format says") from None
    return json.dumps(card).encode()
