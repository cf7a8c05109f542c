"""Which entries of a folder are images."""

from __future__ import annotations

import os
from collections import Counter

from trp_search.workloads.listing import beside, listed, subfolders


def test_only_files_that_are_shown_and_named_as_images_are_images(tmp_path):
    (tmp_path / "deep" / "x.png").mkdir(parents=True)
    for name in ("b.JPG", "a.jfif", "deep/c.avif", "deep/x.png/d.jp2"):
        (tmp_path / name).write_text("")
    for name in ("._b.jpg", ".DS_Store", "notes.txt", "deep/noext", "deep/e.heic", "f.heic"):
        (tmp_path / name).write_text("")
    (tmp_path / ".ipynb_checkpoints").mkdir()
    (tmp_path / ".ipynb_checkpoints" / "b.jpg").write_text("")
    found = listed(tmp_path)
    assert found.images == [
        tmp_path / name for name in ("a.jfif", "b.JPG", "deep/c.avif", "deep/x.png/d.jp2")
    ]
    assert found.passed == Counter(hidden=3) + Counter({".txt": 1, "no suffix": 1, ".heic": 2})


def test_pipes_are_not_waited_for_and_links_to_folders_not_followed(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "device.png").symlink_to(os.devnull)
    (tmp_path / "up").symlink_to("..")
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "gone.png").symlink_to("nowhere")
    (tmp_path / "real.png").write_text("")
    (tmp_path / "link.png").symlink_to("real.png")
    found = listed(tmp_path)
    assert [path.name for path in found.images] == ["gone.png", "link.png", "real.png"]
    assert found.passed == Counter({"no regular file": 2, "link to a folder": 1, "no suffix": 1})


def test_classes_are_the_folders_and_links_to_folders_that_are_shown(tmp_path):
    for name in ("b", "a", ".hidden"):
        (tmp_path / name).mkdir()
    (tmp_path / "c").symlink_to("a")
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "x.png").write_text("")
    assert subfolders(tmp_path) == ["a", "b", "c"]
    assert beside(tmp_path) == Counter({"in no class": 2, "hidden": 1})
