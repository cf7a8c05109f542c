"""What the README shows can be typed as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import trp_search
from trp_search.cli import main
from trp_search.space import load_space

README = (Path(__file__).parents[1] / "README.md").read_text()


def block(language: str, *, holding: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)
    return next(text for text in found if holding in text)


def test_every_public_name_is_there_and_no_other():
    for name in trp_search.__all__:
        assert callable(getattr(trp_search, name))
    assert dir(trp_search) == sorted(trp_search.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'searching'"):
        _ = trp_search.searching


def test_every_public_name_is_in_the_readme():
    for name in set(trp_search.__all__) - {"InputError"}:
        assert f"`{name}" in README


def test_every_command_is_in_the_readme(capsys: pytest.CaptureFixture[str]):
    main([])
    listed = re.findall(r"^  (\w+)  +\w", capsys.readouterr().out.partition("Commands:")[2], re.M)
    assert len(listed) == 15
    for name in listed:
        assert f"| `{name} " in README


def test_the_search_space_loads(tmp_path: Path):
    path = tmp_path / "space.yaml"
    path.write_text(block("yaml", holding="workload"))
    assert load_space(path).trials == 40


def test_the_training_loop_trains_and_cuts(capsys: pytest.CaptureFixture[str]):
    torch.manual_seed(0)
    scope: dict[str, object] = {}
    exec(block("python", holding="before_step"), scope)  # noqa: S102  the README's own code
    train = scope["train"]
    assert callable(train)
    network = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.Flatten(), nn.Linear(256, 10)
    )
    batches = [(torch.rand(8, 1, 8, 8), torch.randint(10, (8,))) for _ in range(3)]
    cut = train(network, batches, torch.optim.SGD(network.parameters(), lr=0.01))
    assert cut(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_the_first_example_is_short_and_compiles():
    example = block("python", holding="new_search")
    assert len(example.splitlines()) < 20
    compile(example, "README.md", "exec")
