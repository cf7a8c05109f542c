"""What classification makes of logits and labels."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from trp_search.records import Training
from trp_search.records.scores import share
from trp_search.tasks import TASKS

TASK = TASKS["classification"]
CLASSES = 4
SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=5)


def drawn(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(count, CLASSES, generator=generator),
        torch.randint(CLASSES, (count,), generator=generator),
    )


@given(SIZES, st.integers(0, 99))
def test_a_score_is_of_all_images_however_they_are_batched(sizes, seed):
    logits, labels = drawn(sum(sizes), seed)
    batches = zip(logits.split(sizes), labels.split(sizes), strict=True)
    found = TASK.evaluate(nn.Identity(), batches)
    hits = sum(
        int(max(range(CLASSES), key=row.__getitem__) == label)
        for row, label in zip(logits.tolist(), labels.tolist(), strict=True)
    )
    assert found.score == share(hits, len(labels))
    assert found.loss == pytest.approx(functional.cross_entropy(logits, labels).item(), rel=1e-5)


def test_evaluation_leaves_modes_as_they_were_though_a_batch_fails():
    network = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
    with pytest.raises(TypeError):
        TASK.evaluate(network, [(None, None)])
    assert [module.training for module in network] == [True, False]


@given(st.floats(0, 0.5), st.integers(0, 99))
def test_smoothed_labels_are_part_uniform(smoothing, seed):
    logits, labels = drawn(6, seed)
    settings = Training(epochs=1, batch_size=2, learning_rate=0.1, label_smoothing=smoothing)
    own, even = functional.cross_entropy(logits, labels), -logits.log_softmax(1).mean()
    expected = (1 - smoothing) * own + smoothing * even
    assert TASK.loss(logits, labels, settings).item() == pytest.approx(expected.item(), rel=1e-5)


@given(st.integers(0, 300), st.integers(0, 300))
def test_one_overtakes_by_more_than_a_standard_error_of_the_difference(one, other):
    images = 300
    p = other / images
    error = math.sqrt(p * (1 - p) / images + p * (1 - p) / images)
    gap = (one - other) / images
    if abs(gap - error) > 1e-9:
        assert TASK.overtakes(share(one, images), share(other, images)) == (gap > error)


@pytest.mark.parametrize("shape", [(2,), (2, 5), (3, 4), (2, 4, 1, 1)])
def test_logits_of_another_shape_are_refused(shape):
    assert str(shape) in TASK.misfit(torch.zeros(shape), images=2, classes=CLASSES)
    assert TASK.misfit(torch.zeros(2, 4), images=2, classes=CLASSES) is None
