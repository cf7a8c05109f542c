"""Spoils a sample, runs commands on it, and says what a stranger's file should not have done."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky

from tests.fuzz.changes import Change
from tests.fuzz.complaints import complaints
from tests.fuzz.drawing import changes, files_of
from tests.fuzz.process import BEGUN, Outcome, run

# Words that stand for places: @ the spoiled sample, BUNDLE and SPACE sound ones, NEW a free path.
_COMMANDS = {
    "space": [
        *["check @/space.yaml", "check @/full.yaml"] * 2,
        "search @/space.yaml --out NEW",
        "search @/full.yaml --out NEW",
        "evaluate BUNDLE --data @/space.yaml",
    ],
    "run": [
        *["status @", "report @", "select @ --speedup 1.3"] * 3,
        "select @ --speedup 1.1 --json",
        "select @ --max-drop 0.5",
        "select @ --parameters 100000",
        "select @ --bytes 1000000",
        "select @ --milliseconds 5",
        "select @ --speedup 1 --by latency --target here",
        "select @ --speedup 1 --by parameters",
        "cut @ --trial baseline --speedup 1.3",
        "cut @ --trial 0 --energy 0.7",
        "latency @ --target here --seconds 0.01",
        "export @ --point 0 --out NEW",
        "export @ --point 0-int8 --out NEW",
        "export @ --speedup 1.1 --out NEW --licence MIT",
        *["resume @"] * 3,
        "evaluate BUNDLE --data @",
        "search SPACE --from @ --out NEW",
    ],
    "bundle": [
        *["load @"] * 4,
        *["evaluate @ --data digits", "evaluate @"] * 2,
        "evaluate @ --data digits --test --json",
        "compare @ BUNDLE --seconds 0.01",
        "compare BUNDLE @ --seconds 0.01",
    ],
    "whole": [
        "load @",
        "cut @ --speedup 1.3 --out NEW",
        "cut @ --energy 0.8 --out NEW",
        "evaluate @",
    ],
}
KINDS = tuple(_COMMANDS)
_OWN = ("imported canary_module", "opened ", "stderr tells")
_MARKER = "canary-7f3a"
_WHOLE = {"weights.safetensors", "architecture.json", "card.json", "card.md"}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A command that did what it must not, on a sample that was changed so."""

    kind: str
    command: str
    changes: tuple[Change, ...]
    complaint: str
    said: str = ""

    def __str__(self) -> str:
        lines = [f"{self.kind}: {self.complaint}", f"  trp-search {self.command}"]
        lines += [f"  {change}" for change in self.changes]
        return "\n".join([*lines, f"  said: {self.said}"] if self.said else lines)


class FaultError(AssertionError):
    """An example has a fault; Hypothesis stops there."""


