"""The readable card: words from anywhere are shown, and do nothing."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from trp_search.export.bundle import Card, read_card
from trp_search.export.card import as_markdown, make_card
from trp_search.records import TestScore, to_json
from trp_search.selection.snapshot import Snapshot
from trp_search.store import RunFolder

MARKS = {
    "a tag": "<script>alert(1)</script>",
    "an image": "![x](http://there/x.png)",
    "a link": "[x](javascript:alert(1))",
    "an address": "<http://there> https://there www.there.org",
    "a row": "a | b |\n| c | d |",
    "a heading": "x\n\n# Licence: MIT\n\n- y",
    "emphasis": "*a* __b__ `c` ~~d~~",
    "an escape": "\\| \\<b> \\\\*a*",
    "an entity": "&lt;b&gt; &#124;",
    "a fence": "```\n</table>",
    "a direction": "a\N{RIGHT-TO-LEFT OVERRIDE}b\x1b[31m",
}


def shown(card: Card) -> str:
    return MarkdownIt("commonmark", {"html": True}).enable("table").render(as_markdown(card))


def filled(card: Card, words: str) -> Card:
    """The card with the same words in every place that holds any."""
    return dataclasses.replace(
        card,
        run=words,
        licence=words,
        versions={words: words},
        not_written={words: words},
        point=dataclasses.replace(card.point, batch_norm=words, settings={words: words}),
        input=dataclasses.replace(card.input, classes=(words, "1")),
        workload=dataclasses.replace(
            card.workload,
            network=dataclasses.replace(card.workload.network, name=words),
            data=dataclasses.replace(card.workload.data, name=words),
        ),
    )


@pytest.mark.parametrize("words", MARKS.values(), ids=MARKS)
def test_marks_are_shown_and_make_nothing(bundle: Path, words: str):
    card = dataclasses.replace(read_card(bundle), load={})
    plain, marked = shown(filled(card, "word")), shown(filled(card, words))
    assert re.findall("<[^>]*>", marked) == re.findall("<[^>]*>", plain)
    assert "http:" + "//" not in as_markdown(filled(card, words))


@pytest.mark.parametrize("words", ["a_b|c", "<b> & 'c'", "`x` \\* [y](z)", "1:2 www.x.org"])
def test_what_is_shown_is_what_was_there(bundle: Path, words: str):
    text = re.sub("<[^>]*>", "", shown(filled(read_card(bundle), words)))
    for entity, sign in {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&amp;": "&"}.items():
        text = text.replace(entity, sign)
    assert text.count(words) >= 10


def test_a_time_says_where_the_network_is_slower_than_the_baseline(bundle: Path, make_latency):
    times = (make_latency("0", target="here", low=0.7), make_latency("0", target="there", low=1.3))
    said = as_markdown(dataclasses.replace(read_card(bundle), latencies=times)).splitlines()
    lines = {name: next(s for s in said if f"({name})" in s) for name in ("here", "there")}
    assert [name for name, text in lines.items() if "slower than the baseline" in text] == ["here"]


def test_a_card_names_no_folder_of_the_machine(bundle: Path, trained_run: RunFolder):
    spec = trained_run.trial("0").read_spec()
    data = dataclasses.replace(spec.workload.data, root="/home/me/pictures")
    own = dataclasses.replace(spec.workload, data=data, weights="/home/me/w.pt")
    spec = dataclasses.replace(spec, workload=own)
    known = read_card(bundle)
    assert known.input is not None
    test = TestScore(point="0", score=known.point.score)
    made = make_card(Snapshot.of(trained_run), test, spec, licence=None, input=known.input)
    told = to_json(made)
    assert "/home" not in told
    assert '"w.pt"' in told
