"""What a user's data set says of labels is what its items say, or is refused."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from PIL import Image

from trp_search.errors import InputError
from trp_search.records import DataSpec
from trp_search.workloads import data
from trp_search.workloads.data import Splits

COUNT = 60
LABELS = [number % 3 for number in range(COUNT)]


class Items:
    """Labels 0, 1, 2 in turn, each class of one brightness."""

    def __init__(self, image=None, *, label=None, **attributes: object) -> None:
        self.image = image or Image.fromarray
        self.label = label or (lambda number: LABELS[number])
        vars(self).update(attributes)

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, number: int):
        pixels = np.full((8, 8, 3), 40 + 60 * LABELS[number], np.uint8)
        return self.image(pixels), self.label(number)


@pytest.fixture
def loaded(monkeypatch):
    data._loaded.cache_clear()
    data._described.cache_clear()

    def load(training: object, held_out: object = None, **options: object) -> Splits:
        module = type(sys)("own_labels")
        module.parts = lambda: (training, training if held_out is None else held_out)
        monkeypatch.setitem(sys.modules, "own_labels", module)
        spec = DataSpec(name="own_labels:parts", **options)
        return data.load(spec, split_seed=0, outside_weights=False, device="cpu")

    return load


def refused(load, *parts: object, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        load(*parts, **options)
    return str(caught.value).removeprefix("workload.data: ")


def labels_of(splits: Splits) -> list[int]:
    ((_, labels),) = splits.test.batches(COUNT)
    return labels.tolist()


@pytest.mark.parametrize(
    "targets", [LABELS, tuple(LABELS), np.array(LABELS, np.uint16), torch.tensor(LABELS)]
)
def test_targets_of_any_kind_are_labels(loaded, targets):
    assert labels_of(loaded(Items(targets=targets))) == LABELS


def test_items_are_asked_where_there_are_no_targets(loaded):
    for label in (LABELS.__getitem__, lambda n: torch.tensor(LABELS[n]), lambda n: np.int32(n % 3)):
        assert labels_of(loaded(Items(label=label))) == LABELS


def test_a_target_transform_is_applied(loaded):
    def turned(label: int) -> int:
        return (label + 1) % 3

    items = Items(label=lambda n: turned(LABELS[n]), targets=LABELS, target_transform=turned)
    assert labels_of(loaded(items)) == [turned(label) for label in LABELS]


def test_targets_that_items_contradict_are_refused(loaded):
    shifted = Items(label=lambda n: (LABELS[n] + 1) % 3, targets=LABELS)
    assert refused(loaded, shifted) == (
        "own_labels:parts: item 0: targets says 0, __getitem__ gives 1; make them agree"
    )
    once = Items(label=lambda n: 2 if n == 33 else LABELS[n], targets=LABELS)
    assert refused(loaded, once) == (
        "own_labels:parts: item 33: targets says 0, __getitem__ gives 2; make them agree"
    )
    asked = iter(range(1000))
    drawn = Items(label=lambda n: next(asked) % 3)
    assert ": read first, its label was " in refused(loaded, drawn, Items())


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        (Items(targets=LABELS * 2), "own_labels:parts has 120 targets for 60 items"),
        (Items(targets=LABELS[:9]), "own_labels:parts has 9 targets for 60 items"),
        (
            Items(targets=["abc"[n] for n in LABELS]),
            "own_labels:parts's targets are text (60,), not whole numbers from 0, one per image",
        ),
        (
            Items(targets=np.eye(3, dtype=int)[LABELS]),
            "own_labels:parts's targets are int64 (60, 3), not whole numbers from 0, one per image",
        ),
        (
            Items(label=lambda n: n / 2),
            "own_labels:parts's labels are float64 (60,), not whole numbers from 0, one per image",
        ),
        (
            Items(label=lambda n: n - 1),
            "own_labels:parts's labels begin at -1, not whole numbers from 0",
        ),
        (Items(targets=[5] * COUNT), "every training image of own_labels:parts has the label 5"),
        (
            Items(label=lambda n: [][n]),
            "own_labels:parts: item 0 raised IndexError: list index out of range",
        ),
        (
            Items(label=lambda n: sys.exit(3)),
            "own_labels:parts ended the program, with exit code 3",
        ),
        (
            [{"image": 1, "label": 2}],
            "own_labels:parts: item 0 is dict, not a pair (image, label)",
        ),
        (
            iter(LABELS),
            "own_labels:parts returned list_iterator, not (images, labels) or a Dataset",
        ),
        (
            Items(label=lambda n: 999 * (n % 2)),
            "workload.data.classes: own_labels:parts's labels end at 999 in 60 images; "
            "give the number of classes",
        ),
        (
            Items(lambda pixels: Image.fromarray(pixels[..., 0].astype(np.int32))),
            "image 0 of own_labels:parts: its pixels go from 40 to 40, and white is 65535; "
            "save it with 8 bits",
        ),
        (
            Items(lambda pixels: pixels[..., 0] / 255),
            "image 0 of own_labels:parts is float64 (8, 8), not a PIL image or a uint8 tensor "
            "(c, h, w)",
        ),
    ],
)
def test_labels_and_images_that_are_none_are_one_line(loaded, part, problem):
    assert refused(loaded, part) == problem


def test_a_class_of_held_out_images_alone_has_to_be_counted_in(loaded):
    pixels = torch.zeros(COUNT, 3, 8, 8, dtype=torch.uint8)
    parts = (pixels, torch.tensor(LABELS)), (pixels[:2], torch.tensor([0, 7]))
    assert refused(loaded, *parts) == (
        "workload.data.classes: own_labels:parts's training labels end at 2 and held-out ones at "
        "7; give the number of classes"
    )
    assert loaded(*parts, classes=8).shape.classes == 8


def test_labels_may_leave_out_numbers(loaded):
    pixels = torch.zeros(COUNT, 3, 8, 8, dtype=torch.uint8)
    splits = loaded((pixels, torch.tensor([5, 9] * 30)))
    assert splits.shape.classes == 10
    assert set(labels_of(splits)) == {5, 9}


def test_grey_and_colour_in_one_set_need_to_be_told_apart(loaded):
    for mixed in (
        Items(lambda pixels: Image.fromarray(pixels if pixels[0, 0, 0] > 50 else pixels[..., 0])),
        Items(lambda pixels: pixels if pixels[0, 0, 0] > 50 else pixels[..., 0]),
    ):
        assert refused(loaded, mixed) == (
            "workload.data.channels: images differ in channels (1, 3); set it to 1 or 3, to which "
            "they are then converted"
        )
        for channels in (1, 3):
            splits = loaded(mixed, channels=channels)
            ((images, labels),) = splits.test.batches(COUNT)
            assert splits.shape.channels == images.shape[1] == channels
            assert (
                len({(x.unique().item(), y.item()) for x, y in zip(images, labels, strict=True)})
                == 3
            )
        data._loaded.cache_clear()
        data._described.cache_clear()


@pytest.mark.parametrize(
    "change",
    [
        lambda pixels: pixels.transpose(0, 3, 1, 2),
        lambda pixels: pixels,
        torch.from_numpy,
        lambda pixels: pixels[::-1][::-1],
    ],
)
def test_arrays_may_have_channels_first_or_last(loaded, change):
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, 5, 7, 3), np.uint8)
    pixels.flags.writeable = False
    splits = loaded((change(pixels.copy()), np.array(LABELS)))
    assert (splits.shape.channels, splits.shape.height, splits.shape.width) == (3, 5, 7)
    first = splits.test.images._pixels[splits.test.rows[0]]
    assert torch.equal(first, torch.from_numpy(pixels[0].copy()).permute(2, 0, 1))


def test_arrays_without_an_axis_for_channels_are_grey(loaded):
    pixels = np.zeros((COUNT, 5, 7), np.uint8)
    for given in (pixels, pixels[..., None], pixels[:, None], torch.from_numpy(pixels)):
        data._loaded.cache_clear()
        data._described.cache_clear()
        shape = loaded((given, np.array(LABELS))).shape
        assert (shape.channels, shape.height, shape.width) == (1, 5, 7)


def test_images_of_16_bits_and_floats_are_scaled(loaded):
    for image in (
        lambda pixels: Image.fromarray(pixels[..., 0].astype(np.uint16) * 257),
        lambda pixels: Image.fromarray((pixels[..., 0] / 255).astype(np.float32)),
    ):
        data._loaded.cache_clear()
        data._described.cache_clear()
        splits = loaded(Items(image))
        assert splits.shape.channels == 1
        assert splits.test.images._pixels.unique().tolist() == [40, 100, 160]
