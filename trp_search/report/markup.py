"""Sections of the page, and escaping of their text."""

from __future__ import annotations

import html
from dataclasses import dataclass, field


def safe(text: str) -> str:
    """`text` as it may stand in HTML, in an attribute too."""
    return html.escape(text, quote=True)


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page, and the figures it has places for: plotly's JSON by the place's id."""

    html: str
    figures: dict[str, str] = field(default_factory=dict)
