"""Which images there are is known without decoding one."""

from __future__ import annotations

import pytest

from trp_search.errors import InputError
from trp_search.records import DataSpec
from trp_search.workloads import data


@pytest.mark.parametrize("outside_weights", [False, True])
def test_what_is_listed_is_in_the_parts_that_are_loaded(outside_weights: bool):
    spec = DataSpec(name="digits", subset=500, heldout_subset=101)
    splits = data.load(spec, split_seed=3, outside_weights=outside_weights, device="cpu")
    found = data.listed(spec, split_seed=3, outside_weights=outside_weights)
    assert found == (splits.indices(), splits.digest)


def test_images_that_are_not_there_are_told():
    spec = DataSpec(name="images", root="nowhere", image_size=8, classes=2)
    with pytest.raises(InputError, match="'nowhere' is not a folder"):
        data.listed(spec, split_seed=0, outside_weights=False)
