"""Where features lie: class activation maps whose mean and bias are the output, and the layers gradients are taken at."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from medzoo.data.errors import ConfigError
from medzoo.models.heads.bottleneck import BottleneckNetwork
from medzoo.models.heads.ordinal import CornLink, OrdinalNetwork
from medzoo.models.linear_head import linear_head
from medzoo.models.places import NotLinearError, find_evidence, last_layer
from medzoo.models.registry import create_model

EXACT: dict[str, tuple[str, tuple[int, ...], str, dict[str, Any], tuple[int, ...]]] = {
    "cnn": ("test_resnet", (64, 48), "cnn", {}, (2, 2)),
    "1x1 head": ("test_efficientnet", (64, 64), "cnn", {}, (2, 2)),
    "channels last": ("swin_tiny_patch4_window7_224", (64, 64), "vit", {"depths": (1, 1), "embed_dim": 24}, (8, 8)),
    "tokens": ("zach_vit", (64, 32), "vit", {"head": []}, (4, 2)),
    "volume": ("resnet18_3d", (16, 32, 48), "cnn3d", {"width": 0.125}, (1, 2, 3)),
    "rectified": ("densenet121_3d", (32, 32, 64), "cnn3d", {}, (1, 1, 2)),
    "slices": ("test_resnet", (5, 64, 64), "slices", {"pool": "mean"}, (5, 2, 2)),
}  # fmt: skip


def made(name: str, size: tuple[int, ...], family: str, arguments: dict[str, Any], outputs: int = 3) -> nn.Module:
    network = create_model(name, outputs=outputs, family=family, channels=1, size=size, arguments=arguments).eval()
    for module in network.modules():  # statistics of a network that has seen images: activations of ordinary size
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_var is not None:
            module.train()
    with torch.no_grad():
        network(torch.randn(4, 1, *size, generator=torch.Generator().manual_seed(1)))
    return network.eval()


@pytest.mark.parametrize("kind", EXACT)
def test_the_maps_mean_and_the_bias_are_the_output(kind: str) -> None:
    name, size, family, arguments, grid = EXACT[kind]
    network = made(name, size, family, arguments)
    images = torch.randn(2, 1, *size, generator=torch.Generator().manual_seed(2))
    evidence, (weight, bias) = find_evidence(network, images[:1]), linear_head(network)
    with torch.no_grad():
        features, outputs = evidence.features(images), network(images)
        maps = torch.einsum("kf,nf...->nk...", weight, features)
    assert maps.shape == (2, 3, *grid)
    assert evidence.rectified == (kind == "rectified")
    torch.testing.assert_close(maps.flatten(2).mean(2) + bias, outputs, rtol=1e-5, atol=1e-5)
    if len(grid) == 2 and grid[0] * grid[1] > 1:
        assert maps.flatten(2).std(2).min() > 0  # or the order of places could not be told


NOT_EXACT: dict[str, tuple[str, tuple[int, ...], str, dict[str, Any], str]] = {
    "a class token": ("test_vit", (64, 64), "vit", {"img_size": 64}, "plain mean"),
    "a norm after pooling": ("convnext_atto", (64, 64), "cnn", {"depths": (1, 1, 1, 1)}, "plain mean"),
    "layers after pooling": ("zach_vit", (64, 64), "vit", {}, "plain mean"),
    "maximum": ("test_resnet", (4, 64, 64), "slices", {"pool": "max"}, "pooled by their max"),
}


@pytest.mark.parametrize("kind", NOT_EXACT)
def test_a_head_that_reads_anything_else_is_not_exact(kind: str) -> None:
    name, size, family, arguments, why = NOT_EXACT[kind]
    arguments = {key: value for key, value in arguments.items() if key != "img_size"}
    with pytest.raises(NotLinearError, match=why):
        find_evidence(made(name, size, family, arguments), torch.zeros(1, 1, *size))


def test_heads_between_features_and_outputs() -> None:
    ordinal = OrdinalNetwork(made("test_resnet", (64, 64), "cnn", {}, 2), CornLink()).eval()
    with pytest.raises(NotLinearError, match="OrdinalNetwork stands between"):
        linear_head(ordinal)
    soft = BottleneckNetwork(made("test_resnet", (64, 64), "cnn", {}), concepts=3, outputs=2, kind="soft").eval()
    with pytest.raises(NotLinearError, match="soft step"):
        linear_head(soft)
    linear = BottleneckNetwork(made("test_resnet", (64, 64), "cnn", {}), concepts=3, outputs=2, kind="logit", features=96).eval()
    nn.init.normal_(linear.residual.weight)  # type: ignore[union-attr]
    images = torch.randn(2, 1, 64, 64)
    weight, bias = linear_head(linear)
    features = find_evidence(linear, images[:1]).features(images)
    with torch.no_grad():
        outputs = linear.classes(*linear.concepts_and_features(images))
        torch.testing.assert_close(features.flatten(2).mean(2) @ weight.T + bias, outputs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "size", "family", "grid", "prefix", "of_input"),
    [
        ("test_resnet", (64, 96), "cnn", (2, 3), 0, False),
        ("test_vit", (64, 96), "vit", (4, 6), 1, True),
        ("zach_vit", (64, 32), "vit", (4, 2), 0, True),
        ("resnet18_3d", (16, 16, 32), "cnn3d", (1, 1, 2), 0, False),
        ("test_resnet", (3, 64, 64), "slices", (2, 2), 0, False),
        ("vit_small_patch14_reg4_dinov2", (56, 28), "vit", (4, 2), 5, True),
    ],
)
def test_the_last_layer_with_places(
    name: str, size: tuple[int, ...], family: str, grid: tuple[int, ...], prefix: int, of_input: bool
) -> None:
    arguments: dict[str, Any] = {"width": 0.125} if family == "cnn3d" else {"depth": 2} if "dinov2" in name else {}
    layer = last_layer(made(name, size, family, arguments), torch.zeros(1, 1, *size))
    assert (layer.layout.grid, layer.layout.prefix, layer.of_input) == (grid, prefix, of_input)
    assert layer.depth == (3 if family == "slices" else None)


def test_a_network_without_places_is_refused() -> None:
    class Flat(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.flatten(1)[:, :2]

    with pytest.raises(ConfigError, match="Flat has no layer whose features lie in places"):
        last_layer(Flat(), torch.zeros(1, 1, 8, 8))
    with pytest.raises(NotLinearError, match="Flat does not part"):
        find_evidence(Flat(), torch.zeros(1, 1, 8, 8))
