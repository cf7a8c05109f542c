"""One row: a network by one rival at one budget, made, trained if asked for, and scored."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from benchmarks import resnet20
from benchmarks.resnet20_arms import DATA, IMAGES, SPLIT
from benchmarks.rivals import alone, given, handed, ours, recipe, score
from trp_search.errors import one_line
from trp_search.runtimes.machine import device_name
from trp_search.scoring.candidate import settle_
from trp_search.workloads import data
from trp_search.workloads.splits import Splits

NO, NORM = "no", "norm"  # tuned neither by epochs nor, the first, by statistics of batch norm
NORM_IMAGES = 2048
HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Rival:
    """A tool in one of its settings.

    Attributes:
        name: in the table.
        setting: in the table, and what its file is told.
        file: beside this one, which makes its networks; None for this project.
        environment: of the packages in the text file of this name; that of `file` by default.
        cuts: whether it makes a network without training.
        trains: whether it trains towards the cut itself.
    """

    name: str
    setting: str
    file: str | None = None
    environment: str | None = None
    cuts: bool = True
    trains: bool = False


RIVALS = (
    Rival(name="trp_search", setting="plain"),
    Rival(name="trp_search", setting="TRP", cuts=False),
    Rival(name="Torch-Pruning", setting="magnitude", file="torch_pruning"),
    Rival(name="Torch-Pruning", setting="taylor", file="torch_pruning"),
    Rival(name="Torch-Pruning", setting="bn-scale", file="torch_pruning"),
    Rival(name="ModelOpt FastNAS", setting="divisor 16", file="modelopt"),
    Rival(name="ModelOpt FastNAS", setting="divisor 4", file="modelopt"),
    Rival(name="AIMET", setting="spatial SVD", file="aimet"),
    Rival(name="fasterai", setting="tucker", file="fasterai"),
    Rival(name="fasterai", setting="svd", file="fasterai"),
    Rival(name="torchao", setting="minimal rank", file="torchao", trains=True),
    Rival(
        name="Optuna + Ray Tune",
        setting="minimal rank",
        file="by_hand",
        environment="torchao",
        trains=True,
    ),
)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A row of the table that is to be; `out` is absolute."""

    rival: Rival
    seed: int
    budget: float
    tuned: str
    out: Path

    @property
    def key(self) -> score.Row:
        """What names the row."""
        own = {"seed": self.seed, "rival": self.rival.name, "setting": self.rival.setting}
        return own | {"budget": self.budget, "tuned": self.tuned}

    @property
    def epochs(self) -> int:
        """Of training."""
        return 0 if self.tuned in (NO, NORM) else int(self.tuned)

    @property
    def place(self) -> Path:
        """Where the files of a rival's networks of one budget are."""
        name = f"{self.rival.name} {self.rival.setting} {self.budget:g}x"
        return self.out / f"seed-{self.seed}" / "rivals" / name.replace(" ", "-")

    @property
    def answers(self) -> Path:
        """Which test images its network has right."""
        return self.place / f"right-{self.tuned}.npy"

    def row(self) -> score.Row:
        """Everything but the key; a failure is an outcome."""
        self.place.mkdir(parents=True, exist_ok=True)
        found: score.Row = {"machine": device_name("cpu"), "commit": resnet20.commit()}
        found["images"] = self.epochs * IMAGES
        try:
            splits = data.load(DATA, split_seed=SPLIT, outside_weights=False, device="cpu")
            network, told = self._network(splits)
            found |= told | score.scored(network, splits, self.answers)
            return found | score.size(network, self._baseline(), self.place / "size.json")
        except Exception as error:  # noqa: BLE001  a rival may raise anything
            return found | {"outcome": one_line(error)[:200]}

    def _baseline(self) -> nn.Module:
        return given.resnet20(resnet20.weights(self.seed))

    def _network(self, splits: Splits) -> tuple[nn.Module, score.Row]:
        network, seconds = self._ours() if self.rival.file is None else self._theirs()
        began = time.process_time()
        if self.tuned == NORM:
            settle_(network, splits.train, NORM_IMAGES)
        elif self.epochs and self.rival.file is not None and not self.rival.trains:
            recipe.train(
                network,
                splits.train,
                resnet20.weights(self.seed),
                epochs=self.epochs,
                seed=self.seed,
                optimizer=recipe.descent([{"params": list(network.parameters())}]),
            )
        return network, {"processor_seconds": round(seconds + time.process_time() - began, 1)}

    def _ours(self) -> tuple[nn.Module, float]:
        began = time.process_time()
        folder = resnet20.Place(self.out).run(self.seed)
        asked = ours.spec(self.rival.setting, self.budget, seed=self.seed, epochs=self.epochs)
        for tuned, network in ours.made(asked, folder):
            if tuned == bool(self.epochs):
                return network, time.process_time() - began
        raise AssertionError("a trial has a point")

    def _theirs(self) -> tuple[nn.Module, float]:
        epochs = self.epochs if self.rival.trains else 0
        folder = self.place / f"network-{epochs}"
        if not (folder / alone.TOLD).exists():
            self._make(epochs, folder)
        told = json.loads((folder / alone.TOLD).read_text())
        return handed.read(self._baseline(), folder), told["processor_seconds"]

    def _make(self, epochs: int, folder: Path) -> None:
        weights = resnet20.weights(self.seed).resolve()
        asked = [self.rival.file, self.rival.setting, self.budget, epochs, self.seed]
        command = [self._python(), "-m", "benchmarks.rivals.alone", *asked, weights, folder]
        _run(list(map(str, command)), self.place / "log.txt")

    def _python(self) -> Path:
        """The interpreter of the rival's environment, which is made if it is missing."""
        name = self.rival.environment or self.rival.file
        place = self.out / "environments" / str(name)
        if not (place / "bin/python").exists():
            _run([sys.executable, "-m", "venv", str(place)], self.place / "log.txt")
            wanted = ["-r", str(HERE / f"{name}.txt")]
            _run([str(place / "bin/pip"), "install", "-q", *wanted], self.place / "log.txt")
        return place / "bin/python"


def _run(command: list[str], log: Path) -> None:
    """Runs a command, one thread each; what it prints goes into `log`.

    Raises:
        RuntimeError: it fails; the last line that it printed.
    """
    threads = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd())}
    with log.open("w") as file:
        ended = subprocess.run(  # noqa: S603
            command, stdout=file, stderr=file, env=os.environ | threads, check=False
        )
    if ended.returncode:
        said = [line for line in log.read_text().splitlines() if line.strip()]
        raise RuntimeError(said[-1] if said else f"ended with {ended.returncode}")
