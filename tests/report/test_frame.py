import io

import pandas as pd

from trp_search import points, report
from trp_search.store import append_record


def test_every_point_is_a_row_with_its_measures(sample_run):
    frame = points(sample_run)
    known = {point.id: point for point in sample_run.read_points()}
    assert set(frame["point"]) == set(known)
    for row in frame.itertuples():
        assert row.speedup == known[row.point].speedup
        assert row.validation_accuracy == known[row.point].score.value
    assert "setting.energy" in frame.columns


def test_times_have_columns_of_their_own_for_each_target(sample_run, make_latency):
    first = sample_run.read_points()[0].id
    append_record(sample_run.latencies, make_latency(first, target="laptop", low=1.5))
    frame = points(sample_run).set_index("point")
    assert frame.loc[first, "latency_low.laptop"] == 1.5
    assert frame.loc[first, "latency_speedup.laptop"] > 1.5
    assert frame["latency_low.laptop"].notna().sum() == 1


def test_the_front_is_marked_and_written_as_csv(sample_run):
    report.write(sample_run)
    written = pd.read_csv(io.StringIO(sample_run.front.read_text()), dtype={"point": str})
    frame = points(sample_run)
    assert list(written["point"]) == list(frame[frame["front"]].sort_values("speedup")["point"])
    assert len(written) >= 2
