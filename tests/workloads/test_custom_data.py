from __future__ import annotations

import sys

import pytest
import torch
from PIL import Image
from torch import Tensor

from trp_search.errors import InputError
from trp_search.records import DataSpec
from trp_search.workloads import data, pixels
from trp_search.workloads.data import Shape, Splits

SOURCE = """
from __future__ import annotations

import torch
from PIL import Image


def pixels(count: int, *, channels: int = 3) -> torch.Tensor:
    values = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1)
    return values.expand(-1, channels, 8, 8).contiguous()


def tensors(*, count, channels=3):
    return tuple((pixels(n, channels=channels), torch.arange(n) % 4) for n in (count, 12))


class Pictures(torch.utils.data.Dataset):
    def __init__(self, count):
        self.count = count
        self.targets = [n % 4 for n in range(count)]
        self.decoded = []

    def __len__(self):
        return self.count

    def __getitem__(self, number):
        self.decoded.append(number)
        return Image.new("RGB", (8, 8), (number,) * 3), number % 4


SETS = []


def pictures(*, count):
    SETS[:] = [Pictures(count), Pictures(12)]
    return tuple(SETS)


def transparent():
    images = torch.zeros(12, 16, 16, 4, dtype=torch.uint8)
    return (images, torch.arange(12) % 4), (images, torch.arange(12) % 4)


def nothing():
    return None


def three():
    return 1, 2, 3


def floats():
    return tuple((pixels(8).float(), torch.arange(8)) for _ in range(2))


def unlabelled():
    return tuple((pixels(8), torch.arange(7)) for _ in range(2))


def failing():
    raise ValueError("no disk\\nno data")
"""


@pytest.fixture(autouse=True)
def source(tmp_path, monkeypatch) -> None:
    (tmp_path / "own_images.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_images", raising=False)
    data._loaded.cache_clear()
    data._described.cache_clear()


def loaded(spec: DataSpec) -> Splits:
    return data.load(spec, split_seed=0, outside_weights=False, device="cpu")


def values(part_images: Tensor) -> Tensor:
    return part_images[:, 0, 0, 0].argsort()


@pytest.mark.parametrize("name", ["own_images:tensors", "own_images:pictures"])
def test_a_callable_s_images_keep_their_labels(name):
    splits = loaded(DataSpec(name=name, options={"count": 40}, validation=0.25))
    assert splits.shape == Shape(channels=3, height=8, width=8, classes=4)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (30, 10, 12)
    images, labels = next(splits.test.batches(12))
    assert labels[values(images)].tolist() == [0, 1, 2, 3] * 3


def test_only_chosen_images_of_a_data_set_are_decoded():
    spec = DataSpec(
        name="own_images:pictures", options={"count": 40}, subset=8, channels=3, image_size=8,
        classes=4, validation=0.5,
    )  # fmt: skip
    splits = loaded(spec)
    import own_images  # noqa: PLC0415  written by the fixture

    indices = splits.indices()
    chosen = set(indices["train"] + indices["validation"])
    assert len(chosen) == 8
    looked_at = set(own_images.SETS[0].decoded) - chosen
    assert 0 < len(looked_at) <= 9  # the first tells the shape, 8 more what is wrong with most


def test_a_shape_that_is_said_is_not_looked_for():
    spec = DataSpec(name="own_images:failing", channels=1, image_size=9, classes=3)
    assert data.describe(spec) == Shape(channels=1, height=9, width=9, classes=3)


def test_pictures_are_brought_to_the_size_and_colour_asked_for():
    for name in ("tensors", "pictures"):
        spec = DataSpec(name=f"own_images:{name}", options={"count": 20}, channels=1, image_size=4)
        assert next(loaded(spec).test.batches(3))[0].shape == (3, 1, 4, 4)


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        (
            DataSpec(name="own_images:nothing"),
            "workload.data: own_images:nothing returned no pair (training, held-out)",
        ),
        (
            DataSpec(name="own_images:three"),
            "workload.data: own_images:three returned no pair (training, held-out)",
        ),
        (
            DataSpec(name="own_images:floats"),
            "workload.data: image 0 of own_images:floats is float32 (3, 8, 8), "
            "not a PIL image or a uint8 tensor (c, h, w)",
        ),
        (
            DataSpec(name="own_images:transparent"),
            "workload.data: image 0 of own_images:transparent is uint8 (16, 16, 4): drop its "
            "alpha, or give (c, h, w)",
        ),
        (
            DataSpec(name="own_images:unlabelled"),
            "workload.data: own_images:unlabelled returned images without one label each",
        ),
        (
            DataSpec(name="own_images:failing"),
            "workload.data: own_images:failing raised ValueError: no disk no data",
        ),
        (
            DataSpec(name="own_images:tensors"),
            "workload.data: own_images:tensors raised TypeError: tensors() missing 1 required "
            "keyword-only argument: 'count'",
        ),
        (
            DataSpec(name="own_images:tensors", options={"count": 20}, classes=3),
            "workload.data.classes: 3 is less than the 4 labelled",
        ),
        (
            DataSpec(name="own_images:tensors", options={"count": 20, "channels": 2}, channels=3),
            "workload.data.channels: 3 cannot be made of 2",
        ),
    ],
)
def test_a_callable_that_gives_no_images_is_told_of_in_one_line(spec, problem):
    with pytest.raises(InputError) as caught:
        loaded(spec)
    assert str(caught.value) == problem


def test_a_grey_picture_in_colour_is_the_same_three_times():
    picture = pixels.from_pil(Image.new("L", (8, 6), 7), channels=3, size=None)
    assert torch.equal(picture, torch.full((3, 6, 8), 7, dtype=torch.uint8))
