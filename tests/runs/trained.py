"""Small runs on the digits with a baseline and one trial, and the space of one."""

from __future__ import annotations

from trp_search.records import TrialResult
from trp_search.runs import trial
from trp_search.runs.environment import write_environment
from trp_search.store import RunFolder, append_record, write_whole

DATA = {"name": "digits", "subset": 400, "heldout_subset": 100, "validation": 0.25}
SPACE = """\
workload:
  network: small_resnet
  data: {name: digits, subset: 300, heldout_subset: 100}
training: {epochs: 1, batch_size: 50, learning_rate: 0.05}
space: {start: scratch, scheme: spatial, energy: 0.8, period: 2}
extra_cuts: {speedups: [], energies: [], calibration_images: 32}
trials: 1
"""


def begun(space, path):
    """A run with its baseline."""
    folder = RunFolder.create(path)
    write_whole(folder.search, space.dump())
    write_environment(folder, seed=space.seed)
    ended(folder, space.baseline_spec())
    return folder


def ended(folder, spec, *, epochs=None):
    """The result, or nothing after some epochs, as if the process were killed then."""
    items = trial.run(spec, folder)
    if epochs is not None:
        for _ in range(epochs):
            next(items)
        items.close()
        return None
    *_, result = items
    assert isinstance(result, TrialResult)
    assert result.ended_well, result.why_not
    for point in result.points:
        append_record(folder.points, point)
    return result
