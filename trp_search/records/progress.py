"""How far a training or another long step has come, as a worker keeps it for whoever watches."""

from __future__ import annotations

from pydantic.dataclasses import dataclass as checked

from trp_search.records.kinds import STRICT, Count, NonNegative, Size


@checked(frozen=True, kw_only=True, config=STRICT)
class Progress:
    """A step under way, such as an epoch of a training.

    Attributes:
        what: the step, such as `training`.
        done: units done.
        total: units in all; None if unknown.
        unit: what is counted, such as `images`.
        epoch, epochs: the epoch under way and how many there are, in a training.
        per_second: units a second since the step began; None at its beginning.
        seconds_left: to the end of the training, or else of the step; None if unknown.
        at: seconds since 1970 when this was so.
    """

    what: str
    done: Count
    total: Count | None
    unit: str
    epoch: Size | None
    epochs: Size | None
    per_second: NonNegative | None
    seconds_left: NonNegative | None
    at: NonNegative

    @property
    def share(self) -> float | None:
        """The done share of the step; None if its length is unknown."""
        return min(1.0, self.done / self.total) if self.total else None

    @property
    def is_over(self) -> bool:
        """Whether all of the step is done."""
        return self.total is not None and self.done >= self.total
