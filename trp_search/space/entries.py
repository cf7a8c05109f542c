"""One entry of a space: a value, a range, a list, or one of these per scheme."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, TypeAlias, TypeVar

from pydantic import AfterValidator, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic.dataclasses import dataclass as checked

from trp_search.records import MethodName, PairScheme

N = TypeVar("N", bound=float)
T = TypeVar("T")
E = TypeVar("E")

Scalar: TypeAlias = bool | int | float | str
Plain: TypeAlias = Scalar | tuple[float, ...]
_STRICT = ConfigDict(extra="forbid")


@checked(frozen=True, kw_only=True, config=_STRICT)
class Range(Generic[N]):
    """Every number between two bounds, both included."""

    low: N
    high: N
    log: bool = False
    step: N | None = None

    @model_validator(mode="after")
    def _drawable(self) -> Range[N]:
        if self.low >= self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"low {self.low:g} is not above 0, which log needs")
        if self.log and self.step is not None:
            raise ValueError("takes log or step, not both")
        if self.step is not None and not _whole((self.high - self.low) / (self.step or math.nan)):
            raise ValueError(
                f"step {self.step:g} does not lead from low {self.low:g} to high {self.high:g}"
            )
        return self


def _whole(steps: float) -> bool:
    return abs(steps - round(steps)) < 1e-6 if math.isfinite(steps) else False


@checked(frozen=True, kw_only=True, config=_STRICT)
class ByScheme(Generic[E]):
    """One entry for each scheme that can be drawn."""

    by_scheme: dict[PairScheme, E]


class OneOf(tuple[T, ...]):
    """The values of a list in the file; a plain tuple is one value (milestones)."""

    __slots__ = ()


def label(value: Plain) -> Scalar:
    """`value` as a study stores it and people read it."""
    return ", ".join(map(str, value)) if isinstance(value, tuple) else value


def repeated(values: Sequence[T]) -> list[T]:
    """The values that stand in the list before."""
    return [value for place, value in enumerate(values) if value in values[:place]]


def _distinct(values: tuple[T, ...]) -> OneOf[T]:
    if again := repeated(values):
        raise ValueError(f"duplicate value {again[0]}")
    return OneOf(values)


def _form(raw: object) -> str:
    if isinstance(raw, dict | Range | ByScheme):
        return "<range>"
    return _form_of_mappings(raw)


def _form_of_mappings(raw: object) -> str:
    return "<list>" if isinstance(raw, list | OneOf) else "<value>"


def _form_of_lists(raw: object) -> str:
    nested = isinstance(raw, list) and any(isinstance(value, list) for value in raw)
    return "<list>" if nested or isinstance(raw, OneOf) else "<value>"


def _scope(raw: object) -> str:
    split = isinstance(raw, ByScheme) or (isinstance(raw, dict) and "by_scheme" in raw)
    return "<by scheme>" if split else "<one>"


_List = Annotated[tuple[T, ...], Field(min_length=1), AfterValidator(_distinct)]

# Tags are written <so> because they appear in pydantic's error locations, where keys never do.
Number = Annotated[
    Annotated[N, Tag("<value>")]
    | Annotated[Range[N], Tag("<range>")]
    | Annotated[_List[N], Tag("<list>")],
    Discriminator(_form),
]
NumberOr = Annotated[
    Annotated[N | T, Tag("<value>")]
    | Annotated[Range[N], Tag("<range>")]
    | Annotated[_List[N | T], Tag("<list>")],
    Discriminator(_form),
]
Choice = Annotated[
    Annotated[T, Tag("<value>")] | Annotated[_List[T], Tag("<list>")], Discriminator(_form)
]
ChoiceOfMappings = Annotated[
    Annotated[T, Tag("<value>")] | Annotated[_List[T], Tag("<list>")],
    Discriminator(_form_of_mappings),
]
ChoiceOfLists = Annotated[
    Annotated[tuple[T, ...], Tag("<value>")] | Annotated[_List[tuple[T, ...]], Tag("<list>")],
    Discriminator(_form_of_lists),
]
PerScheme = Annotated[
    Annotated[E, Tag("<one>")] | Annotated[ByScheme[E], Tag("<by scheme>")], Discriminator(_scope)
]


Inner: TypeAlias = Plain | Range[float] | OneOf[Plain]
Entry: TypeAlias = Inner | ByScheme[Inner]


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter: a number from `low` to `high`, or one of `choices`.

    `scheme` is set if the parameter exists only for that scheme, `methods` if only for these;
    `method` and `scheme` come before every such parameter.
    """

    name: str
    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    step: int | float | None = None
    integer: bool = False
    choices: tuple[Scalar, ...] | None = None
    scheme: PairScheme | None = None
    methods: frozenset[MethodName] | None = None

    @property
    def entry(self) -> str:
        """The entry that it is a value of; one for each scheme has several parameters."""
        return self.name.removesuffix(f"_{self.scheme}")

    def is_for(self, *, method: object, scheme: object) -> bool:
        """Whether the parameter exists for these draws."""
        fits = self.methods is None or method in self.methods
        return fits and self.scheme in (None, scheme)


def values(entry: Entry) -> tuple[Plain, ...]:
    """The values of an entry: all of a list, the bounds of a range."""
    match entry:
        case ByScheme():
            return tuple(value for inner in entry.by_scheme.values() for value in values(inner))
        case Range():
            return (entry.low, entry.high)
        case OneOf():
            return tuple(entry)
        case _:
            return (entry,)


def parameters(name: str, entry: Entry, *, schemes: tuple[PairScheme, ...]) -> Iterator[Parameter]:
    """The parameters that the entry `name` adds to a study in which `schemes` can be drawn."""
    if isinstance(entry, ByScheme) and len(schemes) > 1:
        for scheme in schemes:
            inner = entry.by_scheme[scheme]
            if _varies(inner):
                yield _parameter(f"{name}_{scheme}", inner, scheme=scheme)
    elif _varies(inner := _inner(entry, scheme=schemes[0])):
        yield _parameter(name, inner, scheme=None)


def resolve(name: str, entry: Entry, *, scheme: PairScheme, drawn: Mapping[str, Scalar]) -> Plain:
    """The value of the entry `name` in a trial of `scheme` with the values `drawn`."""
    inner = _inner(entry, scheme=scheme)
    if not _varies(inner):
        return values(inner)[0]
    own = f"{name}_{scheme}"
    value = drawn[own] if isinstance(entry, ByScheme) and own in drawn else drawn[name]
    if isinstance(inner, Range):
        return value
    return {label(choice): choice for choice in values(inner)}[value]


def first(entry: Entry, *, scheme: PairScheme) -> Plain:
    """The first value that `entry` names for `scheme`."""
    return values(_inner(entry, scheme=scheme))[0]


def _inner(entry: Entry, *, scheme: PairScheme) -> Inner:
    return entry.by_scheme[scheme] if isinstance(entry, ByScheme) else entry


def _varies(inner: Inner) -> bool:
    return len(values(inner)) > 1


def _parameter(name: str, inner: Inner, *, scheme: PairScheme | None) -> Parameter:
    if not isinstance(inner, Range):
        return Parameter(name=name, choices=tuple(map(label, values(inner))), scheme=scheme)
    return Parameter(
        name=name,
        low=inner.low,
        high=inner.high,
        log=inner.log,
        step=inner.step,
        integer=isinstance(inner.low, int),
        scheme=scheme,
    )
