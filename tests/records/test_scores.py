from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import binomtest

from trp_search.records import Score
from trp_search.records.scores import share

SIZES = st.integers(1, 50_000)


@given(images=SIZES, part=st.floats(0, 1))
def test_the_interval_of_a_share_is_scipy_s(images: int, part: float):
    count = round(part * images)
    found = share(count, images)
    expected = binomtest(count, images).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-6)
    assert 0 <= found.low <= found.value == count / images <= found.high <= 1


@given(shares=st.tuples(st.floats(0, 1), st.floats(0, 1)), images=st.tuples(SIZES, SIZES))
def test_one_score_is_beyond_another_where_newcombe_s_difference_is(shares, images):
    one, other = (share(round(p * n), n) for p, n in zip(shares, images, strict=True))
    lower = (one.value - other.value) - math.sqrt(
        (one.value - one.low) ** 2 + (other.high - other.value) ** 2
    )
    assume(abs(lower) > 1e-12)
    assert one.beyond(other) == (lower > 0)
    assert not (one.beyond(other) and other.beyond(one))
    assert not one.beyond(one)


@pytest.mark.parametrize("images", [500, 1000])
def test_exactly_as_much_as_may_be_lost_is_kept_to_whatever_the_rounding(images: int):
    most, less = 0.01, round(0.01 * images)
    for right in range(images - less):
        own, other = share(right, images), share(right + less, images)
        assert own.keeps_to(other, most)
        assert other.keeps_to(own, most)
        assert not own.keeps_to(share(right + less + 1, images), most)


def test_newcombe_s_own_example():
    # Statistics in Medicine 17, 1998, p. 873, table II (a): 56/70 - 48/80, method 10: 0.0524 up.
    one, other = share(56, 70), share(48, 80)
    lower = 0.2 - math.hypot(one.value - one.low, other.high - other.value)
    assert lower == pytest.approx(0.0524, abs=5e-5)
    assert one.beyond(other)


@pytest.mark.parametrize("value", [-0.1, 0.6, math.nan, math.inf])
def test_a_value_lies_within_its_interval(value: float):
    with pytest.raises(ValueError, match="value"):
        Score(name="accuracy", value=value, low=0.4, high=0.5, images=10)