@dataclass(kw_only=True)
class Fuzzer:
    """The samples, and a place to spoil copies of them in."""

    samples: Path
    place: Path
    used: int = field(default=0, init=False)

    def faults(
        self, kind: str, *, examples: int, first: int | None = None, known: Sequence[str] = ()
    ) -> list[Fault]:
        """The first fault of that many examples, with as few changes as show it, or none.

        Args:
            kind: one of KINDS.
            examples: at most so many are tried.
            first: the seed; always the same examples without.
            known: complaints that are passed over.
        """
        seen: list[Fault] = []
        sample = self.samples / kind
        files = files_of(sample)

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=first is None,
            report_multiple_bugs=False,
            phases=(Phase.generate,),  # what is drawn is small, but for the number of changes
            suppress_health_check=list(HealthCheck),
        )
        @given(made=changes(sample, files), command=st.sampled_from(_COMMANDS[kind]))
        def example(made: list[Change], command: str) -> None:
            found = [f for f in self.tried(kind, made, command)[0] if f.complaint not in known]
            if found:
                seen.append(found[0])
                raise FaultError

        searching: Callable[[], None] = example if first is None else seed(first)(example)
        try:
            searching()
        except (FaultError, Flaky):  # flaky: what there is of memory or time differs
            return [self._smallest(seen[0])]
        return []

    def _smallest(self, fault: Fault) -> Fault:
        """The same complaint with as few of its changes as show it."""
        for change in fault.changes:
            fewer = [other for other in fault.changes if other is not change]
            again = self.tried(fault.kind, fewer, fault.command)[0] if fewer else []
            fault = next((one for one in again if one.complaint == fault.complaint), fault)
        return fault

    def tried(self, kind: str, made: Sequence[Change], command: str) -> tuple[list[Fault], Outcome]:
        """What is wrong with one command on one spoiled copy, and all that it did."""
        self.used += 1
        with tempfile.TemporaryDirectory(dir=self.place) as folder:
            place = Path(os.path.realpath(folder))
            canary, given, current = place / "canary", place / "given", place / "current"
            current.mkdir()
            _make_canary(canary)
            shutil.copytree(self.samples / kind, given, copy_function=_linked)
            before = _tree(canary)
            for change in made:
                change.make(given, canary)
            there = {path: path.lstat().st_ino for path in place.rglob("*")}
            words = [self._placed(word, given, place) for word in command.split()]
            outcome = run(words, given=given, canary=canary, current=current)
            found = complaints(outcome, marker=_MARKER)
            if kind == "space":  # whoever writes a space names code and files
                found = [said for said in found if not said.startswith(_OWN)]
            found += _left(outcome, place, there)
            found += ["wrote outside the folder"] if _tree(canary) != before else []
        said = (outcome.err or outcome.out).strip()[-300:]
        common = {"kind": kind, "command": command, "changes": tuple(made)}
        return [Fault(**common, complaint=one, said=said) for one in found], outcome

    def _placed(self, word: str, given: Path, place: Path) -> str:
        places = {"BUNDLE": self.samples / "bundle", "NEW": place / "new"}
        places["SPACE"] = self.samples / "space" / "space.yaml"
        return str(places[word]) if word in places else word.replace("@", str(given))


def _linked(source: str, target: str) -> None:
    """Large files are replaced, never written into, so that a link is a copy."""
    if source.endswith((".safetensors", ".html")):
        os.link(source, target)
    else:
        shutil.copyfile(source, target)


def _make_canary(canary: Path) -> None:
    """Files that look like those that are read, with a word that nothing may tell."""
    canary.mkdir()
    boom = "def boom(*a, **k):\n    raise RuntimeError('boom')\n"
    (canary / "canary_module.py").write_text(boom)
    for suffix in (".json", ".jsonl", ".yaml", ".csv", ".db", ".safetensors", ".py", ""):
        (canary / f"file{suffix}").write_text(json.dumps({_MARKER: _MARKER}) + "\n")


def _tree(folder: Path) -> dict[str, bytes | None]:
    paths = [path for path in sorted(folder.rglob("*")) if path.name != "__pycache__"]
    kept = [path for path in paths if path.parent.name != "__pycache__"]
    return {str(path): path.read_bytes() if path.is_file() else None for path in kept}


def _left(outcome: Outcome, place: Path, there: Mapping[Path, int]) -> list[str]:
    """What was left half written."""
    found = []
    made = [path for path in place.rglob("*") if there.get(path) != path.lstat().st_ino]
    temporary = [path for path in made if path.name.endswith(".tmp")]
    found += ["left a temporary file"] if temporary else []
    page = place / "given" / "report.html"
    if page in made:
        with page.open("rb") as file:
            file.seek(max(0, page.stat().st_size - 20))
            found += [] if b"</html>" in file.read() else ["left half a page"]
    new = place / "new"
    if (new / "weights.safetensors").exists() or (new / "card.json").exists():
        held = {path.name for path in new.iterdir()}
        found += [] if held >= _WHOLE else ["left half a bundle"]
    elif new.exists() and outcome.code != 0 and BEGUN not in outcome.err and any(new.iterdir()):
        found.append("left files in a new folder after a failure")
    strays = sorted(path.name for path in (place / "current").iterdir())
    return [*found, *(f"left {name} in the current folder" for name in strays)]
