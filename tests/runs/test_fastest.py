import dataclasses

import pytest

from trp_search.errors import InputError
from trp_search.records import Cut, MaxDrop, Score, Speedup
from trp_search.runs.fastest import fastest, fastest_of
from trp_search.store import append_record


class Scores:
    """Cuts that lose a hundredth for each whole speedup beyond the first, up to 7x."""

    def __init__(self, baseline):
        self.baseline, self.tried = baseline, []

    def score(self, cut):
        speedup = cut.keep.speedup
        self.tried.append(speedup)
        if speedup > 7:
            raise InputError("out of reach")
        value = self.baseline.value - 0.01 * (speedup - 1)
        return dataclasses.replace(self.baseline, value=value, low=0.0, high=1.0)


BASELINE = Score(name="accuracy", value=0.9, low=0.0, high=1.0, images=100)
LIKE = Cut(keep=MaxDrop(0.02), scheme="spatial")


@pytest.mark.parametrize(("most", "ideal"), [(0.005, 1.5), (0.02, 3.0), (0.045, 5.5), (0.5, 7.0)])
def test_the_speedup_is_the_largest_within_two_percent_and_was_scored(most, ideal):
    scores = Scores(BASELINE)
    found = fastest(scores.score, LIKE, baseline=BASELINE, most=most)
    assert isinstance(found.keep, Speedup)
    assert 0.97 * ideal <= found.keep.speedup <= ideal + 1e-9
    assert found.keep.speedup in scores.tried
    assert found.scheme == "spatial"


def test_it_is_no_slower_than_what_the_run_has(empty_run, make_point):
    """A loss of 1.5 points at 1.5x and of none at 2x keeps bisection below both."""

    def score(cut):
        lost = 0.0 if cut.keep.speedup <= 1.3 or cut.keep.speedup == 2 else 0.015
        return dataclasses.replace(BASELINE, value=BASELINE.value - lost)

    points = [make_point("baseline", correct=180, speedup=1.0, role="baseline")]
    for name, speedup, correct in (("1", 2.0, 180), ("2", 3.0, 100), ("3", 5.0, 180)):
        point = make_point(name, correct=correct, speedup=speedup)
        cut = dataclasses.replace(LIKE, keep=Speedup(speedup))
        points.append(dataclasses.replace(point, cut=cut, trial="1" if name != "3" else name))
    like = dataclasses.replace(LIKE, keep=MaxDrop(0.01))
    append_record(empty_run.points, points[0])
    assert fastest_of(empty_run, "1", like, score).keep.speedup < 1.5
    for point in points[1:]:
        append_record(empty_run.points, point)
    assert fastest_of(empty_run, "1", like, score).keep.speedup == 2
    more = dataclasses.replace(points[1], id="4", cut=dataclasses.replace(LIKE, keep=Speedup(6.0)))
    for other in ({"role": "screened_out"}, {"settings": {"fine_tuning_epochs": 2}}):
        append_record(empty_run.points, dataclasses.replace(more, **other))
    assert fastest_of(empty_run, "1", like, score).keep.speedup == 2
    with pytest.raises(InputError, match=r"even 1\.1x loses more"):  # not what it is said to be
        fastest_of(empty_run, "3", like, lambda cut: dataclasses.replace(BASELINE, value=0.1))


def test_what_cannot_be_met_is_refused_in_one_line():
    with pytest.raises(InputError, match=r"even 1\.1x loses more than 0 "):
        fastest(Scores(BASELINE).score, LIKE, baseline=BASELINE, most=0.0)
