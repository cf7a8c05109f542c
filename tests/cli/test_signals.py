"""SIGTERM and SIGHUP end a command like Ctrl-C: one line, an exit code."""

from __future__ import annotations

import os
import signal

import pytest

from trp_search.cli import looking
from trp_search.cli.signals import last_stop, stops_raised


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_is_named_in_the_last_line(trp, monkeypatch: pytest.MonkeyPatch, name: str):
    number = signal.Signals[name]
    before = signal.getsignal(number)
    monkeypatch.setattr(looking.RunFolder, "open", lambda _: os.kill(os.getpid(), number))
    ended = trp("status", "any")
    assert (ended.code, ended.err) == (1, f"trp-search: stopped by {name}\n")
    assert signal.getsignal(number) is before


def test_a_stop_that_comes_twice_is_one():
    with stops_raised():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert last_stop() == signal.SIGTERM


def test_what_was_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stops_raised():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
