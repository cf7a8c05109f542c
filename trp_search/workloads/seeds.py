"""Generators that depend on what they are for, and on nothing drawn before."""

from __future__ import annotations

import hashlib

import torch


def seeded(*purpose: int | str) -> torch.Generator:
    """A CPU generator of its own for each `purpose`."""
    digest = hashlib.blake2b("/".join(map(str, purpose)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest) >> 1)
