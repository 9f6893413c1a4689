"""The class layer of a bottleneck answers with finite odds of a class that no training sample has."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from medzoo.models.heads.bottleneck import BottleneckNetwork
from medzoo.models.heads.class_layer import ConceptData, fit_class_layer


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5])
def test_a_class_without_a_training_sample_has_the_odds_of_half_a_one(l1_ratio: float) -> None:
    draws = torch.Generator().manual_seed(0)
    logits = torch.randn(60, 2, generator=draws)
    targets = torch.zeros(60, 3)
    targets[torch.arange(60), (logits[:, 0] + torch.randn(60, generator=draws) > 0).long()] = 1
    network = BottleneckNetwork(nn.Identity(), concepts=2, outputs=3, kind="logit")
    data = ConceptData(logits, (logits > 0).float(), targets)
    fit_class_layer(network, data, None, kind="multiclass", on_truth=False, penalty=1.0, l1_ratio=l1_ratio)
    assert (network.head.weight[2] == 0).all()
    assert (network.head.weight[:2] != 0).any()
    apart = network.head.bias[2] - network.head.bias[:2].mean()
    assert float(apart.detach()) == pytest.approx(np.log(0.5 / 60), abs=0.1)
