"""Weighed samples and groups: a weight is a repetition, one group is no group, and the published recipes."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from medzoo.data.errors import ConfigError, MedzooError
from medzoo.data.labels import LabelSpace
from medzoo.losses import masked
from medzoo.losses.convex import as_convex
from medzoo.losses.groups import GroupBalance, GroupDro, IdentityScaling, group_arguments, group_loss, sample_losses
from medzoo.losses.objective import LOSSES, objective_from_config
from medzoo.settings.schema import LossConfig

LOSS = [(kind, name) for kind, losses in LOSSES.items() for name in losses]
every_loss = pytest.mark.parametrize(("kind", "name"), LOSS)


def case(kind: str, rows: int = 12, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return (N, 4) outputs that learn, and targets of which some are missing."""
    rng = np.random.default_rng(seed)
    outputs = torch.tensor(rng.standard_normal((rows, 4)), dtype=torch.float32)
    if kind in ("multiclass", "ordinal"):
        outputs = outputs.log_softmax(dim=1)
        targets = np.eye(4, dtype=np.float32)[rng.integers(4, size=rows)]
        targets[::5] = np.nan
    else:
        targets = rng.integers(0, 2, (rows, 4)).astype(np.float32)
        targets[rng.random((rows, 4)) < 0.2] = np.nan
    return outputs.requires_grad_(), torch.from_numpy(targets)


