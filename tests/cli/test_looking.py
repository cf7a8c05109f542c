"""`trp-search status` and `report`."""

from __future__ import annotations

import json

from trp_search.store import append_record


def test_status_tells_trials_failures_with_reasons_and_the_front(trp, sample_run):
    ended = trp("status", sample_run.path)
    assert (ended.code, ended.err) == (0, "")
    assert "small_resnet on digits" in ended.out
    assert "97.0 % on validation" in ended.out
    assert "16 scored, 1 failed, 1 diverged" in ended.out
    assert "13: failed: RuntimeError: out of memory <worker>" in ended.out
    assert "9: diverged: the loss was not finite in epoch 2" in ended.out
    assert "Front: 9 points" in ended.out
    assert "2.08\N{MULTIPLICATION SIGN}" in ended.out


def test_how_multiply_adds_were_counted_is_told_if_not_by_fvcore_alone(trp, sample_run):
    points, note = sample_run.points, "with aten::fft_fft as free"
    assert "multiply-adds" not in trp("status", sample_run.path).out
    every = [json.loads(line) for line in points.read_text().splitlines()]
    points.write_text("".join(json.dumps(one | {"counted": note}) + "\n" for one in every))
    assert f"multiply-adds: counted {note}" in trp("status", sample_run.path).out
    assert note in trp("select", sample_run.path, "--speedup", "2").out
    trp("report", sample_run.path)
    assert note in sample_run.report.read_text()


def test_status_fits_eighty_columns(trp, sample_run):
    table = trp("status", sample_run.path).out.partition("Front")[2]
    assert all(len(line) <= 80 for line in table.splitlines())


def test_status_of_a_run_that_just_began_says_what_there_is(trp, empty_run):
    ended = trp("status", empty_run.path)
    assert ended.code == 0
    assert "not trained yet" in ended.out
    assert "none yet" in ended.out
    assert "Front: 0 points" in ended.out


def test_an_unfinished_trial_is_told_with_its_epoch_and_how_to_go_on(trp, sample_run):
    sample_run.trial("5").result.unlink()
    ended = trp("status", sample_run.path)
    assert "5: unfinished, epoch 4 of 4" in ended.out
    assert f"trp-search resume {sample_run.path}" in ended.out


def test_report_writes_the_page_and_the_table(trp, sample_run):
    ended = trp("report", sample_run.path)
    assert ended.code == 0
    assert str(sample_run.report) in ended.out
    assert sample_run.report.read_text().startswith("<!")
    assert sample_run.front.read_text().startswith("point,")


def test_a_damaged_search_space_in_a_run_is_told_with_its_file(trp, sample_run):
    lists = [f"x{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    for text in ("workload: [", "\n".join(["x0: &a0 [a, a, a, a, a, a, a, a, a, a]", *lists])):
        sample_run.search.write_text(text)
        for words in (("status",), ("report",), ("resume",), ("select", "--speedup", "2")):
            ended = trp(words[0], sample_run.path, *words[1:])
            assert ended.code == 2
            assert "search.yaml: " in ended.err
            assert ended.err.count("\n") == 1


def test_an_accuracy_of_seven_is_no_result(trp, sample_run):
    points = sample_run.points
    points.write_text(points.read_text().replace('"value":0.97,', '"value":7.0,', 1))
    for command in ("status", "report"):
        ended = trp(command, sample_run.path)
        assert (ended.code, ended.out) == (2, "")
        assert (
            f"{points}: not a list of Point records: line 1: score: value: 7 is not within "
            in ended.err
        )


def test_points_that_are_slower_on_a_target_are_marked_in_the_front(trp, sample_run, make_latency):
    for name, low in (("7", 0.7), ("2", 1.3)):
        append_record(sample_run.latencies, make_latency(name, target="laptop", low=low))
    table = trp("status", sample_run.path).out.partition("Front")[2].splitlines()
    marked = [line.split()[0] for line in table if "(a)" in line and "%" in line]
    assert marked == ["7"]
    assert "warning: (a) slower than the baseline on laptop" in table
    assert all(len(line) <= 80 for line in table)
