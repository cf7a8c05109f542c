import dataclasses

import pytest

from trp_search.errors import InputError
from trp_search.records import Cut, MaxDrop, Score, Speedup
from trp_search.runs.fastest import fastest


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


def test_what_cannot_be_met_is_refused_in_one_line():
    with pytest.raises(InputError, match=r"even 1\.1x loses more than 0 "):
        fastest(Scores(BASELINE).score, LIKE, baseline=BASELINE, most=0.0)
