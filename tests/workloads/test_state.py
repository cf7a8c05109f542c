from __future__ import annotations

import argparse
import pickle
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.parallel import DataParallel
from torch.optim.swa_utils import AveragedModel

from trp_search.errors import InputError
from trp_search.workloads import state


class Marker:
    """An object that only its own code can make."""


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 2))


def saved(tmp_path: Path, content: object, **how: object) -> Path:
    torch.save(content, tmp_path / "w.pth", **how)
    return tmp_path / "w.pth"


def same(found: state.State, own: state.State) -> bool:
    return found.keys() == own.keys() and all(torch.equal(found[key], own[key]) for key in own)


def refused(path: Path, own: state.State) -> str:
    with pytest.raises(InputError) as caught:
        state.read_state(path, own=own)
    assert "\n" not in str(caught.value)
    return str(caught.value)


WRAPPED = {
    "bare": lambda network: network.state_dict(),
    "under state_dict": lambda network: {"epoch": 3, "state_dict": network.state_dict()},
    "under model": lambda network: {"model": network.state_dict(), "args": argparse.Namespace(a=1)},
    "under model_ema": lambda network: {"model_ema": AveragedModel(network).state_dict()},
    "of DataParallel": lambda network: DataParallel(network).state_dict(),
    "compiled": lambda network: torch.compile(network).state_dict(),
    "compiled in DataParallel": lambda network: DataParallel(torch.compile(network)).state_dict(),
    "compiled in part": lambda network: {
        key.replace("0.", "0._orig_mod.", 1) if key.startswith("0.") else key: tensor
        for key, tensor in network.state_dict().items()
    },
}


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("how", WRAPPED)
def test_weights_are_found_under_the_usual_wrappings(network, tmp_path, how, older):
    path = saved(tmp_path, WRAPPED[how](network), _use_new_zipfile_serialization=not older)
    assert same(state.read_state(path, own=network.state_dict()), network.state_dict())


def test_a_safetensors_file_may_have_a_wrapper_s_names_too(network, tmp_path):
    save_file(DataParallel(network).state_dict(), tmp_path / "w")
    assert same(state.read_state(tmp_path / "w", own=network.state_dict()), network.state_dict())


def test_names_that_are_the_network_s_own_are_kept():
    own = DataParallel(nn.Linear(2, 2)).state_dict()
    assert same(state.renamed(own, own=own), own)


def test_counters_that_a_file_of_earlier_pytorch_lacks_are_the_network_s(network, tmp_path):
    own = network.state_dict()
    counted = OrderedDict((k, v) for k, v in own.items() if not k.endswith("num_batches_tracked"))
    assert state.read_state(saved(tmp_path, counted), own=own).keys() == own.keys()


@pytest.mark.parametrize("older", [False, True])
def test_objects_of_code_are_refused_by_name_and_their_code_does_not_run(network, tmp_path, older):
    content = {"state_dict": network.state_dict(), "extra": Marker()}
    path = saved(tmp_path, content, _use_new_zipfile_serialization=not older)
    assert f"holds objects of {__name__}.Marker, which only running its code" in refused(
        path, network.state_dict()
    )


def test_a_whole_pickled_network_is_refused_by_the_name_of_its_class(network, tmp_path):
    assert "torch.nn.modules.container.Sequential" in refused(
        saved(tmp_path, network), network.state_dict()
    )


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ({"epoch": 1, "optimizer": {}}, "holds epoch, optimizer, and no tensors by name under"),
        ([1, 2], "holds a list, no weights of a network"),
        ({}, "holds nothing, and no tensors"),
        ({"a": bytearray(3)}, "holds a bytearray, which no weights of a network are"),
    ],
)
def test_a_file_without_weights_is_told_of_by_what_it_holds(network, tmp_path, content, what):
    assert what in refused(saved(tmp_path, content), network.state_dict())


def scripted(network: nn.Module, path: Path) -> None:
    torch.jit.save(torch.jit.script(network), path)


def exported(network: nn.Module, path: Path) -> None:
    torch.export.save(torch.export.export(network.eval(), (torch.zeros(1, 1, 3, 3),)), path)


