"""The document of a space's keys is what the classes say."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from trp_search.space.reference import SECTIONS, as_markdown, described

ROOT = Path(__file__).parents[2]


def test_the_committed_document_is_the_generated_one():
    assert (ROOT / "docs" / "search-space.md").read_text() == as_markdown()


@pytest.mark.parametrize("kind", [kind for _, kind, _ in SECTIONS], ids=lambda kind: kind.__name__)
def test_every_field_is_described(kind: type):
    fields = getattr(kind, "model_fields", None) or kind.__dataclass_fields__
    assert set(described(kind)) >= set(fields)


def test_every_key_of_the_shipped_spaces_is_listed():
    listed = as_markdown()

    def check(values: dict, prefix: str) -> None:
        for key, value in values.items():
            path = f"{prefix}.{key}" if prefix else key
            assert f"| `{path}` |" in listed
            if isinstance(value, dict) and f"(`{path}`)" in listed:
                check(value, path)

    for path in sorted((ROOT / "search_spaces").glob("*.yaml")):
        check(yaml.safe_load(path.read_text()), "")


def test_what_is_allowed_and_the_default_stand_beside_each_key():
    lines = as_markdown().splitlines()
    assert any(line.endswith("| a number above 0 to 1 | none |") for line in lines)
    (period,) = [line for line in lines if line.startswith("| `space.period` |")]
    assert period.endswith("| a whole number above 0 or `never` | `20` |")
    (trials,) = [line for line in lines if line.startswith("| `patience.trials` |")]
    assert trials.endswith("| must be given |")
