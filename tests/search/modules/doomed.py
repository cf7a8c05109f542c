"""A search that is killed at a chosen moment, and the user's network that helps it to die.

`python doomed.py RUN SPACE MARKS MOMENT NUMBER` searches and dies, at MOMENT, of trial
NUMBER or a later one. What happens in workers is chosen by a file, since they only get the space.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
from torch import nn

from trp_search.records import NetworkSpec
from trp_search.runs import networks as stored
from trp_search.runs import trial
from trp_search.search.driver import run_search
from trp_search.space import load_space
from trp_search.store import RunFolder
from trp_search.training import checkpoint
from trp_search.workloads import networks

_save_file = checkpoint.save_file


def build(*, marks: str) -> nn.Module:
    """The small ResNet for the digits."""
    plan = json.loads((Path(marks) / "plan.json").read_text())
    if plan["moment"] == "in the middle of writing a checkpoint":
        checkpoint.save_file = lambda tensors, path, **kept: _half(plan, tensors, path, kept)
    if plan["moment"] == "between a result on disk and its arrival":
        _after_result(plan)
    if plan["moment"] == "between two test scores":
        _after_score(plan)
    return networks.build(NetworkSpec(name="small_resnet"), channels=1, classes=10)


def _is_due(plan: dict[str, Any], path: Path) -> bool:
    name = path.parent.name
    return name.isdigit() and int(name) >= plan["number"]


def _half(plan: dict[str, Any], tensors: Any, path: Path, kept: dict[str, Any]) -> None:
    _save_file(tensors, path, **kept)
    if "checkpoint" in path.name and _is_due(plan, path):
        path.write_bytes(path.read_bytes()[:1000])
        _kill_driver(plan)
        _die()


def _after_result(plan: dict[str, Any]) -> None:
    write = trial.write_whole

    def write_and_kill(path: Path, data: bytes | str) -> None:
        write(path, data)
        if path.name == "result.json" and _is_due(plan, path):
            _kill_driver(plan)

    trial.write_whole = write_and_kill


def _after_score(plan: dict[str, Any]) -> None:
    append = stored.append_record

    def append_and_kill(path: Path, record: Any) -> None:
        append(path, record)
        _kill_driver(plan)
        _die()

    stored.append_record = append_and_kill


def _kill_driver(plan: dict[str, Any]) -> None:
    with suppress(ProcessLookupError):  # the other worker was first
        os.kill(plan["driver"], signal.SIGKILL)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _doom_driver(moment: str, number: int) -> None:
    if moment == "between asking and drawing":
        suggest = optuna.Trial.suggest_float

        def suggest_or_die(self: optuna.Trial, *args: Any, **kwargs: Any) -> float:
            if self.number >= number:
                _die()
            return suggest(self, *args, **kwargs)

        optuna.Trial.suggest_float = suggest_or_die
    if moment == "between recording a point and telling Optuna":
        tell = optuna.Study.tell

        def tell_or_die(self: optuna.Study, asked: optuna.Trial, *args: Any, **kwargs: Any) -> Any:
            if asked.number >= number:
                _die()
            return tell(self, asked, *args, **kwargs)

        optuna.Study.tell = tell_or_die


def main() -> None:
    run, space, marks, moment, number = sys.argv[1:]
    plan = {"moment": moment, "number": int(number), "driver": os.getpid()}
    (Path(marks) / "plan.json").write_text(json.dumps(plan))

    _doom_driver(moment, int(number))

    run_search(load_space(Path(space)), RunFolder(path=Path(run)), on_event=lambda event: None)


if __name__ == "__main__":
    main()
