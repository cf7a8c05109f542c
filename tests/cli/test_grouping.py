"""Layers of many blocks as one row."""

from fnmatch import fnmatchcase

import pytest

from trp_search.cli.grouping import patterns

BLOCKS = [f"blocks.{block}.{part}" for block in range(3) for part in ("mlp.0", "mlp.3", "attn.qkv")]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], []),
        (["stem", "head"], ["stem", "head"]),
        (BLOCKS, ["blocks.*.mlp.0", "blocks.*.mlp.3", "blocks.*.attn.qkv"]),
        (["layer1.0.conv1", "layer1.1.conv1", "layer1.2.conv1"], ["layer1.*.conv1"]),
        (["block_0.fc", "block_1.fc", "head"], ["block_*.fc", "head"]),
    ],
)
def test_the_number_that_varies_most_is_a_star(names, expected):
    found = patterns(names)
    assert list(found) == expected
    assert sorted(name for alike in found.values() for name in alike) == sorted(names)
    assert all(fnmatchcase(name, one) for one, alike in found.items() for name in alike)
