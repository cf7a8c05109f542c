"""What the README and its guides show can be typed as it stands."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

import trp_search
from trp_search.cli import main
from trp_search.space import load_space

pytestmark = pytest.mark.usefixtures("verified_here")

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
GUIDES = {
    name: (ROOT / f"docs/{name}.md").read_text() for name in ("searching", "choosing", "python")
}
COMMANDS = [
    shlex.split(line, comments=True)[1:]
    for document in (README, *GUIDES.values())
    for text in re.findall(r"```sh\n(.*?)```", document, flags=re.DOTALL)
    for line in text.splitlines()
]
TRAINS = {"confirm", "refit", "compress"}  # each has tests of its own
QUICK = {"latency": ["--seconds", "0.05"], "compare": ["--seconds", "0.05"]}


def block(language: str, *, holding: str, document: str = README) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", document, flags=re.DOTALL)
    return next(text for text in found if holding in text)


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The README's folder: its module, its search space made short, pictures of two colours."""
    module = block("python", holding="MaxPool2d")
    assert "channels, 10)" in module
    (tmp_path / "mine.py").write_text(module.replace("channels, 10)", "channels, 2)"))
    space = block("yaml", holding="workload")
    for long, short in {"epochs: 30": "epochs: 3", "epochs: 4": "epochs: 1"}.items():
        assert long in space
        space = space.replace(long, short)
    short = space.replace("trials: 40", "trials: 2\nconcurrency: 1")
    short = short.replace("batch_size: 128", "batch_size: 16")
    (tmp_path / "mine.yaml").write_text(short)
    generator = torch.Generator().manual_seed(0)
    for part, number in {"train": 60, "test": 20}.items():
        for channel, name in enumerate(("red", "green")):
            folder = tmp_path / "pictures" / part / name
            folder.mkdir(parents=True)
            for index in range(number):
                pixels = torch.randint(160, (32, 32, 3), generator=generator, dtype=torch.uint8)
                pixels[..., channel] += 90
                Image.fromarray(pixels.numpy()).save(folder / f"{index}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_public_name_is_there_and_no_other():
    for name in trp_search.__all__:
        assert callable(getattr(trp_search, name))
    assert dir(trp_search) == sorted(trp_search.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'searching'"):
        _ = trp_search.searching


def test_the_readme_is_read_in_five_minutes():
    assert len(README.splitlines()) <= 150


def test_every_public_name_is_documented():
    for name in trp_search.__all__:
        assert re.search(rf"\b{name}\b", GUIDES["python"]), name


def test_every_command_is_shown(capsys: pytest.CaptureFixture[str]):
    main([])
    listed = re.findall(r"^  (\w+)  +\w", capsys.readouterr().out.partition("Search:")[2], re.M)
    assert len(listed) == 16
    assert {words[0] for words in COMMANDS} == set(listed)


def test_the_search_space_is_long_enough_for_a_network(mine: Path):
    (mine / "long.yaml").write_text(block("yaml", holding="workload"))
    assert load_space(mine / "long.yaml").trials == 40


def test_the_optional_keys_are_keys(mine: Path):
    optional = block("yaml", holding="rungs", document=GUIDES["searching"])
    (mine / "more.yaml").write_text(block("yaml", holding="workload") + optional)
    space = load_space(mine / "more.yaml")
    assert (space.keep, space.extra_cuts.speedups) == ("front", (2, 3))


def test_every_command_does_what_it_says(mine: Path, capsys: pytest.CaptureFixture[str]):
    for words in (command for command in COMMANDS if command[0] not in TRAINS):
        if words[0] == "resume":
            words[words.index("--trials") + 1] = "3"
        code = main([*words, *QUICK.get(words[0], [])])
        shown = capsys.readouterr()
        if "--target" in words and code == 1:  # a busy machine may make none as fast
            assert "the nearest is" in shown.err
            continue
        assert code == 0, f"{words}: {shown.err}"
        assert shown.out
    assert (mine / "runs/mine/report.html").stat().st_size > 1e6
    bundles = {path.name for path in (mine / "models").iterdir()}
    assert bundles == {"mine-2x", "baseline"}
    assert {"network.onnx", "network.pt2"} < {
        path.name for path in (mine / "models/mine-2x").iterdir()
    }


def test_the_training_loop_trains_and_cuts(capsys: pytest.CaptureFixture[str]):
    torch.manual_seed(0)
    scope: dict[str, object] = {}
    loop = block("python", holding="before_step", document=GUIDES["python"])
    exec(loop, scope)  # noqa: S102  the guide's own code
    train = scope["train"]
    assert callable(train)
    network = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.Flatten(), nn.Linear(256, 10)
    )
    batches = [(torch.rand(8, 1, 8, 8), torch.randint(10, (8,))) for _ in range(3)]
    example = torch.rand(1, 1, 8, 8)
    cut = train(network, example, batches, torch.optim.SGD(network.parameters(), lr=0.01))
    assert cut(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_the_first_example_searches_chooses_exports_and_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    space = (ROOT / "search_spaces" / "digits.yaml").read_text()
    (tmp_path / "search_spaces").mkdir()
    short = space.replace("epochs: 30", "epochs: 2").replace("epochs: 12", "epochs: 1")
    assert "{low: 0.8, high: 0.99}" in short
    short = short.replace("{low: 0.8, high: 0.99}", "{low: 0.5, high: 0.6}")  # 2x in one trial
    short = short.replace("concurrency: 2", "concurrency: 1")
    (tmp_path / "search_spaces" / "digits.yaml").write_text(short)
    monkeypatch.chdir(tmp_path)
    example = block("python", holding="new_search")
    assert "trials=8" in example
    exec(example.replace("trials=8", "trials=1"), {})  # noqa: S102  the README's own code
    chosen, shape = capsys.readouterr().out.splitlines()[-2:]
    assert re.fullmatch(r"\d+\.\d\dx, \d+\.\d% on validation", chosen)
    assert shape == "torch.Size([1, 10])"


def test_make_search_searches_the_digits():
    done = subprocess.run(
        ["make", "-n", "--no-print-directory", "search"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == ".venv/bin/trp-search search search_spaces/digits.yaml"
