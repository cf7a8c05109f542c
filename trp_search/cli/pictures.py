"""A section of `check`: how many images each class has, and which files are skipped."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Sequence

from trp_search.cli.console import line, pairs, warn
from trp_search.errors import InputError
from trp_search.space import SearchSpace
from trp_search.workloads import data
from trp_search.workloads.callables import theirs
from trp_search.workloads.listing import Passed
from trp_search.workloads.sources import root_of

_NAMED = 6


def pictures(space: SearchSpace, *, seconds: float) -> tuple[int | None, str]:
    """Prints the section; returns the number of training images of a trial, or None and the reason.

    Nothing is downloaded.

    Raises:
        InputError: the folder of images is there, and a search would refuse it.
    """
    workload = space.workload
    spec = dataclasses.replace(workload.data, download=False)
    try:
        with theirs(spec.name, where="workload.data", seconds=seconds):
            found = data.census(spec, outside_weights=workload.weights is not None)
    except InputError as error:
        if spec.name == "images" and root_of(spec).is_dir():
            raise  # they are here, and wrong
        return None, str(error)
    names = data.class_names(spec)
    line()
    line("Images", style="bold")
    pairs([(part, split(counts, names)) for part, counts in found.counts.items()])
    for sentence in passed_over(found.passed):
        line(f"  skipped: {sentence}")
    told: set[str] = set()
    for part, counts in found.counts.items():
        missing = [
            name for name, n in zip(names, counts, strict=True) if n == 0 and name not in told
        ]
        told.update(missing)
        if missing:
            warn(f"{part} holds no image of {few(missing)}")
    return sum(found.counts["train"]), ""


def split(counts: Sequence[int], names: Sequence[str]) -> str:
    """`90, 30 of each of 3 classes`, `60: cat 40, dog 20`, or from the fewest to the most."""
    least, most = min(counts), max(counts)
    if least == most:
        return f"{sum(counts):,}, {most:,} of each of {len(counts):,} classes"
    if len(counts) <= _NAMED:
        each = ", ".join(f"{name} {n:,}" for name, n in zip(names, counts, strict=True))
        return f"{sum(counts):,}: {each}"
    fewest, commonest = (names[list(counts).index(n)] for n in (least, most))
    return f"{sum(counts):,}: {least:,} (class {fewest}) to {most:,} (class {commonest}) per class"


def passed_over(passed: Sequence[Passed]) -> list[str]:
    """One sentence for each reason, most files first: `11 files in train/dog (.heic)`."""
    places: defaultdict[str, list[Passed]] = defaultdict(list)
    for entry in passed:
        places[entry.why].append(entry)
    totals = Counter({why: sum(e.count for e in found) for why, found in places.items()})
    sentences = [_sentence(count, places[why], why) for why, count in totals.most_common(_NAMED)]
    rest = len(totals) - _NAMED
    return (
        [*sentences, f"for {rest:,} more reason{'s' if rest > 1 else ''}"]
        if rest > 0
        else sentences
    )


def _sentence(count: int, places: Sequence[Passed], why: str) -> str:
    where = places[0].where if len(places) == 1 else f"{len(places):,} folders"
    return f"{count:,} file{'s' if count > 1 else ''} in {where} ({why})"


def few(names: Sequence[str]) -> str:
    """Some names, and how many more there are."""
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest:,} more classes" if rest > 0 else "")