@pytest.mark.parametrize(
    ("save", "what"),
    [(scripted, "holds a TorchScript program"), (exported, "is an archive without tensors of")],
)
def test_a_program_is_no_file_of_weights(network, tmp_path, save, what):
    with warnings.catch_warnings(action="ignore"):
        save(network, tmp_path / "program.pt2")
    assert what in refused(tmp_path / "program.pt2", network.state_dict())


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def huge_header(path: Path) -> None:
    path.write_bytes((2**62).to_bytes(8, "little") + b"{}")


def text(path: Path) -> None:
    path.write_text("these are no weights")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"a": 1}))


def bomb(path: Path) -> None:
    """A file of torch.save with a gigabyte of zeros that is compressed into one megabyte."""
    content = zipfile.ZipFile(path).read("w/data.pkl")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("w/data.pkl", content)
        with file.open("w/data/0", "w", force_zip64=True) as part:
            for _ in range(64):
                part.write(bytes(2**20))


@pytest.mark.parametrize("damage", [truncated, huge_header, text, empty, pickled, bomb])
def test_a_damaged_or_foreign_file_is_refused_in_one_line(network, tmp_path, damage):
    path = saved(tmp_path, network.state_dict())
    damage(path)
    assert "is no " in refused(path, network.state_dict())


def test_a_tensor_larger_than_its_file_is_refused_before_it_takes_memory(network, tmp_path):
    own = network.state_dict()
    path = saved(tmp_path, own | {"0.bias": torch.zeros(1).expand(2**40)})
    given = state.read_state(path, own=own)
    assert state.problem(own, given) == f"0.bias is ({2**40},) there and (3,) here"


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda tensor: tensor.to(torch.int8), "whole"),
        (lambda tensor: tensor.to(torch.complex64), "complex"),
        (lambda tensor: tensor.to("meta"), "sparse, quantised or without values"),
    ],
)
def test_numbers_of_another_kind_are_no_weights(network, make, kind):
    own = network.state_dict()
    given = own | {"0.weight": make(own["0.weight"])}
    assert state.problem(own, given) == f"0.weight is {kind} there and floating-point here"


def test_weights_in_half_precision_are_weights(network):
    own = network.state_dict()
    half = {
        key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in own.items()
    }
    assert state.problem(own, half) is None


def test_a_head_of_other_classes_says_both_shapes_and_the_way_out(network):
    own: dict[str, Tensor] = network.state_dict()
    given = own | {"3.weight": torch.zeros(1000, 3), "3.bias": torch.zeros(1000)}
    assert state.problem(own, given) == (
        "3.weight is (1000, 3) there and (2, 3) here, a head of 1000 classes, and the network here "
        "has 2: give weights for 2, null to train them, or images of 1000 classes "
        "(a callable's options: num_classes)"
    )
    assert "a head" not in str(state.problem(own, own | {"0.weight": torch.zeros(9, 1, 3, 3)}))


def test_weights_that_hold_nan_are_told_of_by_name(network):
    own = network.state_dict()
    for key in own:
        spoiled = {name: tensor.clone().float() for name, tensor in own.items()}
        spoiled[key].flatten()[-1:] = float("nan")
        there = spoiled if own[key].is_floating_point() else own
        assert state.problem(own, {**own, key: there[key]}) == (
            f"{key} holds NaN" if there is spoiled else None
        )


def test_safetensors_whose_header_has_the_length_of_a_pickles_mark_are_read(tmp_path: Path):
    """The header's length comes first: one of 0x80 bytes, or 0x280, begins as a pickle does."""
    begun = set()
    for size in range(1, 64):
        own = {"a" * size: torch.ones(2), "b": torch.zeros(3)}
        save_file(own, tmp_path / "w.safetensors")
        begun.add((tmp_path / "w.safetensors").read_bytes()[0])
        found = state.read_state(tmp_path / "w.safetensors", own=own)
        assert all(torch.equal(found[key], tensor) for key, tensor in own.items())
    assert 0x80 in begun
