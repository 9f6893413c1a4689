"""The image side over volumes: a volume of one slice is its slice, a mean is a mean, attention begins as one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from medzoo.data.errors import ConfigError, MedzooError
from medzoo.models.clip.model import TINY_CONFIG, build_clip, encode_image
from medzoo.models.clip.volume import NO_IMAGE, SliceTower, refuse_volumes, slice_settings, with_volumes

TIMM = {"timm_model_name": "test_vit", "timm_pool": "", "timm_proj": "linear", "image_size": 160}
CONFIGS = {"clip_tiny": TINY_CONFIG, "test_vit": {**TINY_CONFIG, "vision_cfg": TIMM}}


@pytest.fixture(scope="module", params=CONFIGS)
def config(request):
    return CONFIGS[request.param]


def sides(config) -> tuple[int, int]:
    return (config["vision_cfg"]["image_size"],) * 2


def over_volumes(config, pool: str, depth: int, chunk: int | None = None):
    arguments = {"open_clip": config, "slices": {"pool": pool, "chunk": chunk}}
    return with_volumes(build_clip(config), arguments, (depth, *sides(config)), 3).eval()


@torch.no_grad()
@pytest.mark.parametrize("pool", ["mean", "attention"])
def test_a_volume_of_one_slice_is_the_flat_towers_embedding_to_the_bit(config, pool: str) -> None:
    flat, model = build_clip(config).eval(), over_volumes(config, pool, 1)
    if pool == "attention":  # whatever it has learnt
        nn.init.normal_(model.visual.attention.score.weight)
    images = torch.randn(3, 3, *sides(config))
    assert torch.equal(encode_image(model, images[:, :, None]), encode_image(flat, images))


@torch.no_grad()
def test_the_mean_is_that_of_the_slices_one_by_one(config) -> None:
    flat, model, volume = (
        build_clip(config).eval(),
        over_volumes(config, "mean", 5, chunk=2),
        torch.randn(1, 3, 5, *sides(config)),
    )
    one_by_one = np.stack([flat.encode_image(volume[:, :, place])[0].double().numpy() for place in range(5)])
    mean = one_by_one.mean(axis=0)
    np.testing.assert_allclose(encode_image(model, volume)[0].numpy(), mean / np.linalg.norm(mean), atol=2e-6)
    turned = encode_image(model, volume.flip(2))
    torch.testing.assert_close(turned, encode_image(model, volume), atol=1e-6, rtol=0)


@torch.no_grad()
def test_attention_begins_as_the_mean_and_then_weighs_slices() -> None:
    torch.manual_seed(0)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 16))
    volume, tower = torch.randn(2, 3, 4, 8, 8), SliceTower(flat, 16, "attention")
    torch.testing.assert_close(tower(volume), SliceTower(flat, 16, "mean")(volume), atol=1e-6, rtol=0)
    nn.init.normal_(tower.attention.score.weight)
    seen = np.stack([flat(volume[:, :, place]).double().numpy() for place in range(4)], axis=1)
    by_name = {name: value.double().numpy() for name, value in tower.attention.named_parameters()}
    hidden = np.tanh(seen @ by_name["content.weight"].T + by_name["content.bias"])
    hidden = hidden / (1 + np.exp(-(seen @ by_name["gate.weight"].T + by_name["gate.bias"])))
    weights = np.exp(hidden @ by_name["score.weight"].T)
    pooled = (weights * seen).sum(axis=1) / weights.sum(axis=1)
    np.testing.assert_allclose(tower(volume).numpy(), pooled, atol=1e-5)
    assert np.abs(pooled - seen.mean(axis=1)).max() > 0.1


@torch.no_grad()
def test_a_network_over_volumes_stands_in_the_towers_place() -> None:
    config = {**TINY_CONFIG, "vision_cfg": NO_IMAGE}
    tower = {"architecture": "resnet18_3d", "arguments": {"width": 0.125}}
    first, second = (
        with_volumes(build_clip(config), {"open_clip": config, "volume_tower": tower}, (8, 12, 12), 1, seed).eval()
        for seed in (3, 3)
    )
    volumes = torch.randn(2, 1, 8, 12, 12)
    found = encode_image(first, volumes)
    assert found.shape == (2, TINY_CONFIG["embed_dim"])
    assert torch.equal(found, encode_image(second, volumes))
    assert not torch.equal(found, encode_image(first, volumes.flip(2)))  # a network over volumes knows their order


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("max", "unknown slice pooling 'max'"),
        ({"pool": "mean", "chunks": 3}, "did you mean 'chunk'"),
        ({"chunk": 3}, r"is not mean, attention, or \{pool: mean"),
        (True, "is not mean, attention"),
        ({"pool": "mean", "chunk": 0}, "model.slices.chunk=0 is no number of slices"),
    ],
)
def test_what_slices_cannot_be_is_one_line(asked: object, message: str) -> None:
    with pytest.raises(MedzooError, match=message) as error:
        slice_settings(asked)
    assert "\n" not in str(error.value)


def test_slices_are_settled_by_a_word_or_both() -> None:
    assert slice_settings("mean") == {"pool": "mean", "chunk": None}
    assert slice_settings({"pool": "attention", "chunk": 4}) == {"pool": "attention", "chunk": 4}
    refuse_volumes({"open_clip": {}}, "run", "a probe")
    with pytest.raises(ConfigError, match="run is an image–text model of volumes, and a probe takes"):
        refuse_volumes({"open_clip": {}, "slices": {}}, "run", "a probe")
