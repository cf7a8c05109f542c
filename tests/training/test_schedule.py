import pytest
from hypothesis import given
from hypothesis import strategies as st

from trp_search.records import Training
from trp_search.training.schedule import learning_rate


def test_cosine_starts_at_the_rate_and_ends_near_zero():
    training = Training(epochs=10, learning_rate=0.2)
    assert learning_rate(training, 0.0) == pytest.approx(0.2)
    assert learning_rate(training, 0.5) == pytest.approx(0.1)
    assert learning_rate(training, 0.9999) < 1e-5


def test_steps_drop_at_their_milestones():
    training = Training(epochs=164, learning_rate=0.1, schedule="step", milestones=(0.5, 0.75))
    rates = [learning_rate(training, share) for share in (0.0, 0.499, 0.5, 0.749, 0.75, 0.999)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_warm_up_rises_from_zero_to_the_rate():
    training = Training(epochs=10, learning_rate=0.2, warmup=0.1, schedule="constant")
    assert learning_rate(training, 0.0) == 0.0
    assert learning_rate(training, 0.05) == pytest.approx(0.1)
    assert learning_rate(training, 0.1) == pytest.approx(0.2)


@given(
    progress=st.floats(0, 1, exclude_max=True),
    warmup=st.floats(0, 0.9),
    schedule=st.sampled_from(["cosine", "step", "constant"]),
)
def test_the_rate_never_leaves_zero_to_the_rate(progress, warmup, schedule):
    training = Training(epochs=3, learning_rate=0.3, warmup=warmup, schedule=schedule)
    assert 0 <= learning_rate(training, progress) <= 0.3
