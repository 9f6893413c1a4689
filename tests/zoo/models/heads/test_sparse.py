"""SparK's encoder against sparse layers written as loops over visible places, and against timm's own where all is visible."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import timm
import torch
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn

from medzoo.data.errors import ConfigError
from medzoo.models.heads.sparse import MaskedConvolutions, Visible

KEPT = torch.tensor([[0, 3], [2, 1]])
Places = list[dict[tuple[int, int], Tensor]]
"""Of each image: place → its channels. What is hidden is not there."""


def resnet(block: type[nn.Module] = BasicBlock, **arguments: Any) -> ResNet:
    torch.manual_seed(0)
    layers = {"layers": (1, 1, 1, 1), "channels": (4, 6, 8, 10), "in_chans": 1, "num_classes": 1, "zero_init_last": False}
    network = ResNet(block, **(layers | arguments))  # type: ignore[arg-type]
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1, 0.2)
            nn.init.normal_(module.bias, 0, 0.5)
    return network


def around(backbone: nn.Module, size: int = 64, width: int = 16) -> MaskedConvolutions:
    return MaskedConvolutions(backbone, 1, (size, size), width, 1)


def images(size: int = 64, seed: int = 0) -> Tensor:
    return torch.randn(2, 1, size, size, generator=torch.Generator().manual_seed(seed))


def places_of(maps: Tensor, kept: Tensor, grid: int = 2) -> Places:
    cell = maps.shape[-1] // grid
    return [
        {
            (y, x): maps[image, :, y, x]
            for y in range(maps.shape[-2])
            for x in range(maps.shape[-1])
            if (y // cell) * grid + x // cell in kept[image].tolist()
        }
        for image in range(len(maps))
    ]


def convolved(given: Places, layer: Any) -> Places:
    (stride, _), (padding, _), (kernel, _) = layer.stride, layer.padding, layer.kernel_size
    found: Places = []
    for image in given:
        there = {(y // stride, x // stride) for y, x in image}
        found.append({})
        for y, x in there:
            total = torch.zeros(layer.out_channels)
            for row in range(kernel):
                for column in range(kernel):
                    near = image.get((y * stride + row - padding, x * stride + column - padding))
                    if near is not None:
                        total = total + layer.weight[:, :, row, column] @ near
            found[-1][y, x] = total
    return found


def pooled(given: Places) -> Places:
    """Return the largest of the visible values in windows of 3 x 3, every second place."""
    found: Places = []
    for image in given:
        there = {(y // 2, x // 2) for y, x in image}
        near = [[image[y * 2 + r, x * 2 + c] for r in (-1, 0, 1) for c in (-1, 0, 1) if (y * 2 + r, x * 2 + c) in image]
                for y, x in there]  # fmt: skip
        found.append({place: torch.stack(values).amax(dim=0) for place, values in zip(there, near, strict=True)})
    return found


def normalised(given: Places, layer: Any) -> Places:
    values = torch.stack([value for image in given for value in image.values()])
    mean, variance = values.mean(dim=0), values.var(dim=0, unbiased=False)
    scale = layer.weight / (variance + layer.eps).sqrt()
    return [{place: (value - mean) * scale + layer.bias for place, value in image.items()} for image in given]


def each(given: Places, other: Places | None = None) -> Places:
    """Return ReLU of what is given, or of the sum of two."""
    others = [dict.fromkeys(image, torch.zeros(1)) for image in given] if other is None else other
    return [{place: (value + more[place]).relu() for place, value in image.items()}
            for image, more in zip(given, others, strict=True)]  # fmt: skip


def blocked(given: Places, block: Any) -> Places:
    seen = normalised(convolved(each(normalised(convolved(given, block.conv1), block.bn1)), block.conv2), block.bn2)
    if block.downsample is None:
        return each(seen, given)
    return each(seen, normalised(convolved(given, block.downsample[0]), block.downsample[1]))


def test_maps_are_those_of_sparse_convolutions_over_visible_places():
    backbone = resnet()
    network = around(copy.deepcopy(backbone)).train()
    with torch.no_grad():
        maps = network.seen(images(), KEPT)
        given = pooled(each(normalised(convolved(places_of(images(), KEPT), backbone.conv1), backbone.bn1)))
        for stage, found in zip((backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4), maps, strict=True):
            given = blocked(given, stage[0])
            wanted = torch.zeros_like(found)
            for image, values in enumerate(given):
                for (y, x), value in values.items():
                    wanted[image, :, y, x] = value
            torch.testing.assert_close(found, wanted, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_what_is_hidden_changes_nothing(training, block):
    network = around(resnet(block, stem_type="deep", avg_down=True)).train(training)
    one, other = images(), images(seed=1)
    visible = Visible(KEPT, (2, 2)).mask((64, 64))
    assert visible.mean() == 0.5
    other = torch.where(visible > 0, one, 100 * other)
    found = [copy.deepcopy(network) for _ in range(2)]
    said = [each.told(each.seen(given, KEPT), KEPT) for each, given in zip(found, (one, other), strict=True)]
    assert torch.equal(*said)
    assert all(torch.equal(*pair) for pair in zip(found[0].state_dict().values(), found[1].state_dict().values(), strict=True))


def test_all_patches_seen_in_training_are_timms_own_maps_and_statistics():
    backbone = resnet(Bottleneck, avg_down=True)
    network, plain = around(copy.deepcopy(backbone)).train(), copy.deepcopy(backbone).train()
    everything = torch.arange(4).expand(2, -1)
    maps = network.seen(images(), everything)
    torch.testing.assert_close(maps[-1], plain.forward_features(images()), atol=1e-5, rtol=1e-4)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(network.backbone.state_dict()[name], value, atol=1e-6, rtol=1e-4)


def test_the_backbone_is_left_as_it_was_also_by_an_error():
    backbone = resnet().eval()
    before = backbone(images())
    network = around(backbone).eval()
    network.seen(images(), KEPT)
    with pytest.raises(RuntimeError):
        network.seen(images().expand(-1, 3, -1, -1), KEPT)
    assert torch.equal(network(images()), before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in backbone.modules())


def test_patches_are_the_image_and_every_parameter_but_the_last_layers_learns():
    network = around(resnet()).train()
    patches = network.patches(images())
    assert torch.equal(torch.nn.functional.fold(patches.transpose(1, 2), (64, 64), 32, stride=32), images())
    said = network.told(network.seen(images(), KEPT), KEPT)
    assert said.shape == patches.shape == (2, 4, 1024)
    said.square().mean().backward()
    idle = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert idle == ["backbone.fc.weight", "backbone.fc.bias"]


def test_a_stem_without_stride_has_finer_patches_and_its_finest_map_is_not_told_from():
    backbone = resnet()
    backbone.conv1, backbone.maxpool = nn.Conv2d(1, 64, 3, padding=1, bias=False), nn.Identity()
    network = around(backbone, size=32)
    assert network.patch == (8, 8)
    assert len(network.levels) == len(network.into) == 3
    kept = torch.tensor([[0, 5, 9], [15, 2, 7]])
    assert network.told(network.seen(images(32), kept), kept).shape == (2, 16, 64)


def test_what_could_look_at_what_is_hidden_is_refused():
    with pytest.raises(ConfigError, match=r"timm's ResNets, not for a VisionTransformer"):
        around(timm.create_model("test_vit", img_size=64, num_classes=1, in_chans=1))
    with pytest.raises(ConfigError, match="may look at what is hidden"):
        around(resnet(Bottleneck, block_args={"attn_layer": "se"}))
    with pytest.raises(ConfigError, match="may look at what is hidden"):
        around(resnet(act_layer="gelu"))
    for size in (32, 72):
        with pytest.raises(ConfigError, match="multiple of the stride"):
            around(resnet(), size=size)
