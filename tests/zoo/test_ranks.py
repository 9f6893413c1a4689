"""What several processes would all say is said once."""

from __future__ import annotations

import pytest
from torch.distributed import TCPStore

from medzoo.ranks import first_to_say


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> TCPStore:
    """The launcher's store of two processes, of which this is the second."""
    made = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(made.port))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    return made


def test_a_line_is_said_once(store: TCPStore) -> None:
    assert first_to_say("lung.png is no image")
    assert not first_to_say("lung.png is no image")
    assert first_to_say("another line")


def test_a_line_that_all_come_to_is_the_first_process_s(store: TCPStore, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not first_to_say("stopped as asked", by_all=True)
    monkeypatch.setenv("RANK", "0")
    assert first_to_say("stopped as asked", by_all=True)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert first_to_say("stopped as asked", by_all=True)


def test_where_nobody_can_be_asked_it_is_said(store: TCPStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MASTER_PORT")
    assert first_to_say("lung.png is no image")
    assert first_to_say("lung.png is no image")
