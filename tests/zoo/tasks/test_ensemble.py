"""The mean of models, of every kind of labels: what it must be, and that a graph can hold it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medzoo.data.labels import LabelSpace
from medzoo.losses.votes import fit_votes, mean_loss
from medzoo.tasks.classify import probabilities
from medzoo.tasks.ensemble import joined

SPACES = {
    "multiclass": LabelSpace("multiclass", ("a", "b", "c")),
    "ordinal": LabelSpace("ordinal", ("a", "b", "c")),
    "multilabel": LabelSpace("multilabel", ("a", "b", "c")),
    "regression": LabelSpace("regression", ("a", "b", "c")),
}


def drawn(seed: int, members: int, scale: float = 4.0) -> tuple[torch.Tensor, list[float]]:
    rng = np.random.default_rng(seed)
    votes = rng.dirichlet(np.ones(members))
    return torch.from_numpy(scale * rng.standard_normal((members, 9, 3))), [float(vote) for vote in votes]


@pytest.mark.parametrize("kind", SPACES)
def test_its_probabilities_are_the_mean(kind: str) -> None:
    labels = SPACES[kind]
    logits, votes = drawn(0, 4)
    found = probabilities(joined(list(logits), votes, "probabilities", labels), labels)
    mean = sum(vote * probabilities(one, labels) for vote, one in zip(votes, logits, strict=True))
    assert torch.allclose(found, mean, atol=1e-12)


@pytest.mark.parametrize("kind", SPACES)
def test_the_mean_of_logits_is_that(kind: str) -> None:
    logits, votes = drawn(1, 3)
    found = joined(list(logits), votes, "logits", SPACES[kind])
    assert torch.allclose(found, (torch.tensor(votes)[:, None, None] * logits).sum(dim=0), atol=1e-12)


@pytest.mark.parametrize("kind", SPACES)
def test_a_member_without_a_vote_is_not_heard_and_none_overflows(kind: str) -> None:
    labels = SPACES[kind]
    loud = torch.full((2, 3), 1e4) * torch.tensor([1.0, -1.0, 0.0])
    quiet = torch.tensor([[0.1, 0.2, -0.3]]).repeat(2, 1)
    alone = joined([quiet, loud], [1.0, 0.0], "probabilities", labels)
    assert torch.allclose(probabilities(alone, labels), probabilities(quiet, labels), atol=1e-6)
    assert torch.isfinite(joined([loud, -loud], [0.5, 0.5], "probabilities", labels)).all()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), members=st.integers(2, 5), kind=st.sampled_from(["multiclass", "multilabel"]))
def test_its_loss_is_at_most_the_mean_loss(seed: int, members: int, kind: str) -> None:
    labels = SPACES[kind]
    logits, votes = drawn(seed, members)
    rng = np.random.default_rng(seed)
    targets = np.eye(3)[rng.integers(3, size=9)] if labels.exclusive else (rng.random((9, 3)) < 0.4).astype(float)
    targets[rng.random(9) < 0.2] = np.nan
    if np.isnan(targets).all():
        return
    each = [mean_loss(labels, targets, logits[[m]].numpy(), np.ones(1), "probabilities") for m in range(members)]
    for how in ("probabilities", "logits"):
        assert mean_loss(labels, targets, logits.numpy(), np.array(votes), how) <= np.dot(votes, each) + 1e-9


@pytest.mark.parametrize("how", ["probabilities", "logits"])
@pytest.mark.parametrize("kind", SPACES)
def test_fitted_votes_are_the_best_there_are(kind: str, how: str) -> None:
    labels: Any = SPACES[kind]
    rng = np.random.default_rng(5)
    truth = rng.integers(3, size=60)
    targets = np.eye(3, dtype=np.float32)[truth]
    if kind == "regression":
        targets = rng.standard_normal((60, 3)).astype(np.float32)
    good = (3 * targets + rng.standard_normal((60, 3))).astype(np.float32)
    bad = (3 * rng.standard_normal((60, 3))).astype(np.float32)
    targets[:5] = np.nan
    votes = fit_votes(labels, targets, [good, bad], how)
    assert votes.sum() == pytest.approx(1)
    assert votes.min() >= 0
    said = np.stack([good, bad]).astype(np.float64)
    losses = [mean_loss(labels, targets, said, np.array([share, 1 - share]), how) for share in np.linspace(0, 1, 101)]
    assert mean_loss(labels, targets, said, votes, how) <= min(losses) + 1e-6
