"""What `check` says of images."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from trp_search.cli.pictures import few, passed_over, split
from trp_search.workloads.listing import Passed

SPACE = """\
workload: {network: small_resnet, data: {name: images, root: pictures, image_size: 8}}
training: {epochs: 1, batch_size: 4, learning_rate: 0.1}
space: {scheme: channel, energy: 0.9, training: {epochs: 1}}
trials: 1
"""


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("space.yaml").write_text(SPACE)
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            folder = Path("pictures", part, name)
            folder.mkdir(parents=True)
            for number in range(12):
                Image.new("RGB", (8, 8), (number, 100, 0)).save(folder / f"{number}.png")
    return Path("pictures")


def test_images_are_counted_and_files_passed_over_are_told(root, trp):
    for number in range(11):
        path = root / "train" / "dog" / f"{number}.png"
        path.rename(path.with_suffix(".heic"))
    (root / "train" / "cat" / "._0.png").write_text("")
    ended = trp("check", "space.yaml")
    assert (ended.code, ended.err) == (0, "")
    assert "  train       12: cat 11, dog 1\n" in ended.out
    assert "  validation  1: cat 1, dog 0\n" in ended.out
    assert "  test        24, 12 of each of 2 classes\n" in ended.out
    assert "  skipped: 11 files in train/dog (.heic)\n" in ended.out
    assert "  skipped: 1 file in train/cat (hidden)\n" in ended.out
    assert "warning: validation holds no image of dog\n" in ended.out


def test_images_that_stop_a_search_stop_a_check(root, trp, monkeypatch):
    (root / "train" / "cat" / "0.png").write_text("no image")
    ended = trp("check", "space.yaml")
    assert ended.code == 2
    assert ended.err == (
        "trp-search: pictures/train/cat/0.png: cannot be read as an image: its content is of no "
        "known kind\n"
    )
    assert "Next:" not in ended.out
    monkeypatch.setenv("PICTURES", "pictures")
    Path("space.yaml").write_text(SPACE.replace("root: pictures", "root: $PICTURES"))
    assert trp("check", "space.yaml").code == 2


def test_images_that_are_not_here_are_a_warning(root, trp):
    root.rename("elsewhere")
    Path("space.yaml").write_text(SPACE.replace("image_size: 8", "image_size: 8, classes: 2"))
    ended = trp("check", "space.yaml")
    assert (ended.code, ended.err) == (0, "")
    assert "a search would not start\n" in ended.out


def test_an_image_that_cannot_be_read_is_the_user_s_to_mend(root, trp):
    (root / "test" / "dog" / "7.png").write_text("no image")
    ended = trp("compress", "space.yaml", "--speedup", 1.3)
    assert (ended.code, ended.err) == (
        2,
        "trp-search: pictures/test/dog/7.png: cannot be read as an image: its content is of no "
        "known kind\n",
    )


def test_many_classes_are_said_by_their_extremes():
    names = [f"n{number}" for number in range(9)]
    assert split([5, 5], ["cat", "dog"]) == "10, 5 of each of 2 classes"
    assert split([40, 1200], ["cat", "dog"]) == "1,240: cat 40, dog 1,200"
    counts = [5] * 7 + [1200, 3]
    assert split(counts, names) == "1,238: 3 (class n8) to 1,200 (class n7) per class"
    assert few(names[:2]) == "n0, n1"
    assert few(names) == "n0, n1, n2, n3, n4, n5 and 3 more classes"


def test_what_is_passed_over_is_a_line_per_reason():
    passed = [Passed(where=f"train/{n}", why="hidden", count=1) for n in range(1000)]
    passed += [Passed(where="train/0", why=f".{n}", count=n) for n in range(2, 12)]
    assert passed_over(passed) == [
        "1,000 files in 1,000 folders (hidden)",
        *(f"{n} files in train/0 (.{n})" for n in (11, 10, 9, 8, 7)),
        "for 5 more reasons",
    ]
