from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from trp_search.records.intervals import wilson


@given(images=st.integers(1, 50_000), share=st.floats(0, 1))
def test_the_interval_is_scipy_s(images: int, share: float):
    correct = round(share * images)
    expected = binomtest(correct, images).proportion_ci(method="wilson")
    assert wilson(correct, images) == pytest.approx((expected.low, expected.high), abs=1e-6)
