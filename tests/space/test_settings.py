"""What is drawn is in a point's settings, on the page, and comes back where a search begins."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from trp_search.errors import InputError
from trp_search.methods import METHODS, uses
from trp_search.methods.method import TIME
from trp_search.records import Point, TrialSpec
from trp_search.report import contents, rows
from trp_search.report.settings import panels
from trp_search.scoring.points import settings_of
from trp_search.space import Parameter, Scalar, SearchSpace, changed, load_space, warm_start
from trp_search.space.example import any_trial
from trp_search.space.search_fields import Space, TrainingEntries
from trp_search.space.settings import SERVED
from trp_search.store import RunFolder

SHIPPED = sorted((Path(__file__).parents[2] / "search_spaces").glob("*.yaml"))
SHARES = {"low": 0.5, "high": 0.9}
VARIED: dict[str, Any] = {
    "start": ["baseline", "scratch"],
    "period": [5, 7, "never"],
    "projection": [True, False],
    "nuclear_weight": {"low": 1e-6, "high": 1e-3, "log": True},
    "nuclear_every_step": [True, False],
    "layers": ["kxk", "all"],
    "truncation_images": [0, 64],
    "truncation_images_every": [2, 4],
    "allocation": ["knapsack", "greedy", "uniform"],
    "multiple": [1, 4],
    "calibration_images": [0, 64],
    "importance": ["magnitude", "lasso"],
    "factors": ["none", "per-layer"],
    "reconstruct": ["none", "linear", "relu"],
    "joint_alpha": SHARES,
    "joint_lowest": {"low": 0.01, "high": 0.2},
    "joint_highest": {"low": 0.3, "high": 0.8},
    "joint_rank_min": [1, 5],
    "elastic_lowest": [1.25, 2.0],
    "elastic_highest": {"low": 4.0, "high": 8.0},
    "elastic_spread": {"low": 0.0, "high": 3.0},
    "elastic_images": [0, 64],
    "slimmable_highest": {"low": 3.0, "high": 8.0},
    "fine_tuning_epochs": {"low": 0, "high": 3},
    "fine_tuning_learning_rate": [0.01, 0.02],
    "distillation": {"low": 0.0, "high": 1.0},
    "distillation_temperature": [2.0, 4.0],
    "reestimate_batch_norm": [True, False],
    "batch_norm_images": [128, 256],
    "precision": ["float32", "int8"],
}
KEPT: dict[str, Any] = {
    "energy": SHARES,
    "value": {"low": 0.1, "high": 1.0},
    "ratio": SHARES,
    "evbmf": [True, False],
    "gavish_donoho": [True, False],
    "speedup": {"low": 1.5, "high": 3.0},
    "parameters": {"low": 1000, "high": 9000},
    "latency_speedup": {"low": 1.5, "high": 3.0},
    "milliseconds": {"low": 1.0, "high": 9.0},
}
TRAINING: dict[str, Any] = {
    "epochs": {"low": 5, "high": 9},
    "learning_rate": {"low": 0.01, "high": 0.1, "log": True},
    "batch_size": [32, 64],
    "milestones": [[0.5], [0.5, 0.75]],
    "schedule": ["cosine", "step"],
    "nesterov": [True, False],
}
BY_SCHEME = {
    name
    for kind in (Space, TrainingEntries)
    for name, field in kind.model_fields.items()
    if name != "precision" and "ByScheme" in str(field.annotation)
}


def one_each(entry: Any) -> st.SearchStrategy[tuple[Any, Any]]:
    """Entries of two schemes: the second varies too, or is fixed."""
    fixed = entry["low"] if isinstance(entry, dict) else entry[0]
    return st.sampled_from([(entry, entry), (entry, fixed)])


def narrow(space: dict[str, Any], methods: list[str]) -> None:
    """Leaves in `space` what pruning takes, if a method prunes."""
    if {"prune", "slimmable"} & {*methods} and "allocation" in space:
        space["allocation"] = ["knapsack", "uniform"]
    if "slimmable" in methods and "importance" in space:
        space["importance"] = ["magnitude", "bn-scale"]
    if "prune" in methods and space.keys() & {"ratio", "cut_ratio", "parameters", "cut_parameters"}:
        space.pop("factors", None)  # of a speedup


@st.composite
def spaces(draw: st.DrawFn) -> dict[str, Any]:
    """The section of a space in which entries drawn at random vary, one of them by scheme."""
    methods = draw(st.lists(st.sampled_from(list(METHODS)), unique=True, min_size=1, max_size=3))
    own = draw(st.lists(st.sampled_from(list(VARIED)), unique=True, max_size=8))
    space = {name: VARIED[name] for name in own}
    for prefix in ("", "cut_"):
        if kept := draw(st.sampled_from([None, *KEPT])):
            space[prefix + kept] = KEPT[kept]
    names = draw(st.lists(st.sampled_from(list(TRAINING)), unique=True, max_size=3))
    training = {"epochs": 9, **{name: TRAINING[name] for name in names}}
    if TIME & space.keys():  # which is of pairs
        counts = [name for name in methods if uses(name, "cut_speedup")]
        methods = [n for n in methods if n not in counts or TIME & METHODS[n].reads] or ["plain"]
    schemes = ["channel", draw(st.sampled_from(["spatial", "per-layer"]))]
    if {"decomposable", "elastic"} & {*methods}:
        schemes = ["spatial", "channel"]
    space |= {"method": methods, "scheme": schemes, "error": SHARES}
    narrow(space, methods)
    part = draw(st.sampled_from([space, training]))
    varied = [name for name in part if name in BY_SCHEME and isinstance(part[name], list | dict)]
    if by := draw(st.sampled_from([None, *varied])):
        part[by] = {"by_scheme": dict(zip(schemes, draw(one_each(part[by])), strict=True))}
    space.setdefault("nuclear_weight", 1e-4)
    read, trained = (
        {name: entry for name, entry in part.items() if any(uses(m, name) for m in methods)}
        for part in (space, training)
    )
    return read | ({"training": trained} if trained else {})


def loaded(folder: Path, space: Mapping[str, Any]) -> SearchSpace:
    workload = {"network": "resnet20", "data": "digits"}
    raw = {"workload": workload, "training": {"epochs": 9}, "space": space, "trials": 4}
    raw |= {"target": {"name": "here"}, "objectives": ["accuracy", "speedup", "bytes"]}
    (folder / "x.yaml").write_text(yaml.safe_dump(raw))
    return load_space(folder / "x.yaml")


@st.composite
def draws(
    draw: st.DrawFn, parameters: tuple[Parameter, ...], usual: Mapping[str, Scalar]
) -> dict[str, Scalar]:
    """What a study may draw."""
    drawn: dict[str, Scalar] = {}
    for parameter in parameters:
        known = {**usual, **drawn}
        fits = parameter.methods is None or known["method"] in parameter.methods
        if fits and parameter.scheme in (None, known["scheme"]):
            drawn[parameter.name] = draw(values(parameter))
    return drawn


def drawn_from(data: st.DataObject, space: SearchSpace) -> dict[str, Scalar]:
    usual = {"method": space.space.methods[0], "scheme": space.space.schemes[0]}
    drawn: dict[str, Scalar] = data.draw(draws(space.parameters(), usual))
    return drawn


def values(parameter: Parameter) -> st.SearchStrategy[Scalar]:
    if parameter.choices is not None:
        return st.sampled_from(parameter.choices)
    assert parameter.low is not None
    assert parameter.high is not None
    if parameter.integer:
        return st.integers(int(parameter.low), int(parameter.high))
    return st.floats(parameter.low, parameter.high)


def trial(space: SearchSpace, drawn: Mapping[str, Scalar]) -> TrialSpec:
    return space.trial_spec(drawn, number=0)


def assert_codec_is_exact(space: SearchSpace, drawn: dict[str, Scalar]) -> None:
    """A trial's settings are what was drawn, unless the trial is the same whatever was drawn."""
    spec = trial(space, drawn)
    setting = warm_start.setting_of(space, spec)
    assert not list(warm_start.problems(space, setting))
    assert not list(warm_start.departures(space, setting, spec))
    assert not list(warm_start.contradictions(space, drawn, spec))
    back = warm_start.parameters(changed(space, warm_start=(setting,)))[0]
    base = drawn | back
    assert trial(space, base) == spec
    passes = METHODS[spec.method].passes
    shown = settings_of(spec, spec.cuts[0], tuned=True)
    for parameter in space.parameters():
        name = parameter.name
        if name not in drawn:
            assert name not in back
        elif name not in back:
            changes = parameter.choices or (parameter.low, parameter.high)
            assert all(trial(space, base | {name: value}) == spec for value in changes)
        else:
            entry = name.removesuffix(f"_{parameter.scheme}")
            assert back[name] == drawn[name] or trial(space, base | {name: drawn[name]}) == spec
            asked = entry == "calibration_images" and not drawn[name] and shown[entry] == 1000
            rounded = entry == "epochs" and back[name] - shown[entry] in range(passes)
            assert shown[entry] == back[name] or asked or rounded


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
@settings(deadline=None, max_examples=12)
@given(data=st.data())
def test_what_a_shipped_space_draws_is_in_a_points_settings_and_comes_back(path, data):
    space = load_space(path)
    assert_codec_is_exact(space, drawn_from(data, space))


@settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(section=spaces(), data=st.data())
def test_what_any_space_draws_is_in_a_points_settings_and_comes_back(tmp_path, section, data):
    try:
        space = loaded(tmp_path, section)
    except InputError:
        assume(False)
    assert_codec_is_exact(space, drawn_from(data, space))


def test_an_amount_for_the_cut_alone_is_not_that_of_a_method_that_reads_none(tmp_path):
    section = {"method": ["trp", "prune"], "cut_energy": 0.9, "ratio": {"low": 0.5, "high": 0.9}}
    assert_codec_is_exact(loaded(tmp_path, section), {"method": "prune", "ratio": 0.5})


def test_an_entry_by_scheme_is_that_of_the_first_one_for_a_method_without_schemes(tmp_path):
    epochs = {"low": 5, "high": 9}
    section = {"method": ["trp", "slimmable"], "scheme": ["channel", "spatial"]}
    section |= {"training": {"epochs": {"by_scheme": {"channel": epochs, "spatial": epochs}}}}
    drawn = {"method": "slimmable", "epochs_channel": 5}
    assert_codec_is_exact(loaded(tmp_path, section), drawn)


@pytest.fixture
def panel_names(
    empty_run: RunFolder, make_point: Callable[..., Point]
) -> Callable[[list[TrialSpec]], set[str]]:
    """The settings that the page draws against the objectives."""
    blank = contents.read(empty_run)

    def names(specs: list[TrialSpec]) -> set[str]:
        points = tuple(
            make_point(
                f"{n}", correct=100 + n, speedup=2.0, settings=settings_of(s, s.cuts[0], tuned=True)
            )
            for n, s in enumerate(specs)
        )
        found = rows.build(dataclasses.replace(blank, points=points)).trials
        return {name for panel in panels(found) for name in panel.names}

    return names


