from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from medzoo.tasks.losses import binary_cross_entropy, cross_entropy, squared_error

NAN = math.nan


def test_cross_entropy_equals_torch_on_labelled_rows() -> None:
    logits = torch.randn(6, 3)
    codes = torch.tensor([0, 1, 2, 1, 0, 2])
    targets = F.one_hot(codes, 3).float()
    targets[4:] = NAN
    loss, count = cross_entropy(logits, targets)
    assert torch.allclose(loss, F.cross_entropy(logits[:4], codes[:4]))
    assert count == 4


def test_cross_entropy_takes_soft_targets() -> None:
    logits, targets = torch.randn(5, 4), torch.rand(5, 4).softmax(1)
    assert torch.allclose(cross_entropy(logits, targets)[0], F.cross_entropy(logits, targets))


def test_binary_cross_entropy_is_over_observed_entries() -> None:
    logits, targets = torch.tensor([[0.0, 2.0], [1.0, -1.0]]), torch.tensor([[1.0, NAN], [NAN, 0.0]])
    loss, count = binary_cross_entropy(logits, targets)
    assert math.isclose(loss.item(), (math.log(2) + math.log1p(math.exp(-1))) / 2, rel_tol=1e-6)
    assert count == 2


def test_squared_error_by_hand() -> None:
    loss, count = squared_error(torch.tensor([[1.0], [5.0], [2.0]]), torch.tensor([[3.0], [NAN], [2.0]]))
    assert (loss.item(), count.item()) == (2.0, 2)


def test_nothing_observed_gives_zero_loss_and_zero_gradient() -> None:
    for loss in (cross_entropy, binary_cross_entropy, squared_error):
        logits = torch.randn(3, 2, requires_grad=True)
        value, count = loss(logits, torch.full((3, 2), NAN))
        value.backward()
        assert value.item() == 0
        assert count == 0
        assert logits.grad is not None
        assert torch.equal(logits.grad, torch.zeros(3, 2))


def test_an_infinite_logit_of_an_unlabelled_row_does_not_spread() -> None:
    logits = torch.tensor([[math.inf, 0.0], [0.0, 1.0]], requires_grad=True)
    loss, _ = squared_error(logits, torch.tensor([[NAN, NAN], [0.0, 0.0]]))
    assert loss.item() == 0.5
