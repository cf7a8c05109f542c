from __future__ import annotations

import base64
import dataclasses
import errno
import hashlib
import html
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from trp_search import report
from trp_search.errors import InputError
from trp_search.records import Point, TrialResult, TrialSpec, to_json
from trp_search.report import contents, drawing, page, rows
from trp_search.store import RunFolder, append_record, write_whole

EVIL = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked=1'>"


def _text(run: RunFolder) -> str:
    return report.write(run).read_text(encoding="utf-8")


def _data(page_text: str) -> dict:
    found = re.search(r'id="report-data">(.*?)</script>', page_text, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_a_report_is_one_page_and_one_table(sample_run: RunFolder):
    before = set(sample_run.path.iterdir())
    path = report.write(sample_run)
    assert path == sample_run.report
    assert set(sample_run.path.iterdir()) - before == {sample_run.report, sample_run.front}
    front = sample_run.front.read_text().splitlines()
    ids = re.findall(r'<tr role="row" data-point="(\w+)"', path.read_text(encoding="utf-8"))
    assert len(ids) > 3
    assert [line.split(",")[0] for line in front[1:]] == ids


def test_the_page_states_what_the_run_is(sample_run: RunFolder):
    text = _text(sample_run)
    for fact in ("sample-run", "small_resnet", "digits", "4 March 2026", "2.15.0"):
        assert fact in text
    assert "16 finished, 1 diverged, 1 failed" in text
    assert "fewer multiply-adds" in text


def test_a_per_cent_sign_stays_on_the_line_of_its_number(sample_run: RunFolder):
    text = _text(sample_run).replace("\\u00a0", "\N{NO-BREAK SPACE}")
    assert re.search(r"\d\N{NO-BREAK SPACE}%", text)
    assert not re.search(r"\d %", text.partition('id="report-data"')[0].partition("<body")[2])


def test_a_command_is_copied_as_the_shell_takes_it(sample_run: RunFolder):
    place = sample_run.path.rename(sample_run.path.with_name("digits 50 % off"))
    text = _text(RunFolder.open(place))
    given = shlex.quote(str(place))
    assert f"<code>trp-search export {html.escape(given)} --point" in text
    assert any(
        point["command"].startswith(f"trp-search export {given}")
        for point in _data(text)["points"].values()
    )
    assert "\N{NO-BREAK SPACE}%" in text


def test_every_front_point_comes_with_its_export_command(
    sample_run: RunFolder, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(sample_run.path.parent)
    text = _text(sample_run)
    names = [row.point.id for row in rows.build(contents.read(sample_run)).front]
    assert len(names) > 3
    for name in names:
        command = f"trp-search export sample-run --point {name} --out sample-run/models/{name}"
        assert f"<code>{command}</code>" in text


def test_the_front_has_a_column_for_every_objective(sample_run: RunFolder):
    column, space = 'data-name="{}" class="number">{:,}</td>', sample_run.search.read_text()
    for asked, shown, hidden in (
        ("accuracy, speedup", "Parameters", "Bytes"),
        ("accuracy, bytes", "Bytes", "Parameters"),
    ):
        sample_run.search.write_text(f"{space}objectives: [{asked}]\n")
        text = _text(sample_run)
        for row in rows.build(contents.read(sample_run)).front:
            assert column.format(shown, getattr(row.point, shown.lower())) in text
        assert f'data-name="{hidden}"' not in text


def test_lost_trials_are_listed_with_their_reasons(sample_run: RunFolder):
    text = _text(sample_run)
    assert "the loss was not finite in epoch 2" in text
    assert "RuntimeError: out of memory &lt;worker&gt;" in text


def test_plotly_is_there_once_and_only_our_scripts_may_run(sample_run: RunFolder):
    text = _text(sample_run)
    assert text.count(drawing.library()) == 1
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy
    assert re.findall(r"sha256-([^']*)", policy[1]) == digests
    assert "default-src 'none'" in policy[1]


def test_markup_from_a_run_folder_stays_text(sample_run: RunFolder, make_point: Callable):
    point = make_point("99", correct=199, speedup=4.0, settings={EVIL: EVIL})
    append_record(sample_run.points, dataclasses.replace(point, batch_norm=EVIL))
    write_whole(sample_run.environment, json.dumps({"created": EVIL, EVIL: [EVIL]}))
    write_whole(
        sample_run.trial("77").result, to_json(TrialResult(trial="77", points=(), failed=EVIL))
    )
    read = dataclasses.replace(contents.read(sample_run), name=EVIL, network=EVIL, search=EVIL)
    text = page.render(read).replace(drawing.library(), "")
    assert "<img" not in text
    assert "window.hacked = 1</script>" not in text
    shown = _data(text)["points"]["99"]
    assert [EVIL, EVIL] in shown["fixed"]
    assert ["batch norm", EVIL] in shown["facts"]
    assert text.count("<script") == text.count("</script>") == 3


class TestHowMuchEachSettingExplains:
    def test_is_a_table_with_a_bar_for_each_objective(self, sample_run: RunFolder):
        shares = {"energy": 0.7, "<period>": 0.3}
        found = {"trials": 16, "objectives": {"accuracy": shares, "speedup": {"energy": 0.95}}}
        found["left_out"] = ["<start>", "learning_rate"]
        write_whole(sample_run.importance, json.dumps(found))
        text = _text(sample_run)
        assert "fANOVA over 16 trials" in text
        assert "only some trials have them: &lt;start&gt;, learning_rate." in text
        table = text[text.index('<table class="importance">') :].partition("</table>")[0]
        assert re.findall(r'scope="col">(.*?)<', table) == ["Setting", "accuracy", "speedup"]
        lines = re.findall(r'<tr><th scope="row">(.*?)</th>(.*)</tr>', table)
        assert [name for name, _ in lines] == ["energy", "&lt;period&gt;"]
        assert [re.findall(r"width: (\d+)%", bars) for _, bars in lines] == [
            ["70", "95"],
            ["30", "0"],
        ]
        assert [re.findall(r">(\d+)\s%<", bars) for _, bars in lines] == [["70", "95"], ["30", "0"]]

    def test_is_left_out_before_it_is_known(self, sample_run: RunFolder):
        assert "How much each setting explains" not in _text(sample_run)


class TestWithLittleToShow:
    def test_a_run_that_has_just_started_says_so(self, empty_run: RunFolder):
        text = _text(empty_run)
        assert "Nothing has been scored yet." in text
        assert empty_run.front.read_text().startswith("point,trial,role,front,scheme,speedup")
        assert _data(text)["figures"] == {}

    def test_a_run_with_the_baseline_alone_draws_it(
        self, empty_run: RunFolder, make_point: Callable[..., Point]
    ):
        plain = make_point("baseline", correct=194, speedup=1.0, role="baseline", scheme=None)
        append_record(empty_run.points, plain)
        text = _text(empty_run)
        assert "no trial has been scored yet" in text
        assert list(_data(text)["figures"]) == ["tradeoff"]

    def test_a_run_of_failures_lists_them(
        self, empty_run: RunFolder, make_spec: Callable[[str], TrialSpec]
    ):
        for name in ("0", "1"):
            result = TrialResult(trial=name, points=(), failed="no memory")
            write_whole(empty_run.trial(name).spec, to_json(make_spec(name)))
            write_whole(empty_run.trial(name).result, to_json(result))
        text = _text(empty_run)
        assert "2 trials ended without a point" in text
        assert "no memory</td><td>0, 1</td>" in text

    def test_cuts_that_were_left_out_are_listed_by_reason(self, empty_run: RunFolder):
        for name in ("0", "1"):
            result = TrialResult(trial=name, points=(), refused={"9x": "the best is 4x"})
            write_whole(empty_run.trial(name).result, to_json(result))
        text = _text(empty_run)
        assert '9x</td><td class="reason">the best is 4x</td><td>0, 1</td>' in text

    def test_without_a_front_the_baselines_cuts_are_shown_layer_by_layer(
        self,
        empty_run: RunFolder,
        make_point: Callable[..., Point],
        make_spec: Callable[[str], TrialSpec],
    ):
        for name, role in (("baseline", "baseline"), ("plain-2x", "control")):
            append_record(empty_run.points, make_point(name, correct=194, speedup=2.0, role=role))
        without = _data(_text(empty_run))
        assert without["eligible"] == ["plain-2x"], "a run without trials: its cuts are the front"
        write_whole(empty_run.trial("0").spec, to_json(make_spec("0")))
        text = _text(empty_run)
        assert _data(text)["eligible"] == []
        assert "One column per cut of the baseline." in text
        assert list(_data(text)["figures"]) == ["tradeoff", "ranks"]

    def test_trials_without_a_baseline_are_drawn(
        self, empty_run: RunFolder, make_point: Callable[..., Point]
    ):
        append_record(empty_run.points, make_point("3", correct=194, speedup=2.0))
        text = _text(empty_run)
        assert (
            f"At 2.00{chr(215)} fewer multiply-adds: 97.0\N{NO-BREAK SPACE}% on validation." in text
        )
        assert "volume" not in _data(text)["figures"]

    def test_refits_are_listed_apart_by_test_accuracy(
        self, empty_run: RunFolder, make_point: Callable[..., Point]
    ):
        refit = make_point("refit-3", correct=200, speedup=2.0, role="refit")
        append_record(empty_run.points, refit)
        text = _text(empty_run)
        assert "Retrained on train and validation" in text
        assert not re.search(r"100\.0\s%", text)


def test_a_cross_in_the_curves_is_explained_where_there_is_one(sample_run: RunFolder):
    assert "A cross is" not in _text(sample_run)
    stopped = TrialResult(trial="9", points=(), stopped="behind")
    write_whole(sample_run.trial("9").result, to_json(stopped))
    assert "A cross is the last epoch of a trial that was stopped." in _text(sample_run)


class TestAFolderThatCannotBeRead:
    def test_names_a_result_that_is_none(self, sample_run: RunFolder):
        write_whole(sample_run.trial("3").result, '{"trial": 3')
        with pytest.raises(InputError, match=r"trials/3/result\.json: is not a trial's result"):
            report.write(sample_run)
        assert not sample_run.report.exists()

    @pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000, '{"seed": 1' + "0" * 9999])
    def test_names_an_environment_that_is_none(self, sample_run: RunFolder, text: str):
        write_whole(sample_run.environment, text)
        with pytest.raises(InputError, match=r"environment\.json: is not a JSON object: [^\n]+$"):
            report.write(sample_run)

    @pytest.mark.parametrize("share", ["NaN", "7", '"half"', "null"])
    def test_names_an_importance_that_is_none(self, sample_run: RunFolder, share: str):
        write_whole(sample_run.importance, f'{{"trials":9,"objectives":{{"a":{{"b":{share}}}}}}}')
        with pytest.raises(InputError, match=r"importance\.json: .*: objectives\.a\.b: "):
            report.write(sample_run)


