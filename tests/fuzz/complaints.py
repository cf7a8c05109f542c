"""What is wrong with what a command printed and did."""

from __future__ import annotations

import re

from tests.fuzz.process import MORE_MEMORY, SECONDS, Outcome

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_NOT_FINITE = re.compile(r"(?<![\w./'\"-])[-+]?(?:nan|inf|infinity)(?![\w.:/'\"-])", re.IGNORECASE)
_PERCENT = re.compile(r"(-?[\d,]+(?:\.\d+)?) ?%")


def complaints(outcome: Outcome, *, marker: str) -> list[str]:
    """What is wrong with an outcome, a short sentence each; the same fault says the same."""
    found = list(outcome.events)
    if outcome.hung:
        found.append(f"ran longer than {SECONDS} s")
        return found
    if outcome.error is not None:
        found.append(f"{type(outcome.error).__name__} in {outcome.where()}")
    elif "Traceback" in outcome.err or "(unexpected" in outcome.err:
        found.append(f"an unexpected end: {outcome.err.strip()[-200:]}")
    if outcome.megabytes > MORE_MEMORY / 2**21:
        found.append("took more than 1.5 GB of memory")
    found += _printed(outcome, marker)
    return found


def _printed(outcome: Outcome, marker: str) -> list[str]:
    found = []
    lines = outcome.err.splitlines()
    if outcome.code not in (0, 1, 2):
        found.append(f"exit code {outcome.code}")
    if outcome.code == 0 and lines:
        found.append(f"stderr after success: {lines[0][:80]}")
    if outcome.code != 0 and (len(lines) != 1 or not lines[0].startswith("trp-search: ")):
        found.append(f"stderr is not one line: {len(lines)} lines")
    for name, text in (("stdout", outcome.out), ("stderr", outcome.err)):
        if _CONTROL.search(text):
            found.append(f"control characters on {name}")
        if marker in text:
            found.append(f"{name} tells what a file outside the folder holds")
    if outcome.code == 0:
        found += _numbers(outcome.out)
    return found


def _numbers(out: str) -> list[str]:
    found = []
    if wrong := _NOT_FINITE.search(out):
        start = out.rfind("\n", 0, wrong.start()) + 1
        found.append(
            f"printed {wrong[0].strip()}: {' '.join(out[start : wrong.end()].split())[:60]}"
        )
    for number in _PERCENT.findall(out):
        if not 0 <= float(number.replace(",", "") or 0) <= 100:
            found.append("printed a share outside 0 to 100 %")
            break
    return found
