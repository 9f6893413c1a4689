"""Heads as timm draws them: those many times too large for few classes are drawn anew, trained ones stay."""

from __future__ import annotations

import math

import pytest
import timm
import torch
import torch.nn.functional as F

from medzoo.models.backbones import timm_backbone
from medzoo.models.backbones.blueprint import Blueprint
from medzoo.models.registry import create_model


def first_loss(model: torch.nn.Module) -> float:
    """The loss of five classes on features of spread 1, as trained networks give them."""
    generator = torch.Generator().manual_seed(0)
    head = model.get_classifier()
    features = torch.randn(200, head.in_features, generator=generator).relu()
    with torch.no_grad():
        return F.cross_entropy(head(features), torch.randint(5, (200,), generator=generator)).item()


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "mobilenetv3_small_050"])
def test_a_new_head_for_few_classes_starts_near_chance(name: str) -> None:
    assert first_loss(timm.create_model(name, num_classes=5)) > 3 * math.log(5)  # what this is for
    one, same, other = (create_model(name, outputs=5, seed=seed) for seed in (0, 0, 1))
    assert first_loss(one) < 1.5 * math.log(5)
    assert torch.equal(one.get_classifier().weight, same.get_classifier().weight)
    assert not torch.equal(one.get_classifier().weight, other.get_classifier().weight)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_heads_of_usual_size_are_timms_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = create_model(name, outputs=5)
    monkeypatch.setattr(timm_backbone, "calm_head", lambda model: None)
    assert torch.equal(ours.get_classifier().weight, create_model(name, outputs=5).get_classifier().weight)


def test_a_trained_head_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = timm.create_model("test_efficientnet")
    with torch.no_grad():
        trained.get_classifier().weight.fill_(5.0)
    monkeypatch.setattr(timm_backbone, "_create", lambda *given: trained)
    kept = timm_backbone.create_timm_model(Blueprint("test_efficientnet", outputs=1000, pretrained=True))
    assert bool((kept.get_classifier().weight == 5.0).all())
