"""What a cut reports agrees with a count of the network, within one in a hundred."""

import dataclasses

import pytest

from trp_search.errors import InputError
from trp_search.lowrank.agreement import check_count
from trp_search.records import Layer


def layer(name, *, dense, macs):
    parts = {"scheme": None, "rank": None, "full_rank": None}
    if macs != dense:
        parts = {"scheme": "channel", "rank": 1, "full_rank": 9}
    return Layer(
        name=name,
        dense_macs=dense,
        macs=macs,
        parameters=1,
        dense_parameters=1,
        reason=None,
        **parts,
    )


LAYERS = [layer("a", dense=600, macs=200), layer("b", dense=300, macs=300)]


@pytest.mark.parametrize(
    ("counted", "right"), [(595, True), (606, True), (590, False), (620, False)]
)
def test_a_hundredth_is_the_most_that_counts_may_differ_by(counted, right):
    given = {"": 2 * counted, "a": 2 * (counted - 400), "b": 600}
    if right:
        check_count(LAYERS, dense=2000, counted=given, images=2)
        return
    one = "; give an example_input of one image, batch first" if counted < 600 else ""
    why = rf"^layer 'a': {counted - 400} .* not 200; no speedup [^;]*{one}$"
    with pytest.raises(InputError, match=why):
        check_count(LAYERS, dense=2000, counted=given, images=2)


def test_the_layer_that_is_most_apart_is_named_and_a_network_whose_layers_agree_by_itself():
    with pytest.raises(
        InputError, match=r"^layer 'b': 900 multiply-adds for an image once cut, not"
    ):
        check_count(LAYERS, dense=1000, counted={"": 1200, "a": 201, "b": 900}, images=1)
    with pytest.raises(InputError, match=r"^no speedup can be stated: 1,200 multiply-adds counted"):
        check_count(LAYERS, dense=1000, counted={"": 1200, "a": 200, "b": 300}, images=1)


def test_zeros_of_a_sparse_layer_are_multiplied():
    sparse = layer("a", dense=600, macs=200)
    sparse = dataclasses.replace(sparse, scheme="sparse", rank=None)
    check_count([sparse], dense=1000, counted={"": 1000, "a": 600}, images=1)
