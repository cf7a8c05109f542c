"""Progress as it is told and heard: laws in virtual time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trp_search.progress import TRAINING, Pace, Step, heard, in_epoch, tell, tracked
from trp_search.records import Progress


def heard_steps(work) -> list[Step]:
    told: list[Step] = []
    with heard(told.append):
        work()
    return told


@given(st.lists(st.integers(1, 50), max_size=20))
def test_what_is_tracked_comes_through_and_is_counted_once_it_was_used(sizes: list[int]):
    used: list[int] = []

    def work() -> None:
        for size in tracked(sizes, "reading", total=sum(sizes), unit="images", size=int):
            assert told[-1].done == sum(used)
            used.append(size)

    told: list[Step] = []
    with heard(told.append):
        work()
    assert used == sizes
    assert [step.done for step in told] == [sum(sizes[:n]) for n in range(len(sizes) + 1)]


def test_a_step_that_is_left_in_the_middle_is_over():
    def work() -> None:
        next(iter(tracked("abc", "reading", total=3, unit="letters")))

    assert [step.done for step in heard_steps(work)] == [0, 3]


def test_what_nobody_hears_is_done_all_the_same():
    assert list(tracked("abc", "reading", total=3, unit="letters")) == list("abc")


def test_the_innermost_listener_hears_and_the_outer_one_hears_again_afterwards():
    outer: list[Step] = []
    with heard(outer.append):
        inner = heard_steps(lambda: tell("inside"))
        tell("outside")
    assert [step.what for step in inner] == ["inside"]
    assert [step.what for step in outer] == ["outside"]


def training(epochs: int, images: int, *, rate: float, first: int = 1) -> list[Progress]:
    """The progress of a training at an even rate, one image at a time."""
    pace, found, now = Pace(), [], 1000.0

    def hear(step: Step) -> None:
        found.append(pace.hear(step, now=now))

    with heard(hear):
        for epoch in range(first, epochs + 1):
            with in_epoch(epoch, of=epochs):
                for _ in tracked(range(images), TRAINING, total=images, unit="images"):
                    now += 1 / rate
    return found


@given(st.integers(1, 5), st.integers(1, 9), st.floats(0.1, 1e4), st.integers(1, 5))
def test_an_even_training_is_as_fast_and_has_as_long_left_as_it_will_take(
    epochs: int, images: int, rate: float, first: int
):
    for progress in training(epochs, images, rate=rate, first=min(first, epochs)):
        assert progress.epoch is not None
        if progress.done:
            assert progress.per_second == pytest.approx(rate)
            left = (epochs - progress.epoch) * images + images - progress.done
            assert progress.seconds_left == pytest.approx(left / rate, abs=1e-6 * images / rate)


def test_a_step_of_unknown_length_has_neither_share_nor_end():
    progress = Pace().hear(heard_steps(lambda: tell("tracing"))[0], now=3.0)
    assert (progress.share, progress.seconds_left, progress.is_over) == (None, None, False)


def test_time_left_before_anything_is_done_is_unknown():
    first = training(2, 3, rate=1.0)[0]
    assert (first.per_second, first.seconds_left) == (None, None)