def both(loss: masked.Loss, outputs: Tensor, *given: object, **named: object) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean, how much it is over, and the gradient of their product."""
    outputs.grad = None
    mean, count = loss(outputs, *given, **named)  # type: ignore[arg-type]
    (mean * count).backward()  # type: ignore[no-untyped-call]
    assert outputs.grad is not None
    return mean.detach(), count.detach(), outputs.grad.clone()


@every_loss
def test_a_weight_of_two_is_a_sample_twice(kind: str, name: str) -> None:
    loss = LOSSES[kind][name]
    outputs, targets = case(kind)
    weights = torch.tensor([2.0, 1.0] * 6)
    twice = torch.arange(12).repeat_interleave(weights.long())
    mean, count = loss(outputs, targets, sample_weights=weights)  # type: ignore[call-arg]
    expected, over = loss(outputs[twice], targets[twice])
    assert mean.item() == pytest.approx(expected.item(), rel=1e-5)
    assert count.item() == pytest.approx(float(over))


@every_loss
def test_weights_of_one_and_one_group_change_no_bit(kind: str, name: str) -> None:
    loss = LOSSES[kind][name]
    outputs, targets = case(kind)
    ones, codes = torch.ones(12), torch.zeros(12, dtype=torch.int64)
    plain = both(loss, outputs, targets)
    dro, balance = GroupDro([9], step=0.5).train(), GroupBalance([9])
    for found in (
        both(loss, outputs, targets, sample_weights=ones),
        both(partial(dro, loss), outputs, targets, codes, ones),
        both(partial(dro, loss), outputs, targets, codes, ones),
        both(partial(balance, loss), outputs, targets, codes, ones),
    ):
        assert all(torch.equal(one.double(), other.double()) for one, other in zip(found, plain, strict=True))


@pytest.mark.parametrize("rows", [3, 7, 12, 49])
def test_identity_scaling_of_equal_losses_changes_no_bit(rows: int) -> None:
    outputs = torch.full((rows, 4), 0.3).requires_grad_()
    targets = torch.eye(4)[torch.arange(rows) % 4]
    codes = torch.arange(rows) % 3
    plain = both(masked.cross_entropy, outputs, targets)
    found = both(partial(IdentityScaling(0.7, 0.4), masked.cross_entropy), outputs, targets, codes, torch.ones(rows))
    assert all(torch.equal(one.double(), other.double()) for one, other in zip(found, plain, strict=True))


def test_identity_scaling_is_the_softmax_of_own_and_group_losses() -> None:
    outputs, targets = case("multiclass")
    codes, seen = torch.arange(12) % 3, ~targets.isnan().any(dim=1)
    own = -(targets.nan_to_num() * outputs.log_softmax(dim=1)).sum(dim=1).double().detach()
    group = torch.stack([own[seen & (codes == code)].mean() for code in codes])
    weights = (((1 - 0.3) * own + 0.3 * group) / 0.5)[seen].softmax(dim=0) * seen.sum()
    expected = (weights * own[seen]).mean() / weights.mean()
    mean, _ = IdentityScaling(0.5, 0.3)(masked.cross_entropy, outputs, targets, codes, torch.ones(12))
    assert mean.item() == pytest.approx(expected.item(), rel=1e-5)


def test_group_dro_is_algorithm_one_of_sagawa() -> None:
    dro, shares = GroupDro([8, 3, 1], step=0.3).train(), np.full(3, 1 / 3)
    for seed in range(4):
        outputs, targets = case("multiclass", seed=seed)
        codes = torch.from_numpy(np.random.default_rng(seed).integers(0, 2, 12))  # no batch holds the third
        mean, count = dro(masked.cross_entropy, outputs, targets, codes, torch.ones(12))
        losses = np.array([
            *(masked.cross_entropy(outputs[codes == group], targets[codes == group])[0].item() for group in (0, 1)), 0.0
        ])  # fmt: skip
        shares = shares * np.exp(0.3 * losses)
        shares /= shares.sum()
        assert mean.item() == pytest.approx(float(shares @ losses), rel=1e-5)
        assert int(count) == 9
    assert np.allclose(dro.shares.numpy(), shares, atol=1e-6)
    before = dro.shares.clone()
    dro.eval()(masked.cross_entropy, outputs, targets, codes, torch.ones(12))
    assert torch.equal(dro.shares, before)


def test_balanced_groups_count_alike() -> None:
    outputs, targets = case("multiclass")
    codes = torch.tensor([0] * 9 + [1] * 3)
    labelled = ~targets.isnan().any(dim=1)
    counts = [int((labelled & (codes == group)).sum()) for group in (0, 1)]
    mean, _ = GroupBalance(counts)(masked.cross_entropy, outputs, targets, codes, torch.ones(12))
    groups = [masked.cross_entropy(outputs[codes == group], targets[codes == group])[0] for group in (0, 1)]
    assert mean.item() == pytest.approx(torch.stack(groups).mean().item(), rel=1e-5)


@every_loss
def test_losses_of_single_samples_are_those_of_batches_of_one(kind: str, name: str) -> None:
    outputs, targets = case(kind)
    losses, counts = sample_losses(LOSSES[kind][name], outputs, targets)
    for row in range(12):
        mean, count = LOSSES[kind][name](outputs[row : row + 1], targets[row : row + 1])
        assert losses[row].item() == pytest.approx(mean.item(), abs=1e-6)
        assert int(counts[row]) == int(count)


@pytest.mark.parametrize(("how", "given", "words"), [
    ("dor", {}, "'dro'"), ("dro", {"stepp": 1}, "'step'"), ("dro", {"step": 0}, "not a positive number"),
    ("fis", {"share": 2}, "in 0..1"), ("balanced", {"step": 1}, "how=balanced"),
])  # fmt: skip
def test_a_wrong_way_to_weigh_groups_is_one_line(how: str, given: dict, words: str) -> None:
    with pytest.raises(MedzooError, match=words.replace(".", r"\.")):
        group_arguments(how, given)


def test_each_way_is_built_by_its_name() -> None:
    kinds = {"dro": GroupDro, "fis": IdentityScaling, "balanced": GroupBalance}
    for how, kind in kinds.items():
        assert isinstance(group_loss({"how": how, "counts": [3, 4], "arguments": group_arguments(how, {})}), kind)


def test_logit_adjustment_shifts_by_the_classes_log_shares_in_training_alone() -> None:
    labels = LabelSpace("multiclass", ("a", "b", "c", "d"))
    targets = np.eye(4, dtype=np.float32)[[0, 0, 0, 0, 0, 0, 1, 1, 2]]  # nobody is a d
    objective = objective_from_config(LossConfig(logit_adjustment=2.0), labels, targets)
    shares = np.array([6, 2, 1, 0.5]) / 9.5
    assert objective.offsets == pytest.approx(2 * np.log(shares))
    outputs, _ = case("multiclass", rows=9)
    found = objective.function(labels)(outputs, torch.from_numpy(targets))[0]
    expected = masked.cross_entropy(outputs + torch.tensor(2 * np.log(shares)), torch.from_numpy(targets))[0]
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    assert objective_from_config(LossConfig(), labels, targets).to_dict().keys().isdisjoint({"offsets", "groups", "teacher"})
    for config, kind in ((LossConfig(logit_adjustment=-1.0), "multiclass"), (LossConfig(logit_adjustment=1.0), "multilabel")):
        with pytest.raises(ConfigError, match="logit_adjustment"):
            objective_from_config(config, LabelSpace(kind, labels.names), targets)


@pytest.mark.parametrize(("kind", "name"), [
    ("multiclass", "cross_entropy"), ("ordinal", "corn"), ("multilabel", "binary_cross_entropy"), ("regression", "squared_error"),
])  # fmt: skip
def test_a_convex_problem_counts_a_weighed_sample_as_often(kind: str, name: str) -> None:
    labels = LabelSpace(kind, ("a", "b", "c", "d"))  # type: ignore[arg-type]
    _, targets = case(kind)
    objective = objective_from_config(LossConfig(name=name), labels, targets.numpy())
    weights = torch.tensor([3.0, 1.0] * 6)
    found = as_convex(objective, labels, targets.double(), weights)
    plain = as_convex(objective, labels, targets.double())
    if kind == "multiclass":
        assert torch.equal(found.targets.nan_to_num(), (plain.targets * weights[:, None]).nan_to_num())
        return
    ones = torch.ones_like(plain.targets) if plain.weights is None else plain.weights
    assert found.weights is not None
    assert torch.equal(found.weights, ones * weights[:, None])
    assert torch.equal(found.targets.nan_to_num(), plain.targets.nan_to_num())


def test_identity_scaling_takes_a_weight_of_two_for_a_sample_twice() -> None:
    outputs, targets = case("multiclass")
    codes, weights = torch.arange(12) % 3, torch.tensor([2.0, 1.0, 3.0] * 4)
    twice = torch.arange(12).repeat_interleave(weights.long())
    scaling = IdentityScaling(0.5, 0.3)
    mean, count = scaling(masked.cross_entropy, outputs, targets, codes, weights)
    expected, over = scaling(masked.cross_entropy, outputs[twice], targets[twice], codes[twice], torch.ones(24))
    assert mean.item() == pytest.approx(expected.item(), rel=1e-5)
    assert count.item() == pytest.approx(over.item(), rel=1e-5)


def test_the_offsets_of_a_long_tail_are_of_training_alone() -> None:
    """What validation judges by is the model's own cross-entropy, whose mean is the report's."""
    labels = LabelSpace("multiclass", ("a", "b", "c", "d"))
    outputs, targets = case("multiclass")
    objective = objective_from_config(LossConfig(logit_adjustment=1.0), labels, targets.numpy())
    plain = objective_from_config(LossConfig(), labels, targets.numpy()).function(labels)(outputs, targets)
    assert objective.function(labels, training=False)(outputs, targets) == plain
    assert objective.function(labels)(outputs, targets)[0] != plain[0]
    weighed = objective_from_config(LossConfig(class_weights=[1, 2, 3, 4], label_smoothing=0.1), labels, targets.numpy())
    assert weighed.function(labels, training=False)(outputs, targets) == weighed.function(labels)(outputs, targets)
