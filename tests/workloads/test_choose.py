from __future__ import annotations

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from trp_search.workloads.choose import balanced
from trp_search.workloads.seeds import seeded

LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=60).map(torch.tensor)


@given(labels=LABELS, count=st.integers(0, 60), seed=st.integers(0, 100))
@example(labels=torch.tensor([0, 0, 0, 1, 2, 2, 2, 2, 2, 2, 3, 2]), count=7, seed=0)
def test_each_class_gives_its_share_but_for_rounding(labels, count, seed):
    """Half an image, and of the other classes' halves what falls to a class of its size."""
    count = min(count, len(labels))
    chosen = balanced(labels, count, generator=seeded(seed))
    assert int(chosen.sum()) == count
    sizes = labels.bincount(minlength=5)
    given_up = labels[chosen].bincount(minlength=5)
    share = sizes / len(labels)
    rounding = 0.5 + 0.5 * (sizes > 0).sum() * share
    assert ((given_up - share * count).abs() <= rounding + 1e-6).all()


@given(labels=LABELS, data=st.data())
def test_a_smaller_choice_is_part_of_a_larger_one(labels, data):
    large = data.draw(st.integers(0, len(labels)))
    small = data.draw(st.integers(0, large))
    inner, outer = (balanced(labels, count, generator=seeded(1)) for count in (small, large))
    assert (outer | ~inner).all()


def test_a_choice_depends_on_its_seed_alone():
    labels = torch.arange(200) % 10
    first, same, other = (balanced(labels, 50, generator=seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
