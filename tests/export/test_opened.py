"""What a bundle may hold: files of its own, of a size and with numbers that can be meant."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from trp_search.errors import InputError
from trp_search.export.opened import opened

FILES = ["weights.safetensors", "architecture.json", "card.json"]


def test_a_bundle_tells_the_shape_of_every_weight(bundle: Path):
    found = opened(bundle)
    assert found.shapes["fc.bias"] == (10,)
    assert found.architecture.classes == len(found.card.input.classes)


@pytest.mark.parametrize("name", FILES)
def test_a_link_out_of_the_bundle_is_not_followed(copied: Path, tmp_path: Path, name: str):
    (copied / name).rename(tmp_path / name)
    (copied / name).symlink_to(tmp_path / name)
    with pytest.raises(InputError, match=rf"{name}: a link to a file outside the bundle"):
        opened(copied)


def test_nested_factors_are_not_followed_out_of_the_bundle_either(copied: Path, tmp_path: Path):
    (tmp_path / "factors").write_bytes(b"")
    (copied / "nested.safetensors").symlink_to(tmp_path / "factors")
    with pytest.raises(
        InputError, match=r"nested\.safetensors: a link to a file outside the bundle"
    ):
        opened(copied)


def test_the_folder_itself_may_be_reached_through_a_link(copied: Path, tmp_path: Path):
    (tmp_path / "latest").symlink_to(copied)
    assert opened(tmp_path / "latest").shapes == opened(copied).shapes


@pytest.mark.parametrize("name", FILES)
def test_what_is_no_plain_file_is_missing(copied: Path, name: str):
    (copied / name).unlink()
    os.mkfifo(copied / name)  # reading it would wait for ever
    with pytest.raises(InputError, match=rf"{name}: missing"):
        opened(copied)


@pytest.mark.parametrize("name", FILES[1:])
def test_a_file_that_would_fill_memory_is_not_read(copied: Path, name: str):
    os.truncate(copied / name, 2**36)
    with pytest.raises(InputError, match=rf"{name}: has more than 33,554,432 bytes"):
        opened(copied)


@pytest.mark.parametrize("name", FILES[1:])
@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("NaN", "NaN is not a finite number"),
        ("-Infinity", "-Infinity is not a finite number"),
        ("1e999", "1e999 is not a finite number"),
        ("9" * 5000, "9{18}... has more than 18 digits"),
    ],
)
def test_a_number_that_nothing_can_be_counted_with_is_refused(
    copied: Path, name: str, written: str, said: str
):
    path = copied / name
    path.write_text(path.read_text().replace('"format": 2', f'"format": 2, "more": {written}', 1))
    with pytest.raises(InputError, match=rf"{name}: not JSON: {said}"):
        opened(copied)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"std": [0.0]}, r"std\[0\]: 0\.0 is not above 0"),
        ({"mean": [0.5, 0.5]}, "mean and std need one number for each of 1 channels"),
        ({"channels": 10**9}, r"channels: 1000000000 is not in \(0, 4096\]"),
        ({"height": 0}, "height: 0 is not above 0"),
    ],
)
def test_an_input_that_no_network_takes_is_refused(
    copied: Path, change: dict[str, object], said: str
):
    path = copied / "architecture.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=said):
        opened(copied)
