"""Files that are not what they should be: one line that says so, and nothing else happens."""

from __future__ import annotations

import sys

import pytest

from tests.fuzz.changes import Change
from tests.fuzz.complaints import complaints
from tests.fuzz.fuzzer import Fuzzer
from tests.fuzz.process import Outcome
from tests.fuzz.samples import make_all

EXAMPLES = {"space": 20, "run": 80, "bundle": 45, "whole": 15}


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Fuzzer:
    samples = make_all(tmp_path_factory.mktemp("samples"))
    return Fuzzer(samples=samples, place=tmp_path_factory.mktemp("spoiled"))


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_spoiled_file_is_refused_in_one_line_or_read_right(fuzzer: Fuzzer, kind: str):
    faults = fuzzer.faults(kind, examples=EXAMPLES[kind])
    assert not faults, "\n".join(map(str, faults))


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        ("space", "check @/space.yaml"),
        ("run", "status @"),
        ("run", "select @ --speedup 1.1 --json"),
        ("bundle", "load @"),
        ("whole", "evaluate @"),
    ],
)
def test_what_is_spoiled_was_sound(fuzzer: Fuzzer, kind: str, command: str):
    faults, outcome = fuzzer.tried(kind, [], command)
    assert (faults, outcome.code, outcome.err) == ([], 0, "")


def test_the_watch_sees_an_import_and_a_file_opened_elsewhere(fuzzer: Fuzzer):
    at = ("workload", "network")
    code = Change(file="space.yaml", how="set", at=at, value="canary_module:boom")
    _, outcome = fuzzer.tried("space", [code], "check @/space.yaml")
    assert "imported canary_module" in outcome.events
    assert "canary_module" not in sys.modules
    link = Change(file="space.yaml", how="link", value="file")
    _, outcome = fuzzer.tried("space", [link], "check @/space.yaml")
    assert outcome.events == ["opened /file.yaml outside the folder"]


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Outcome(out="validation  nan %\n"), "printed nan: validation nan"),
        (Outcome(out="validation  120.5 % of 50\n"), "printed a share outside 0 to 100 %"),
        (Outcome(out="\x1b[31mred\n"), "control characters on stdout"),
        (Outcome(code=2, err="trp-search: a\nb\n"), "stderr is not one line: 2 lines"),
        (Outcome(code=3, err="trp-search: a\n"), "exit code 3"),
        (Outcome(err="a warning\n"), "stderr after success: a warning"),
        (Outcome(out="secret\n"), "stdout tells what a file outside the folder holds"),
        (Outcome(hung=True), "ran longer than 20 s"),
    ],
)
def test_what_must_not_be_printed_is_seen(outcome: Outcome, said: str):
    assert complaints(outcome, marker="secret") == [said]
