from __future__ import annotations

import pytest

from trp_search.errors import InputError
from trp_search.records import DataSpec
from trp_search.workloads import data
from trp_search.workloads.data import Shape


@pytest.mark.parametrize(("name", "classes"), [("cifar10", 10), ("cifar100", 100)])
def test_the_shape_is_known_before_anything_is_fetched(name, classes):
    expected = Shape(channels=3, height=32, width=32, classes=classes)
    assert data.describe(DataSpec(name=name, root="/nowhere")) == expected


def test_a_folder_without_the_set_is_one_line(tmp_path):
    spec = DataSpec(name="cifar10", root=str(tmp_path))
    with pytest.raises(InputError) as caught:
        data.load(spec, split_seed=0, outside_weights=False, device="cpu")
    assert str(caught.value) == (
        f"workload.data.root: '{tmp_path}' holds no whole cifar10; "
        "a search with download: true fetches it"
    )
