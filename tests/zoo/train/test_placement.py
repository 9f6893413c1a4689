from __future__ import annotations

import pytest
import torch

from medzoo.train import placement
from medzoo.train.placement import place_model, slower_precision


def test_float32_is_never_slower_than_itself() -> None:
    assert slower_precision(torch.device("cpu"), "no") is None


def test_what_is_slower_is_said_with_its_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {torch.float32: 1.0, torch.bfloat16: 6.0}
    monkeypatch.setattr(placement, "_seconds", lambda device, dtype: seconds[dtype])
    said = slower_precision(torch.device("cpu"), "bf16")
    assert said is not None
    assert "trainer.precision=bf16 takes 6.0 times as long as float32 on this cpu" in said
    seconds[torch.bfloat16] = 0.5
    assert slower_precision(torch.device("cpu"), "bf16") is None


def test_both_precisions_are_timed_for_real() -> None:
    assert placement._seconds(torch.device("cpu"), torch.float32) > 0
    assert placement._seconds(torch.device("cpu"), torch.bfloat16) > 0


def test_on_the_processor_weights_keep_their_order() -> None:
    network = torch.nn.Conv2d(3, 8, 3)
    place_model(network, torch.device("cpu"))
    assert network.weight.is_contiguous()