ALL = VARIED | {"error": SHARES}


@pytest.mark.parametrize("name", [*ALL, *KEPT, *(f"cut_{kept}" for kept in KEPT), *TRAINING])
def test_an_entry_that_varies_has_a_panel(name, tmp_path, panel_names):
    entry = SERVED if name == "precision" else name
    method = next(method for method in METHODS if uses(method, entry))
    section: dict[str, Any] = {"method": method, "fine_tuning_epochs": 1}
    section |= {"error": 0.3} if method == "ddlr-style" else {}
    section |= {"training": {"epochs": 9}} if METHODS[method].trains else {}
    section |= {"nuclear_weight": 1e-4} if method == "trp" else {}
    section |= {"truncation_images": 64} if name == "truncation_images_every" else {}
    if name in TRAINING:
        section["training"] |= {name: TRAINING[name]}
    else:
        section[name] = (ALL | KEPT).get(name, KEPT.get(name.removeprefix("cut_")))
    space = loaded(tmp_path, section)
    (parameter,) = space.parameters()
    ends = parameter.choices or (parameter.low, parameter.high)
    specs = [trial(space, {parameter.name: value}) for value in (ends[0], ends[-1])]
    assert parameter.name in panel_names(specs)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_parameter_of_a_shipped_space_has_a_panel(path, panel_names):
    space = load_space(path)
    for parameter in space.parameters():
        ends = parameter.choices or (parameter.low, parameter.high)
        scheme, methods = parameter.scheme, sorted(parameter.methods or space.space.methods)
        shown: set[str] = set()
        for method, last in itertools.product(methods, (False, True)):
            of = {"method": method} | ({"scheme": scheme} if scheme else {})
            pair = [of | {parameter.name: value} for value in (ends[0], ends[-1])]
            shown |= panel_names([any_trial(space, chosen, last=last) for chosen in pair])
        assert parameter.entry in shown


def test_every_entry_of_a_space_is_tried_above():
    space = load_space(SHIPPED[0])
    tried = {*ALL, *KEPT, *(f"cut_{kept}" for kept in KEPT), "method", "scheme", "training"}
    assert type(space.space).model_fields.keys() == tried
