"""Pooling of bags, against equation 9 of Ilse et al. 2018 written out in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medzoo.models.backbones.rows import RowsNetwork
from medzoo.models.heads.bag import POOLS, BagNetwork

COUNTS = (3, 1, 5, 2)


def network(pool: str) -> BagNetwork:
    torch.manual_seed(0)
    return BagNetwork(RowsNetwork(6, 2, None, 0.0), features=6, pool=pool, hidden=4).eval()


@pytest.mark.parametrize("pool", POOLS)
@torch.no_grad()
def test_pooling_by_hand(pool: str) -> None:
    model, features = network(pool), torch.randn(sum(COUNTS), 6)
    pooled, weights = model.pooled(features, torch.tensor(COUNTS))
    start = 0
    for place, count in enumerate(COUNTS):
        h = features[start : start + count].numpy().astype(np.float64)
        own = weights[start : start + count].numpy()
        if pool == "attention":
            content, gate, score = (getattr(model.attention, name) for name in ("content", "gate", "score"))
            v, u = (np.asarray(layer.weight) @ h.T + np.asarray(layer.bias)[:, None] for layer in (content, gate))
            logit = np.asarray(score.weight)[0] @ (np.tanh(v) * (1 / (1 + np.exp(-u))))
            a = np.exp(logit) / np.exp(logit).sum()
            np.testing.assert_allclose(own, a, rtol=1e-5)
            np.testing.assert_allclose(pooled[place], a @ h, rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_allclose(pooled[place], getattr(h, pool)(axis=0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(own.sum(), 1, rtol=1e-6)
        start += count


@pytest.mark.parametrize("pool", POOLS)
@torch.no_grad()
def test_a_bag_in_another_order_is_the_same(pool: str) -> None:
    model, features = network(pool), torch.randn(40, 6)
    one, weights = model.pooled(features, torch.tensor([40]))
    order = torch.randperm(40)
    two, moved = model.pooled(features[order], torch.tensor([40]))
    torch.testing.assert_close(one, two, rtol=0, atol=1e-6)
    torch.testing.assert_close(weights[order], moved, rtol=0, atol=1e-6)


def test_every_part_learns() -> None:
    model = network("attention").train()
    pooled, _ = model.pooled(torch.randn(sum(COUNTS), 6), torch.tensor(COUNTS))
    model.get_classifier()(pooled).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@torch.no_grad()
def test_what_members_show_is_added_before_they_are_pooled() -> None:
    torch.manual_seed(0)
    model = BagNetwork(RowsNetwork(6, 2, None, 0.0), features=6, pool="attention", hidden=4, views=("AP", "PA")).eval()
    features, codes, counts = torch.randn(5, 6), torch.tensor([1, 2, 0, 2, 1]), torch.tensor([3, 2])
    torch.testing.assert_close(model.seen_as(features, codes), features)  # zero at first
    assert model.view is not None
    model.view.weight.normal_()
    seen = model.seen_as(features, codes)
    torch.testing.assert_close(seen, features + model.view.weight[codes])
    torch.testing.assert_close(model.seen_as(features, None), features + model.view.weight[0])
    assert model.view in model.link_modules()
    one, two = model.pooled(seen, counts), model.pooled(model.seen_as(features, codes.roll(1)), counts)
    assert (one[0] - two[0]).abs().max() > 1e-3
    plain = network("attention")
    assert plain.view is None
    assert plain.seen_as(features, codes) is features
