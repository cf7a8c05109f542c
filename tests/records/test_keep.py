from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trp_search import records
from trp_search.errors import InputError
from trp_search.records import (
    KEEPS,
    Cut,
    Energy,
    Error,
    Keep,
    Pairs,
    Point,
    Pruning,
    Ranks,
    Speedup,
    keep_of,
)

AMOUNTS = {
    "energy": 0.9,
    "value": 0.1,
    "ratio": 0.25,
    "evbmf": True,
    "gavish_donoho": True,
    "speedup": 2.0,
    "parameters": 3000,
    "latency_speedup": 2.0,
    "milliseconds": 8.0,
    "error": 0.1,
}


def cut(keep: Keep) -> Cut:
    solved = {"scheme": "net-trim", "calibration_images": 8} if isinstance(keep, Error) else {}
    return Cut(keep=keep, **solved)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", KEEPS)
def test_how_much_is_kept_is_one_key_of_json_and_comes_back(name: str):
    wanted = cut(keep_of(KEEPS[name], AMOUNTS[name]))
    text = records.to_json(wanted)
    assert records.to_dict(wanted)["keep"] == {name: AMOUNTS[name]}
    assert records.from_json(Cut, text) == wanted


def test_names_of_points_say_how_much_is_kept():
    names = {name: cut(keep_of(KEEPS[name], amount)).name for name, amount in AMOUNTS.items()}
    assert names == {
        "energy": "channel-0.9",
        "value": "channel-value-0.1",
        "ratio": "channel-ratio-0.25",
        "evbmf": "channel-evbmf",
        "gavish_donoho": "channel-gavish-donoho",
        "speedup": "channel-2x-weights-only",
        "parameters": "channel-3000p-weights-only",
        "latency_speedup": "channel-2x-on-the-clock-weights-only",
        "milliseconds": "channel-8ms-weights-only",
        "error": "net-trim-error-0.1",
    }


PAIRS = st.tuples(st.sampled_from(["channel", "spatial"]), st.integers(1, 99))


@pytest.mark.parametrize(
    ("kind", "scheme", "values"),
    [(Ranks, "channel", st.integers(1, 999)), (Pairs, "per-layer", PAIRS)],
)
@settings(deadline=None)
@given(data=st.data(), random=st.randoms())
def test_what_is_kept_by_layer_is_one_key_of_json_and_has_one_name_in_any_order(
    kind, scheme, values, data, random
):
    each = data.draw(st.dictionaries(st.text(min_size=1, max_size=9), values))
    shuffled = list(each.items())
    random.shuffle(shuffled)
    one, other = (Cut(keep=kind(dict(x)), scheme=scheme) for x in (each, shuffled))
    assert records.to_dict(one)["keep"] == {kind.key(): json.loads(json.dumps(each))}
    assert records.from_json(Cut, records.to_json(one)) == one
    assert records.to_json(one) == records.to_json(other)
    assert one.name == other.name
    assert records.is_name(one.name)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("abc"), st.integers(1, 9)), st.sampled_from("abc"))
def test_another_rank_makes_another_name(ranks, layer):
    changed = {**ranks, layer: ranks.get(layer, 0) + 1}
    assert Ranks(changed).name != Ranks(ranks).name


@pytest.mark.parametrize("scheme", ["channel", "spatial", "nested", "tucker"])
def test_pairs_by_layer_need_a_scheme_for_each(scheme):
    with pytest.raises(ValueError, match=f"pairs by layer are for scheme per-layer, not {scheme}"):
        Cut(keep=Pairs({"a": ("channel", 1)}), scheme=scheme)


@pytest.mark.parametrize("scheme", ["per-layer", "tucker"])
def test_ranks_by_layer_need_one_rank_in_each(scheme):
    with pytest.raises(ValueError, match=f"ranks by layer are for .*, not {scheme}"):
        Cut(keep=Ranks({"a": 1}), scheme=scheme)


KNOWN = ", ".join([*KEEPS, "ranks", "pairs", "max_drop"])


@pytest.mark.parametrize(
    ("keep", "problem"),
    [
        ('{"energy": 1.5}', "keep.energy: 1.5 is not in (0, 1]"),
        ('{"evbmf": false}', "keep.evbmf: False: input should be True"),
        ('{"parameters": 0}', "keep.parameters: 0 is not above 0"),
        ("{}", f"keep: takes exactly one of {KNOWN}"),
        ('{"energy": 0.9, "ratio": 0.5}', f"keep: takes exactly one of {KNOWN}"),
        ("0.9", f"keep: 0.9: takes exactly one of {KNOWN}"),
        ('{"energie": 0.9}', f"keep: takes exactly one of {KNOWN}"),
    ],
)
def test_an_amount_that_cannot_be_is_one_line(keep: str, problem: str):
    with pytest.raises(ValueError, match="keep") as caught:
        records.from_json(Cut, f'{{"keep": {keep}}}')
    assert records.problem(caught.value, Cut) == problem


@pytest.mark.parametrize("keep", [Error(0.1), Ranks({"a": 1})])
def test_truncations_take_what_makes_ranks_of_weights(keep):
    with pytest.raises(ValueError, match="truncations choose ranks by weights") as caught:
        Pruning(keep=keep)
    assert "\n" not in records.problem(caught.value, Pruning)


@given(total=st.integers(1, 10**12), speedup=st.floats(1, 1000))
def test_a_speedup_leaves_its_share_of_a_network(total: int, speedup: float):
    assert Speedup(speedup).within(total) * speedup == pytest.approx(total)


def test_nothing_runs_faster_than_nothing():
    assert Speedup(1.0).within(0) == 0 > Speedup(1.5).within(0)


def test_a_rule_that_is_not_used_is_no_setting_to_tell_of(make_point: Callable[..., Point]):
    settings = {"evbmf": False, "cut_evbmf": True, "projection": False, "energy": None}
    assert make_point("0", correct=9, speedup=2.0, settings=settings).told == {
        "cut_evbmf": True,
        "projection": False,
    }
    assert Energy(0.9).amount == 0.9


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Energy(1.2), "Energy: 1.2 is not in (0, 1]"),
        (lambda: Speedup(0.5), "Speedup: 0.5 is not at least 1"),
        (lambda: Energy(energy=0), "Energy: 0 is not in (0, 1]"),
    ],
)
def test_an_amount_out_of_range_is_refused_in_one_line(make, sentence):
    with pytest.raises(InputError) as caught:
        make()
    assert str(caught.value) == sentence
