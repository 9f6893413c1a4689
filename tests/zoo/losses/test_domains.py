"""Penalties on groups: the papers' equations on cases worked by hand, and nothing of what a batch lacks or does not know."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from medzoo.data.errors import MedzooError
from medzoo.losses import masked
from medzoo.losses.domains import RANGES, CovarianceAlignment, GroupAdversary, InvariantRisk, group_penalty, reversed_gradient
from medzoo.losses.groups import group_arguments

NAN = float("nan")


def drawn(rows: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


def coral(features: Tensor, codes: list[int], *, targets: Tensor | None = None, weights: Tensor | None = None, groups: int = 2,
          weight: float = 1.0, means: float = 0.0) -> Tensor:  # fmt: skip
    rows = len(features)
    given = torch.ones(rows, 1) if targets is None else targets
    counted = torch.ones(rows) if weights is None else weights
    found: Tensor = CovarianceAlignment([9] * groups, weight, means)(
        masked.binary_cross_entropy, torch.zeros(rows, 1), features, given, torch.tensor(codes), counted
    )
    return found


def test_coral_of_two_covariances_is_the_hand_value() -> None:
    # Deviations (±1, 0) and (0, ±2) around two means: covariances diag(2, 0) and diag(0, 8), squared distance 4 + 64, 4 d² = 16.
    features = torch.tensor([[1.0, 0], [-1, 0], [5, 7], [5, 3]])
    assert coral(features, [0, 0, 1, 1]).item() == pytest.approx(68 / 16)
    assert coral(features, [0, 0, 1, 1], weight=0.5).item() == pytest.approx(34 / 16)
    # The means (0, 0) and (5, 5) lie 50 apart, 25 a feature.
    assert coral(features, [0, 0, 1, 1], means=2.0).item() == pytest.approx(68 / 16 + 2 * 25)


def test_coral_of_equal_features_is_0_and_shifts_are_no_matter() -> None:
    features = drawn(6, 5)
    assert coral(torch.cat([features, features]), [0] * 6 + [1] * 6).abs().item() < 1e-6
    assert coral(torch.cat([features, features + 3]), [0] * 6 + [1] * 6).abs().item() < 1e-5


def test_coral_is_the_mean_over_pairs_of_those_that_the_batch_holds() -> None:
    features = drawn(11, 3)
    codes = [0] * 4 + [1] * 3 + [3] * 3 + [2]  # one sample of the third, none of the fifth
    parts = [features[:4], features[4:7], features[7:10]]
    covariances = [part.T.cov() for part in parts]
    pairs = [((covariances[a] - covariances[b]) ** 2).sum() / 36 for a, b in ((0, 1), (0, 2), (1, 2))]
    found = coral(features.requires_grad_(), codes, groups=5)
    assert found.item() == pytest.approx(torch.stack(pairs).mean().item(), rel=1e-5)
    found.backward()  # type: ignore[no-untyped-call]
    wanted = features.detach().clone().requires_grad_()
    again = [wanted[:4].T.cov(), wanted[4:7].T.cov(), wanted[7:10].T.cov()]
    sum(((again[a] - again[b]) ** 2).sum() / 36 / 3 for a, b in ((0, 1), (0, 2), (1, 2))).backward()  # type: ignore[union-attr]
    assert features.grad is not None
    assert wanted.grad is not None
    assert torch.allclose(features.grad, wanted.grad, atol=1e-6)


def test_coral_of_one_group_is_0() -> None:
    assert coral(drawn(6, 3), [1] * 6, groups=3).item() == 0


@pytest.mark.parametrize("scale", [0.01, 0.4, 1.0, 7.0])
def test_corals_weights_are_how_much_a_sample_counts_beside_another_as_numpys_are(scale: float) -> None:
    features, codes = drawn(7, 3), [0, 0, 0, 1, 1, 1, 2]
    weights = torch.tensor([2.0, 1, 1, 1, 3, 1, 1])
    known, of = features.double().numpy(), np.array(codes)
    first, second = (np.cov(known[of == g].T, aweights=weights.numpy()[of == g]) for g in (0, 1))
    found = coral(features, codes, weights=scale * weights, groups=3)
    assert found.item() == pytest.approx(((first - second) ** 2).sum() / 36, rel=1e-4)


def test_a_sample_of_weight_0_takes_no_part_in_coral() -> None:
    features = drawn(5, 3)
    weights = torch.tensor([1.0, 1, 1, 1, 0])
    assert coral(features, [0, 0, 1, 1, 1], weights=weights).item() == pytest.approx(coral(features[:4], [0, 0, 1, 1]).item())
    assert coral(features[2:], [0, 1, 1], weights=torch.tensor([1.0, 1, 0])).item() == 0


def irm(outputs: Tensor, targets: Tensor, codes: list[int], *, groups: int = 2, loss: masked.Loss = masked.cross_entropy,
        middle: tuple[float, ...] | None = None) -> Tensor:  # fmt: skip
    found: Tensor = InvariantRisk([9] * groups, 1.0, 0.0, middle)(
        loss, outputs, None, targets, torch.tensor(codes), torch.ones(len(outputs))
    )
    return found


def test_irm_of_one_domain_is_the_hand_gradient_squared() -> None:
    # d/dw of −log softmax(w z)[0] at w = 1 is Σ p z − z[0].
    logits = torch.tensor([[2.0, 0.0, -1.0]], requires_grad=True)
    shares = logits.detach().softmax(dim=1)
    slope = (shares * logits.detach()).sum() - 2.0
    found = irm(logits, torch.tensor([[1.0, 0, 0]]), [0])
    assert found.item() == pytest.approx(slope.item() ** 2, rel=1e-5)
    found.backward()  # type: ignore[no-untyped-call]
    # d slope / dz_k = p_k (1 + z_k − Σ p z) − [k = 0].
    z, p = logits.detach(), shares
    of_slope = p * (1 + z - (p * z).sum()) - torch.tensor([[1.0, 0, 0]])
    assert logits.grad is not None
    assert torch.allclose(logits.grad, 2 * slope * of_slope, atol=1e-6)


def test_irm_is_the_mean_over_the_domains_of_a_batch_without_unlabelled_samples() -> None:
    outputs, targets = drawn(7, 3), torch.eye(3)[[0, 1, 2, 0, 1, 2, 0]]
    targets[2] = NAN
    codes = [0, 0, 0, 2, 2, 2, 2]
    found = irm(outputs, targets, codes, groups=3)
    parts = [irm(outputs[rows], targets[rows], [0] * len(rows), groups=1) for rows in ([0, 1], [3, 4, 5, 6])]
    assert found.item() == pytest.approx(torch.stack(parts).mean().item(), rel=1e-5)
    assert irm(outputs, torch.full((7, 3), NAN), codes, groups=3).item() == 0


def test_irm_of_quantities_scales_what_the_network_gives() -> None:
    # In units of the labels the outputs are 10 + z; (w z − t)² has the derivative 2 (z − t) z at w = 1.
    found = irm(torch.tensor([[13.0]]), torch.tensor([[11.0]]), [0], loss=masked.squared_error, middle=(10.0,))
    assert found.item() == pytest.approx((2 * (3 - 1) * 3) ** 2)


def test_irm_sets_in_after_its_steps() -> None:
    risk = InvariantRisk([1], 1.0, 2.0, None).train()
    given = (masked.cross_entropy, torch.tensor([[2.0, 0.0]]), None, torch.tensor([[1.0, 0]]), torch.tensor([0]), torch.ones(1))
    found = [risk(*given).item() for _ in range(4)]
    assert found[:2] == [0, 0]
    assert found[2] == found[3] > 0
    assert int(risk.steps) == 4
    risk.eval()(*given)
    assert int(risk.steps) == 4


def test_the_reversed_gradient_is_minus_lambda_times_the_plain_one() -> None:
    values = drawn(4, 3).requires_grad_()
    (plain,) = torch.autograd.grad((values**3).sum(), values)
    turned = reversed_gradient(values, torch.tensor(0.3))
    assert torch.equal(turned, values)
    (found,) = torch.autograd.grad((turned**3).sum(), values)
    assert torch.equal(found, -torch.tensor(0.3) * plain)


def test_the_adversary_learns_the_groups_and_the_features_unlearn_them() -> None:
    features, codes = drawn(6, 4).requires_grad_(), torch.tensor([0, 0, 1, 1, 2, 2])
    targets = torch.ones(6, 1)
    targets[5] = NAN
    adversary = GroupAdversary([4, 4, 4], 0.7, 0.0, 5.0)
    adversary.begin(4)
    given = (masked.binary_cross_entropy, torch.zeros(6, 1), features, targets, codes, torch.tensor([2.0, 1, 1, 1, 1, 1]))
    found = adversary(*given)
    found.backward()
    assert features.grad is not None
    ours, heads = features.grad.clone(), [parameter.grad.clone() for parameter in adversary.head.parameters()]
    features.grad = None
    adversary.zero_grad()
    rows = [0, 0, 1, 2, 3, 4]  # of weight 2 twice, without the unlabelled one
    plain = torch.nn.functional.cross_entropy(adversary.head(features[rows]), codes[rows])
    plain.backward()  # type: ignore[no-untyped-call]
    assert found.item() == pytest.approx(plain.item(), rel=1e-5)
    assert features.grad is not None
    assert torch.allclose(ours, -0.7 * features.grad, atol=1e-6)
    assert all(
        torch.allclose(one, parameter.grad, atol=1e-6) for one, parameter in zip(heads, adversary.head.parameters(), strict=True)
    )


def test_the_adversary_rises_as_in_the_paper() -> None:
    adversary = GroupAdversary([1, 1], 2.0, 4.0, 3.0).train()
    adversary.begin(2)
    found = []
    for _ in range(6):
        found.append(adversary.strength().item())
        adversary(
            masked.binary_cross_entropy, torch.zeros(2, 1), drawn(2, 2), torch.ones(2, 1), torch.tensor([0, 1]), torch.ones(2)
        )
    wanted = [2 * (2 / (1 + math.exp(-10 * min(1, step / 4))) - 1) for step in range(6)]
    assert found == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("how", RANGES)
def test_a_weight_of_0_is_no_penalty_and_each_is_built_by_its_name(how: str) -> None:
    kinds = {"coral": CovarianceAlignment, "irm": InvariantRisk, "adversarial": GroupAdversary}
    built = group_penalty({"how": how, "counts": [3, 4], "arguments": group_arguments(how, {})}, None)
    assert isinstance(built, kinds[how])
    assert group_penalty({"how": how, "counts": [3, 4], "arguments": group_arguments(how, {"weight": 0})}, None) is None


@pytest.mark.parametrize(("how", "given", "words"), [
    ("corral", {}, "'coral'"), ("coral", {"weight": -1}, "at least 0"), ("coral", {"after": 1}, "how=coral"),
    ("irm", {"after": 0.5}, "whole number of steps"), ("irm", {"weight": float("inf")}, "at least 0"),
    ("adversarial", {"hidden": 0}, "at least 1"), ("adversarial", {"rise": -1}, "whole number of steps"),
])  # fmt: skip
def test_a_wrong_penalty_is_one_line(how: str, given: dict, words: str) -> None:
    with pytest.raises(MedzooError, match=words):
        group_arguments(how, given)