def test_a_report_is_made_without_torch(sample_run: RunFolder):
    program = (
        "import sys; from pathlib import Path; from trp_search import report; "
        "from trp_search.store import RunFolder; report.write(RunFolder.open(Path(sys.argv[1]))); "
        "sys.exit(bool({'torch', 'ray', 'optuna'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program, str(sample_run.path)]
    done = subprocess.run(command, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0


def test_the_page_of_a_search_that_was_ended_no_longer_says_that_it_runs(sample_run: RunFolder):
    report.settle(sample_run)
    assert not sample_run.report.exists(), "there was none"
    running = report.write(sample_run, running=True).read_text(encoding="utf-8")
    report.settle(sample_run)
    settled = sample_run.report.read_text(encoding="utf-8")
    assert [_data(text)["running"] for text in (running, settled)] == [True, False]


def test_a_page_that_cannot_be_drawn_again_makes_room(
    sample_run: RunFolder, monkeypatch: pytest.MonkeyPatch
):
    report.write(sample_run, running=True)

    def full(path: Path, data: str) -> None:
        if sample_run.report.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        write_whole(path, data)

    monkeypatch.setattr(report, "write_whole", full)
    report.settle(sample_run)
    assert _data(sample_run.report.read_text(encoding="utf-8"))["running"] is False
