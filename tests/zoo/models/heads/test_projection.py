"""What stands around a backbone in pre-training: beside timm's own forward pass."""

from __future__ import annotations

import pytest
import timm
import torch

from medzoo.data.errors import ConfigError
from medzoo.models.heads.projection import MaskedPatches, Projected


@pytest.mark.parametrize(
    "arguments", [{}, {"class_token": False, "global_pool": "avg"}, {"reg_tokens": 2}, {"no_embed_class": True}]
)
def test_all_patches_seen_in_order_are_timms_own_features(arguments):
    torch.manual_seed(0)
    backbone = timm.create_model("test_vit", img_size=32, patch_size=8, in_chans=1, num_classes=1, **arguments).eval()
    network = MaskedPatches(backbone, 1, (32, 32), 32, 1).eval()
    images = torch.randn(3, 1, 32, 32)
    kept = torch.arange(16).expand(3, -1)
    with torch.no_grad():
        torch.testing.assert_close(network.seen(images, kept), backbone.forward_features(images), atol=1e-6, rtol=1e-5)
        part = network.seen(images, kept[:, [3, 5]])
    assert part.shape[1] == backbone.num_prefix_tokens + 2


def test_patches_are_the_image_and_the_decoder_says_as_many():
    backbone = timm.create_model("test_vit", img_size=32, patch_size=8, in_chans=3, num_classes=1).eval()
    network = MaskedPatches(backbone, 3, (32, 32), 64, 1).eval()
    images = torch.randn(2, 3, 32, 32)
    patches = network.patches(images)
    assert torch.equal(torch.nn.functional.fold(patches.transpose(1, 2), (32, 32), 8, stride=8), images)
    kept = torch.tensor([[0, 7], [2, 1]])
    assert network.told(network.seen(images, kept), kept).shape == patches.shape


def test_what_is_no_vision_transformer_is_refused():
    with pytest.raises(ConfigError, match=r"hides patches of timm's vision transformers, not of a ResNet"):
        MaskedPatches(timm.create_model("test_resnet", num_classes=1), 1, (32, 32), 32, 1)
    with pytest.raises(ConfigError, match="no multiple of 32"):
        MaskedPatches(timm.create_model("test_vit", img_size=32, num_classes=1), 1, (32, 32), 33, 1)


def test_projectors_end_in_what_their_papers_say():
    torch.manual_seed(0)
    simclr = Projected(timm.create_model("test_resnet", in_chans=1, num_classes=16), "simclr", 16, 8)
    said = simclr(torch.randn(4, 1, 32, 32))
    torch.testing.assert_close(said.norm(dim=1), torch.ones(4))
    dino = Projected(timm.create_model("test_resnet", in_chans=1, num_classes=16), "dino", 16, 40)
    prototypes = dino.projector[-1]
    torch.testing.assert_close(prototypes.weight.norm(dim=1), torch.ones(40))
    assert dino(torch.randn(4, 1, 32, 32)).abs().max() <= 1 + 1e-5  # cosines
    dino(torch.randn(4, 1, 32, 32)).sum().backward()
    assert prototypes.parametrizations.weight.original0.grad is None
