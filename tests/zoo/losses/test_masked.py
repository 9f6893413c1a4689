from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from medzoo.losses.masked import (
    Loss,
    asymmetric,
    binary_cross_entropy,
    conditional_cross_entropy,
    cross_entropy,
    focal,
    smooth_l1,
    squared_error,
)
from medzoo.models.heads.ordinal import CornLink, CumulativeLink

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


def test_class_weights_and_label_smoothing_equal_torch() -> None:
    logits, codes, weights = torch.randn(9, 3), torch.arange(9) % 3, torch.tensor([1.0, 2.0, 0.5])
    ours, weight = cross_entropy(logits, F.one_hot(codes, 3).float(), class_weights=weights, label_smoothing=0.2)
    assert torch.allclose(ours, F.cross_entropy(logits, codes, weight=weights, label_smoothing=0.2))
    assert weight == pytest.approx(10.5)


def test_positive_weights_equal_torch() -> None:
    logits, targets, weights = torch.randn(5, 2), (torch.rand(5, 2) > 0.5).float(), torch.tensor([3.0, 0.5])
    assert torch.allclose(
        binary_cross_entropy(logits, targets, positive_weights=weights)[0],
        F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weights),
    )


def test_asymmetric_equals_timm() -> None:
    from timm.loss import AsymmetricLossMultiLabel

    logits, targets = 3 * torch.randn(8, 5), (torch.rand(8, 5) > 0.6).float()
    # Of one row timm gives the sum, whatever its version sums or averages by default over rows.
    theirs = AsymmetricLossMultiLabel(gamma_neg=4, gamma_pos=1, clip=0.05)(logits.reshape(1, -1), targets.reshape(1, -1)) / 40
    assert torch.allclose(asymmetric(logits, targets)[0], theirs, rtol=1e-5)
    masked = targets.clone()
    masked[0, 0] = NAN
    assert asymmetric(logits, masked)[1] == 39


def test_focal_equals_torchvision() -> None:
    from torchvision.ops import sigmoid_focal_loss

    logits, targets = 3 * torch.randn(8, 5), (torch.rand(8, 5) > 0.6).float()
    theirs = sigmoid_focal_loss(logits, targets, alpha=0.3, gamma=1.5, reduction="mean")
    assert torch.allclose(focal(logits, targets, alpha=0.3, gamma=1.5)[0], theirs)
    unweighted = sigmoid_focal_loss(logits, targets, alpha=-1, gamma=2, reduction="mean")
    assert torch.allclose(focal(logits, targets)[0], unweighted)


def test_corn_by_hand() -> None:
    """Grade 1 of 3 answers both questions (yes, no); grade 0 the first alone (no); grade 2 both (yes, yes)."""
    z = torch.tensor([[0.3, -1.2], [0.8, 0.1], [-0.4, 2.0], [5.0, 5.0]])
    targets = F.one_hot(torch.tensor([1, 0, 2, 0]), 3).float()
    targets[3] = NAN
    yes = lambda v: -math.log(1 / (1 + math.exp(-v)))  # noqa: E731
    no = lambda v: -math.log(1 - 1 / (1 + math.exp(-v)))  # noqa: E731
    by_hand = (yes(0.3) + no(-1.2) + no(0.8) + yes(-0.4) + yes(2.0)) / 5
    loss, count = conditional_cross_entropy(CornLink()(z), targets)
    assert loss.item() == pytest.approx(by_hand, abs=1e-6)
    assert count == 5


def test_cumulative_link_by_hand() -> None:
    """Thresholds −1 and 2, score 0.5: P = [σ(−1.5), σ(1.5) − σ(−1.5), σ(−1.5)]."""
    link = CumulativeLink(3)
    with torch.no_grad():
        link.first.copy_(torch.tensor([-1.0]))
        link.gaps.copy_(torch.log(torch.expm1(torch.tensor([3.0 - CumulativeLink.SMALLEST_GAP]))))
    sigmoid = lambda v: 1 / (1 + math.exp(-v))  # noqa: E731
    expected = [sigmoid(-1.5), sigmoid(1.5) - sigmoid(-1.5), sigmoid(-1.5)]
    log_probabilities = link(torch.tensor([[0.5]]))
    assert log_probabilities.exp()[0].tolist() == pytest.approx(expected, abs=1e-6)
    loss, _ = cross_entropy(log_probabilities, torch.tensor([[0.0, 1.0, 0.0]]))
    assert loss.item() == pytest.approx(-math.log(expected[1]), abs=1e-6)


def test_smooth_l1_is_of_standardised_errors() -> None:
    values, targets, scale = torch.randn(6, 2) * 10, torch.randn(6, 2) * 10, torch.tensor([5.0, 2.0])
    ours = smooth_l1(values, targets, scale=scale, beta=0.5)[0]
    assert torch.allclose(ours, F.smooth_l1_loss(values / scale, targets / scale, beta=0.5))


@pytest.mark.parametrize("loss", [cross_entropy, conditional_cross_entropy, binary_cross_entropy, asymmetric, focal, smooth_l1])
def test_nothing_observed_has_a_zero_gradient(loss: Loss) -> None:
    logits = torch.randn(3, 4, requires_grad=True)
    value, count = loss(logits, torch.full((3, 4), NAN))
    value.backward()
    assert value == 0
    assert count == 0
    assert torch.equal(logits.grad, torch.zeros(3, 4))


def test_small_focusing_powers_keep_their_gradients() -> None:
    for loss in (lambda z, y: focal(z, y, gamma=0.5), lambda z, y: asymmetric(z, y, gamma_pos=0.5, gamma_neg=0.5)):
        logits = torch.tensor([[30.0, -30.0]], requires_grad=True)
        loss(logits, torch.tensor([[1.0, 0.0]]))[0].backward()
        assert torch.isfinite(logits.grad).all()
