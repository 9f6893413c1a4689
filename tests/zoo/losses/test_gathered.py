"""What a process draws for its rows of a batch is what a single process draws for them, however many share it."""

from __future__ import annotations

import pytest
import torch

from medzoo.losses import gathered


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_draws_of_a_row_are_the_same_for_any_number_of_processes(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(7)
    whole = gathered.own_draws(11, 21, None)
    monkeypatch.setattr(gathered, "processes", lambda: count)
    for rank in range(count):
        monkeypatch.setattr(gathered, "place", lambda rank=rank: rank)
        wanted = whole[rank::count]
        assert torch.equal(gathered.own_draws(len(wanted), 21, 7), wanted)


def test_a_single_process_adds_nothing() -> None:
    value = torch.tensor([1.0, 2.0], requires_grad=True)
    total = gathered.added(value)
    assert torch.equal(total, value)
    assert not total.requires_grad
