"""A worker's progress through its file. No Ray."""

from __future__ import annotations

from trp_search.progress import heard, tracked
from trp_search.search.heartbeat import Heartbeats, writing
from trp_search.store import RunFolder


def test_the_driver_reads_what_a_worker_tells_and_each_news_once(folder: RunFolder):
    place = folder.trial("3")
    place.path.mkdir(parents=True)
    with heard(writing(place)):
        images = tracked(range(9), "validation", total=9, unit="images")
        next(images)
    beats = Heartbeats(folder)
    news = beats.news(["3", "4"])
    assert {name: (p.what, p.total) for name, p in news.items()} == {"3": ("validation", 9)}
    assert Heartbeats(folder).news(["4"]) == {}
    beats._read = float("-inf")
    assert beats.news(["3"]) == {}, "it is no news any more"
    assert [path.name for path in place.path.iterdir()] == ["progress.json"]


def test_a_folder_that_cannot_be_written_stops_no_training(folder: RunFolder):
    with heard(writing(folder.trial("3"))):  # it has no folder
        assert list(tracked(range(3), "training", total=3, unit="images")) == [0, 1, 2]
