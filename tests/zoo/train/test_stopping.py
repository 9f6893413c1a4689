"""Signals while training: remembered in it, the system's own business after it, and no last word among several processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from medzoo.train import stopping
from medzoo.train.stopping import Asked


@pytest.fixture(autouse=True)
def heard() -> Iterator[list[int]]:
    """Signals that reach whoever listens outside of training."""
    found: list[int] = []
    before = {one: signal.getsignal(one) for one in stopping.SIGNALS}
    signal.signal(signal.SIGTERM, lambda number, frame: found.append(number))
    yield found
    for one, handler in before.items():
        signal.signal(one, handler)


def ask() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_is_remembered_in_training_and_counts_after_it(heard: list[int]) -> None:
    asked = Asked()
    with asked.listening():
        ask()
        assert asked.by == signal.SIGTERM
        assert heard == []
    assert heard == [signal.SIGTERM]  # nobody acted on it


def test_after_an_error_of_one_process_signals_are_whose_they_were(heard: list[int]) -> None:
    asked = Asked()
    with pytest.raises(RuntimeError), asked.listening():
        raise RuntimeError
    ask()
    assert heard == [signal.SIGTERM]


def test_after_an_error_among_several_processes_a_signal_does_not_come_before_the_line_that_says_why(
    heard: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "processes", lambda: 2)
    asked = Asked()
    with pytest.raises(RuntimeError), asked.listening():
        raise RuntimeError
    ask()
    assert heard == []
    assert asked.by == signal.SIGTERM
