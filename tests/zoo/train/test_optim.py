"""Every optimizer that may be named goes on from a state to the same bits; others are refused in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from medzoo.data.errors import ConfigError
from medzoo.settings.schema import TrainerConfig
from medzoo.train.optim import make_optimizer, set_learning_rate
from medzoo.train.state import Progress, Resumable


def _begun(name: str) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 3))
    return model, make_optimizer(model, replace(TrainerConfig(), optimizer=name))


def _stepped(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        images = torch.randn(4, 1, 6, 6, generator=torch.Generator().manual_seed(step))
        model(images).square().mean().backward()
        set_learning_rate(optimizer, 1e-2)
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("name", ["adamw", "sgd", "lamb", "lambcw", "adafactorbv", "muon", "nadam", "madgrad"])
def test_an_optimizer_goes_on_from_a_state_to_the_same_bits(tmp_path: Path, name: str) -> None:
    whole, optimizer = _begun(name)
    _stepped(whole, optimizer, range(5))
    stopped, before = _begun(name)
    _stepped(stopped, before, range(3))
    Resumable(tmp_path, stopped, before, None, None, "spec", "{}").save(Progress(), {})
    resumed, after = _begun(name)
    Resumable(tmp_path, resumed, after, None, None, "spec", "{}").restore()
    _stepped(resumed, after, range(3, 5))
    for key, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[key]), key


@pytest.mark.parametrize("name", ["kron", "adahessian"])
def test_an_optimizer_that_draws_numbers_of_its_own_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^trainer.optimizer={name} draws numbers of its own.*choose another: adamw$"):
        _begun(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="it may be there")
def test_an_optimizer_of_another_package_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"trainer.optimizer=fusedadam cannot be used here \(CUDA required .*choose another"):
        _begun("fusedadam")
