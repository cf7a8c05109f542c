"""Convolutions of every kind, drawn."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st


def convolutions(*, read: int = 6, written: int = 7, side: int = 4) -> st.SearchStrategy[Any]:
    """Arguments of `nn.Conv2d`, with at most so many channels and so wide a kernel."""
    return st.fixed_dictionaries(
        {
            "in_channels": st.integers(1, read),
            "out_channels": st.integers(1, written),
            "kernel_size": st.tuples(st.integers(1, side), st.integers(1, side)),
            "stride": st.tuples(st.integers(1, 3), st.integers(1, 3)),
            "padding": st.tuples(st.integers(0, 2), st.integers(0, 2)),
            "dilation": st.tuples(st.integers(1, 2), st.integers(1, 2)),
            "bias": st.booleans(),
            "padding_mode": st.sampled_from(["zeros", "reflect", "replicate", "circular"]),
        }
    )
