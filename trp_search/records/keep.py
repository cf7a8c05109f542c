"""How much of a network is kept: one value, checked, `{"energy": 0.9}` in JSON.

What it does to singular values stands in `lowrank.rules`, what a budget counts in
`lowrank.budgets`; the kinds there are in `records.keeps`.
"""

from __future__ import annotations

import math
import re
from abc import ABCMeta, abstractmethod
from collections.abc import Callable
from functools import reduce
from operator import or_
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    TypeAlias,
    get_args,
    get_type_hints,
)

from pydantic import (
    GetCoreSchemaHandler,
    PlainSerializer,
    PlainValidator,
    TypeAdapter,
    ValidationError,
)
from typing_extensions import override

from trp_search.errors import InputError
from trp_search.records.json import problem

Amount: TypeAlias = bool | int | float


class _OneLine(ABCMeta):
    """Refuses an amount in one line."""

    key: Callable[[], str]

    @override
    def __call__(cls, *given: Any, **named: Any) -> Any:
        if len(given) == 1 and not named:
            return cls(**{cls.key(): given[0]})
        try:
            return super().__call__(*given, **named)
        except ValidationError as error:
            why = re.sub(f"^{cls.key()}(: |[.])", "", problem(error, cls))
            raise InputError(f"{cls.__name__}: {why}") from None


class Keep(metaclass=_OneLine):
    """How much a cut or a truncation keeps; a subclass has one field, the amount.

    Attributes:
        written: how it is written in a point's name.
        kinds: every kind that a record may have, by its key.
    """

    written: ClassVar[str]
    kinds: ClassVar[dict[str, type[Keep]]] = {}

    @classmethod
    def key(cls) -> str:
        """Its name in JSON and YAML: that of its field."""
        return next(name for name in cls.__annotations__ if name != "written")

    @classmethod
    def meaning(cls) -> str:
        """What it is, in words: the first sentence of its class."""
        text = " ".join((cls.__doc__ or "").partition("\n\n")[0].split()).rstrip(".")
        return f"{text[:1].lower()}{text[1:]}"

    @classmethod
    def is_switch(cls) -> bool:
        """Whether it has no amount: in a search space it is true or false."""
        return bool(cls.kind_of_amount() == Literal[True])

    @classmethod
    def kind_of_amount(cls) -> Any:  # noqa: ANN401  a type
        """The type of its amount, with its bounds."""
        return get_type_hints(cls, include_extras=True)[cls.key()]

    @classmethod
    def is_count(cls) -> bool:
        """Whether its amount is a whole number."""
        return int in get_args(cls.kind_of_amount())

    @property
    def amount(self) -> Amount:
        """The value of its field."""
        amount: Amount = getattr(self, self.key())
        return amount

    @property
    def name(self) -> str:
        """Short: `0.9`, `3x`."""
        return self.written.format(self.amount)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Any], handler: GetCoreSchemaHandler) -> Any:  # noqa: ANN401  pydantic's own
        if cls not in (Keep, PerLayer, WholeNetwork):
            return handler(source)
        kinds: Any = reduce(or_, cls._known().values())
        written = PlainSerializer(lambda keep: {keep.key(): getattr(keep, keep.key())})
        return handler.generate_schema(Annotated[Any, PlainValidator(cls._checked, kinds), written])

    @classmethod
    def _known(cls) -> dict[str, type[Keep]]:
        return {k: kind for k, kind in cls.kinds.items() if issubclass(kind, cls)}

    @classmethod
    def _checked(cls, raw: object) -> Keep:
        known = cls._known()
        if isinstance(raw, dict) and len(raw) == 1 and (name := next(iter(raw))) in known:
            return TypeAdapter(known[name]).validate_python(raw)
        if not isinstance(raw, cls):
            raise ValueError(f"takes exactly one of {', '.join(known)}")  # noqa: TRY004
        return raw


class PerLayer(Keep):
    """Asked of each layer by itself: a rule that makes ranks of singular values."""


class WholeNetwork(Keep):
    """For all layers together, spread over them by an allocation."""

    @abstractmethod
    def within(self, total: float | int) -> float:
        """What may remain of a network that costs `total`."""

    @abstractmethod
    def best(self, total: float | int, least: float | int) -> str:
        """The best that can be asked of a network that costs `total` and cut `least`."""


class Faster(WholeNetwork):
    """How many times less the whole network costs."""

    @override
    def within(self, total: float | int) -> float:
        if total == 0 and self.amount > 1:
            return -math.inf  # nothing runs faster than nothing
        return total / self.amount

    @override
    def best(self, total: float | int, least: float | int) -> str:
        most = math.floor(100 * total / least) / 100 if total else 1.0
        return f"{self.key()}: {self.amount:g}x cannot be reached; the best is {most:.2f}x"


class UpTo(WholeNetwork):
    """The most that the whole network may cost.

    Attributes:
        asked: how an amount is printed.
        found: how a cost is.
    """

    asked: ClassVar[str]
    found: ClassVar[str]

    @override
    def within(self, total: float | int) -> float:
        return float(self.amount)

    @override
    def best(self, total: float | int, least: float | int) -> str:
        asked, fewest = self.asked.format(self.amount), self.found.format(least)
        return f"{self.key()}: {asked} cannot be reached; the fewest are {fewest}"


def keep_of(kind: type[Keep], amount: Amount) -> Keep:
    """`amount` of a kind; ValueError where it is not in range."""
    return TypeAdapter(kind).validate_python({kind.key(): amount})
