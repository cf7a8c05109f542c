"""The kinds of how much is kept; a further one is its class and its line in `KEEPS`."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, ClassVar, Literal, TypeVar, final

from pydantic import AfterValidator
from pydantic.dataclasses import dataclass as checked
from typing_extensions import override

from trp_search.records.keep import Faster, Keep, PerLayer, UpTo
from trp_search.records.kinds import (
    STRICT,
    Factor,
    NonNegative,
    Positive,
    PositiveInt,
    Scheme,
    Share,
)
from trp_search.records.timed import TIMED

T = TypeVar("T")


@final
@checked(frozen=True, config=STRICT)
class Energy(PerLayer):
    """Keep a share X of each layer's energy, its squared singular values."""

    written: ClassVar[str] = "{:g}"
    energy: Share


@final
@checked(frozen=True, config=STRICT)
class Value(PerLayer):
    """Keep singular values of at least X."""

    written: ClassVar[str] = "value-{:g}"
    value: Positive


@final
@checked(frozen=True, config=STRICT)
class Ratio(PerLayer):
    """Keep a share X of each layer's full rank."""

    written: ClassVar[str] = "ratio-{:g}"
    ratio: Share


@final
@checked(frozen=True, config=STRICT)
class Evbmf(PerLayer):
    """Keep singular values above the estimated noise (EVBMF)."""

    written: ClassVar[str] = "evbmf"
    evbmf: Literal[True] = True


@final
@checked(frozen=True, config=STRICT)
class GavishDonoho(PerLayer):
    """Keep singular values above Gavish and Donoho's optimal threshold for unknown noise."""

    written: ClassVar[str] = "gavish-donoho"
    gavish_donoho: Literal[True] = True


# By thresholds on singular values.
OF_VALUES = (Value, Evbmf, GavishDonoho)


@final
@checked(frozen=True, config=STRICT)
class Speedup(Faster):
    """At least X times fewer multiply-adds in the whole network."""

    written: ClassVar[str] = "{:g}x"
    speedup: Factor


@final
@checked(frozen=True, config=STRICT)
class Parameters(UpTo):
    """At most X parameters in the whole network."""

    written, asked, found = "{}p", "{:,}", "{:,.0f}"
    parameters: PositiveInt


@final
@checked(frozen=True, config=STRICT)
class Error(Keep):
    """Relative error (norm) allowed in each linear layer's outputs on calibration images."""

    written: ClassVar[str] = "error-{:g}"
    error: Share


def _sorted(ranks: dict[str, T]) -> dict[str, T]:
    return dict(sorted(ranks.items()))


def _digest(value: object) -> str:
    return hashlib.blake2b(json.dumps(value).encode(), digest_size=4).hexdigest()


@final
@checked(frozen=True, config=STRICT)
class Ranks(Keep):
    """The rank of each layer by its name; layers not named stay dense."""

    written: ClassVar[str] = "ranks-{}"
    ranks: Annotated[dict[str, PositiveInt], AfterValidator(_sorted)]

    @property
    @override
    def name(self) -> str:
        return self.written.format(_digest(self.ranks))


@final
@checked(frozen=True, config=STRICT)
class Pairs(Keep):
    """The scheme and the rank of each layer by its name; layers not named stay dense."""

    written: ClassVar[str] = "pairs-{}"
    pairs: Annotated[dict[str, tuple[Scheme, PositiveInt]], AfterValidator(_sorted)]

    @property
    @override
    def name(self) -> str:
        return self.written.format(_digest(self.pairs))


@final
@checked(frozen=True, config=STRICT)
class MaxDrop(Keep):
    """The fastest cut that loses at most X of the baseline's validation score."""

    written: ClassVar[str] = "drop-{:g}"
    max_drop: NonNegative


# By the key of each, as options and search spaces name them. Ranks by layer are neither; what may
# be lost is an option of commands that score, which find the speedup for it.
KEEPS: dict[str, type[Keep]] = {
    kind.key(): kind for kind in (Energy, Value, Ratio, Evbmf, GavishDonoho, Speedup, Parameters)
}
KEEPS |= {**TIMED, Error.key(): Error}
Keep.kinds.update(KEEPS, **{kind.key(): kind for kind in (Ranks, Pairs, MaxDrop)})
