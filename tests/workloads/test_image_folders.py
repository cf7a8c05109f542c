from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trp_search.errors import InputError
from trp_search.records import DataSpec
from trp_search.workloads import data
from trp_search.workloads.data import Shape, Splits

CLASSES = ("cat", "dog", "eel")


def paint(path: Path, value: int, *, size: tuple[int, int] = (12, 12)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((size[1], size[0], 3), value, dtype=np.uint8)
    pixels[: size[1] // 2] //= 2
    Image.fromarray(pixels).save(path)


@pytest.fixture
def root(tmp_path) -> Path:
    """Three classes told apart by brightness: 8 training images each, half of them JPEG, 4 test."""
    for label, name in enumerate(CLASSES):
        for number in range(8):
            suffix = "png" if number % 2 else "JPEG"
            paint(tmp_path / "train" / name / f"{number}.{suffix}", 60 + 80 * label + number)
        for number in range(4):
            paint(tmp_path / "test" / name / "deep" / f"{number}.png", 60 + 80 * label + number)
    (tmp_path / "train" / "cat" / "notes.txt").write_text("no image")
    return tmp_path


def loaded(spec: DataSpec) -> Splits:
    return data.load(spec, split_seed=0, outside_weights=False, device="cpu")


def test_an_image_is_under_the_label_of_its_folder(root):
    splits = loaded(DataSpec(name="images", root=str(root), validation=0.25))
    assert splits.shape == Shape(channels=3, height=12, width=12, classes=3)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (18, 6, 12)
    assert data.class_names(DataSpec(name="images", root=str(root))) == tuple(sorted(CLASSES))
    for part in (splits.validation, splits.test):
        images, labels = next(part.batches(100))
        brightness = images.mean((1, 2, 3))
        assert labels[brightness.argsort()].tolist() == sorted(labels.tolist())


@pytest.mark.parametrize(
    ("image", "moved"),
    [("cat/0.JPEG", "dog/z.JPEG"), ("cat/0.JPEG", "cat/z.JPEG")],
    ids=["labelled otherwise", "renamed"],
)
def test_what_is_listed_is_what_is_loaded_and_its_digest_knows_exchanged_images(root, image, moved):
    spec = DataSpec(name="images", root=str(root), validation=0.25)
    splits = loaded(spec)
    parts, digest = data.listed(spec, split_seed=0, outside_weights=False)
    assert (parts, digest) == (splits.indices(), splits.digest)
    (root / "train" / image).rename(root / "train" / moved)
    assert data.listed(spec, split_seed=0, outside_weights=False)[1] != digest
    (root / "train" / moved).rename(root / "train" / image)
    assert loaded(spec).digest == digest


def test_describing_and_loading_agree(root):
    for spec in (
        DataSpec(name="images", root=str(root)),
        DataSpec(name="images", root=str(root), image_size=8, channels=1, classes=3),
    ):
        assert data.describe(spec) == loaded(spec).shape
        assert next(loaded(spec).test.batches(2))[0].shape[1:] == (
            data.describe(spec).channels,
            data.describe(spec).height,
            data.describe(spec).width,
        )


def test_a_space_can_be_checked_where_its_images_are_not():
    spec = DataSpec(name="images", root="/nowhere", classes=1000, image_size=224)
    assert data.describe(spec) == Shape(channels=3, height=224, width=224, classes=1000)


def test_only_chosen_images_are_decoded(root):
    spec = DataSpec(name="images", root=str(root), subset=6, validation=0.5)
    kept = {number for part in loaded(spec).indices().values() for number in part}
    files = sorted(path for path in (root / "train").rglob("*.*") if path.suffix != ".txt")
    for number, path in enumerate(files):
        if number not in kept:
            path.write_bytes(b"not an image")
    again = DataSpec(name="images", root=str(root), subset=6, validation=0.5, workers=0)
    assert len(loaded(again).train) == 3


def test_val_stands_in_where_there_is_no_test(root):
    (root / "test").rename(root / "val")
    assert len(loaded(DataSpec(name="images", root=str(root))).test) == 12


def test_val_is_for_validation_where_there_is_a_test(root):
    for label, name in enumerate(CLASSES):
        for number in range(3):
            paint(root / "val" / name / f"{number}.png", 60 + 80 * label + number)
    spec = DataSpec(name="images", root=str(root))
    for outside in (False, True):
        splits = data.load(spec, split_seed=0, outside_weights=outside, device="cpu")
        assert (len(splits.train), len(splits.validation), len(splits.test)) == (24, 9, 12)
        parts, _ = data.listed(spec, split_seed=0, outside_weights=outside)
        assert list(map(len, parts.values())) == [24, 9, 12]
        images, labels = next(splits.validation.batches(9))
        assert labels[images.mean((1, 2, 3)).argsort()].tolist() == sorted(labels.tolist())
    (root / "val" / "cat" / "notes.txt").write_text("no image")
    found = data.census(spec, outside_weights=False)
    assert found.counts["validation"] == (3, 3, 3)
    assert [passed.where for passed in found.passed] == ["train/cat", "val/cat"]
    paint(root / "val" / "fox" / "0.png", 5)
    with pytest.raises(InputError, match=r"val differ in class 'fox'"):
        loaded(spec)


def test_a_folder_that_has_changed_is_read_anew(root):
    spec = DataSpec(name="images", root=str(root))
    assert (data.describe(spec).classes, len(loaded(spec).test)) == (3, 12)
    for part in ("train", "test"):
        for number in range(3):
            paint(root / part / "fox" / f"{number}.png", 5)
    paint(root / "test" / "fox" / "3.png", 5)
    assert (data.describe(spec).classes, len(loaded(spec).test)) == (4, 16)
    assert loaded(spec).shape.classes == len(data.class_names(spec)) == 4


def test_the_folder_may_be_named_by_a_variable(root, monkeypatch):
    monkeypatch.setenv("PICTURES", str(root))
    assert len(loaded(DataSpec(name="images", root="$PICTURES/")).test) == 12


def test_images_of_different_sizes_meet_at_their_middle(root):
    paint(root / "train" / "cat" / "0.JPEG", 200, size=(40, 12))
    with pytest.raises(InputError) as caught:
        loaded(DataSpec(name="images", root=str(root)))
    assert str(caught.value) == (
        "workload.data.image_size: images differ in size (12x12, 12x40); "
        "set it to the side in pixels that they are then resized to"
    )
    spec = DataSpec(name="images", root=str(root), image_size=12)
    assert next(loaded(spec).train.samples(5, batch_size=5)).shape == (5, 3, 12, 12)


def test_no_folder_is_one_line(tmp_path):
    with pytest.raises(InputError) as caught:
        data.describe(DataSpec(name="images", root=str(tmp_path / "none")))
    assert str(caught.value) == f"workload.data.root: '{tmp_path / 'none'}' is not a folder"


def test_a_folder_without_parts_is_one_line(tmp_path):
    with pytest.raises(InputError) as caught:
        loaded(DataSpec(name="images", root=str(tmp_path)))
    assert str(caught.value) == (
        f"workload.data.root: '{tmp_path}' does not hold train/<class>/ and test/ or val/<class>/"
    )


def test_a_class_on_one_side_only_is_one_line(root):
    paint(root / "test" / "fox" / "0.png", 5)
    with pytest.raises(InputError) as caught:
        loaded(DataSpec(name="images", root=str(root)))
    assert str(caught.value) == (
        f"workload.data.root: {root / 'train'} and {root / 'test'} differ in class 'fox'"
    )


def test_a_class_without_images_is_one_line(root):
    for path in (root / "train" / "dog").iterdir():
        path.unlink()
    with pytest.raises(InputError) as caught:
        loaded(DataSpec(name="images", root=str(root)))
    assert str(caught.value) == (f"workload.data.root: '{root / 'train' / 'dog'}' holds no image")


def test_another_number_of_classes_is_one_line(root):
    with pytest.raises(InputError) as caught:
        data.describe(DataSpec(name="images", root=str(root), classes=10))
    assert str(caught.value) == (
        f"workload.data.classes: 10 is not the 3 folders in '{root / 'train'}'"
    )


def test_a_file_that_is_no_image_is_named(root):
    (root / "train" / "cat" / "0.JPEG").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        loaded(DataSpec(name="images", root=str(root), image_size=12))
    message = str(caught.value)
    assert message.startswith(f"{root / 'train' / 'cat' / '0.JPEG'}: cannot be read as an image")
    assert "\n" not in message


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")  # torch's workers
@pytest.mark.parametrize("workers", [0, 1])
def test_streamed_images_are_the_same_whoever_reads_them(root, workers):
    spec = DataSpec(
        name="images", root=str(root), validation=0.25, image_size=8, stream=True, workers=workers
    )
    here = DataSpec(
        name="images", root=str(root), validation=0.25, image_size=8, stream=True, workers=0
    )
    splits, reference = loaded(spec), loaded(here)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    batches = list(splits.train.batches(9, seed=1, epoch=2))
    assert torch.equal(torch.get_rng_state(), before)
    assert [tuple(images.shape) for images, _ in batches] == [(9, 3, 8, 8)] * 2
    expected = list(reference.train.batches(9, seed=1, epoch=2))
    for (images, labels), (others, other_labels) in zip(batches, expected, strict=True):
        assert torch.equal(images, others)
        assert torch.equal(labels, other_labels)
    other_epoch = next(reference.train.batches(9, seed=1, epoch=3))[0]
    assert not torch.equal(other_epoch, batches[0][0])


def test_streamed_validation_images_are_under_their_labels(root):
    spec = DataSpec(name="images", root=str(root), image_size=8, stream=True, workers=0)
    images, labels = next(loaded(spec).test.batches(12))
    assert labels[images.mean((1, 2, 3)).argsort()].tolist() == sorted(labels.tolist())


def rotated(path: Path) -> None:
    """24 x 12 as stored, 12 x 24 as its EXIF turns it: light on the right."""
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.zeros((12, 24, 3), dtype=np.uint8)
    pixels[:6] = 255
    Image.fromarray(pixels).save(path, exif=exif)


def test_images_are_turned_as_their_exif_says(root):
    for path in [path for path in root.rglob("*.*") if path.suffix != ".txt"]:
        path.unlink()
        rotated(path.with_suffix(".png"))
    spec = DataSpec(name="images", root=str(root))
    assert data.describe(spec) == Shape(channels=3, height=24, width=12, classes=3)
    held = next(loaded(spec).test.batches(1))[0][0]
    streaming = DataSpec(name="images", root=str(root), image_size=12, stream=True, workers=0)
    streamed = next(loaded(streaming).test.batches(1))[0][0]
    for image in (held, streamed):
        assert bool((image[..., -1] > image[..., 0]).all())


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")  # torch's workers
@pytest.mark.parametrize("workers", [0, 1])
def test_a_streamed_file_that_is_no_image_is_named(root, workers):
    path = root / "train" / "cat" / "0.JPEG"
    spec = DataSpec(name="images", root=str(root), image_size=8, stream=True, workers=workers)
    paint(path, 5, size=(2001, 2))
    with pytest.raises(InputError) as caught:
        list(loaded(spec).train.batches(4, seed=0, epoch=0))
    assert str(caught.value) == f"{path}: 2001x2 is no shape to crop"
    path.write_bytes(b"no image")
    with pytest.raises(InputError) as caught:
        list(loaded(spec).train.batches(4, seed=0, epoch=0))
    assert (
        str(caught.value) == f"{path}: cannot be read as an image: its content is of no known kind"
    )


def test_hidden_folders_and_files_are_no_classes_and_no_images(root):
    paint(root / "train" / ".ipynb_checkpoints" / "0.png", 5)
    paint(root / "train" / "cat" / ".ipynb_checkpoints" / "0.png", 5)
    (root / "train" / "cat" / "._0.JPEG").write_bytes(b"of a Mac")
    splits = loaded(DataSpec(name="images", root=str(root)))
    assert splits.shape.classes == 3
    assert len(splits.train) + len(splits.validation) == 24


def test_a_class_whose_name_is_not_utf_8_is_refused(root):
    name = b"\xe9t\xe9".decode("utf-8", "surrogateescape")
    for part in ("train", "test"):
        paint(root / part / name / "0.png", 5)
    with pytest.raises(InputError) as caught:
        data.describe(DataSpec(name="images", root=str(root)))
    assert str(caught.value) == (
        f"workload.data.root: '{root}/train/\\xe9t\\xe9' is no name in UTF-8; rename the folder"
    )


def test_a_class_of_files_that_are_not_read_says_so(root):
    for path in (root / "train" / "dog").iterdir():
        path.rename(path.with_suffix(".heic"))
    with pytest.raises(InputError) as caught:
        loaded(DataSpec(name="images", root=str(root)))
    assert str(caught.value) == (
        f"workload.data.root: '{root / 'train' / 'dog'}' holds no image; skipped: 8 files (.heic)"
    )


def test_one_class_is_none_to_tell_apart(tmp_path):
    for part in ("train", "test"):
        paint(tmp_path / part / "cat" / "0.png", 5)
    with pytest.raises(InputError, match=r"workload\.data\.classes: 1 is less than 2"):
        data.describe(DataSpec(name="images", root=str(tmp_path)))


def test_images_are_counted_by_part_and_class(root):
    (root / "train" / "dog" / "more").mkdir()
    for number in range(4):
        (root / "train" / "dog" / f"{number}.heic").write_text("")
        paint(root / "train" / "dog" / "more" / f"{number}.jfif.png", 100)
    found = data.census(
        DataSpec(name="images", root=str(root), validation=0.25), outside_weights=False
    )
    assert found.counts == {"train": (6, 9, 6), "validation": (2, 3, 2), "test": (4, 4, 4)}
    assert {(passed.where, passed.why, passed.count) for passed in found.passed} == {
        ("train/dog", ".heic", 4),
        ("train/cat", ".txt", 1),
    }


def test_a_census_looks_at_some_images(root):
    for path in (root / "test").rglob("*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(InputError, match="cannot be read as an image"):
        data.census(DataSpec(name="images", root=str(root)), outside_weights=False)
