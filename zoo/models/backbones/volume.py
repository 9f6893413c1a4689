"""MONAI's convolutional networks over volumes: ResNet-18, ResNet-50 (Hara et al. 2018; He et al. 2016) and DenseNet-121 in 3D.

The stem is a parameter, because MedMNIST's 28 voxels a side leave nothing to a network that halves them five times: MONAI's
ResNet starts with a 7×7×7 convolution of stride 1 and a max-pool, its DenseNet with stride 2 and a max-pool.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from medzoo.data.errors import ConfigError
from medzoo.data.extras import needed_for
from medzoo.models.backbones.contract import Parted

with needed_for("3D networks"):
    from monai.networks.nets.densenet import DenseNet
    from monai.networks.nets.resnet import ResNet

WIDTHS = [64, 128, 256, 512]


class VolumeResNet(Parted, ResNet):
    """MONAI's 3D ResNet with its features apart from its head. (N, C, D, H, W) → (N, K)."""

    def forward_features(self, volumes: Tensor) -> Tensor:
        """Return (N, F, d, h, w) features before pooling."""
        values = self.act(self.bn1(self.conv1(volumes)))
        if not self.no_max_pool:
            values = self.maxpool(values)
        result: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(values))))
        return result

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Pool features and, unless `pre_logits`, turn them into logits."""
        pooled: Tensor = self.avgpool(features).flatten(1)
        if pre_logits or self.fc is None:
            return pooled
        logits: Tensor = self.fc(pooled)
        return logits

    def get_classifier(self) -> nn.Module:
        """Return the last linear layer."""
        assert self.fc is not None
        return self.fc

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return which parameters lie how deep, in timm's form."""
        return {"stem": r"^conv1|bn1", "blocks": r"^layer(\d+)" if coarse else r"^layer(\d+)\.(\d+)"}


class VolumeDenseNet(Parted, DenseNet):
    """MONAI's 3D DenseNet with its features apart from its head. (N, C, D, H, W) → (N, K)."""

    def forward_features(self, volumes: Tensor) -> Tensor:
        """Return (N, F, d, h, w) features before pooling."""
        result: Tensor = self.features(volumes)
        return result

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Pool features and, unless `pre_logits`, turn them into logits."""
        head: Any = self.class_layers
        pooled: Tensor = head.flatten(head.pool(head.relu(features)))
        if pre_logits:
            return pooled
        logits: Tensor = head.out(pooled)
        return logits

    def get_classifier(self) -> nn.Module:
        """Return the last linear layer."""
        head: Any = self.class_layers
        out: nn.Module = head.out
        return out

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return which parameters lie how deep, in timm's form."""
        blocks = r"^features\.(?:denseblock|transition)(\d+)"
        return {"stem": r"^features\.(?:conv0|norm0)", "blocks": [(blocks, None), (r"^features\.norm5", (99999,))]}


def resnet18_3d(outputs: int, channels: int, size: tuple[int, ...], **arguments: Any) -> nn.Module:
    """Create a 3D ResNet-18; arguments as for `resnet_3d`."""
    return resnet_3d("basic", [2, 2, 2, 2], outputs, channels, size, **arguments)


def resnet50_3d(outputs: int, channels: int, size: tuple[int, ...], **arguments: Any) -> nn.Module:
    """Create a 3D ResNet-50; arguments as for `resnet_3d`."""
    return resnet_3d("bottleneck", [3, 4, 6, 3], outputs, channels, size, **arguments)


def resnet_3d(
    block: str, layers: list[int], outputs: int, channels: int, size: tuple[int, ...], *, stem_kernel: int = 7,
    stem_stride: int = 1, stem_pool: bool = True, width: float = 1.0, shortcut: str = "B", shortcut_bias: bool = True
) -> nn.Module:  # fmt: skip
    """Create a 3D ResNet.

    Args:
        block: `basic` or `bottleneck`.
        layers: Blocks of each of the four stages.
        outputs: Number of logits, K.
        channels: Input channels.
        size: (D, H, W) of the input, in voxels.
        stem_kernel: Side of the first convolution, in voxels.
        stem_stride: Stride of the first convolution.
        stem_pool: Whether a max-pool of stride 2 follows it.
        width: Factor on the channels of every stage.
        shortcut: What goes past a stage's first block: A pads with zeros, B is a convolution (He et al. 2016, section 4.1).
        shortcut_bias: Whether that convolution has a bias, which published weights lack.

    Raises:
        ConfigError: If the input is no volume, the stem is out of range or there is no such shortcut.
    """
    _check(size, stem_kernel, stem_stride)
    if shortcut not in ("A", "B"):
        raise ConfigError(f"shortcut={shortcut!r} is not A or B")
    return VolumeResNet(
        block, layers, WIDTHS, spatial_dims=3, n_input_channels=channels, conv1_t_size=stem_kernel,
        conv1_t_stride=stem_stride, no_max_pool=not stem_pool, widen_factor=width, num_classes=outputs,
        shortcut_type=shortcut, bias_downsample=shortcut_bias,
    )  # fmt: skip


def densenet121_3d(
    outputs: int, channels: int, size: tuple[int, ...], *, stem_kernel: int = 7, stem_stride: int = 2, stem_pool: bool = True,
    drop_rate: float = 0.0
) -> nn.Module:  # fmt: skip
    """Create a 3D DenseNet-121 (Huang et al. 2017); arguments as for `resnet_3d`, and `drop_rate` after each dense layer.

    Raises:
        ConfigError: If the input is no volume or the stem is out of range.
    """
    _check(size, stem_kernel, stem_stride)
    model = VolumeDenseNet(spatial_dims=3, in_channels=channels, out_channels=outputs, dropout_prob=drop_rate)
    first: Any = model.features.conv0
    if (stem_kernel, stem_stride) != (first.kernel_size[0], first.stride[0]):
        stem = nn.Conv3d(channels, first.out_channels, stem_kernel, stride=stem_stride, padding=stem_kernel // 2, bias=False)
        torch.nn.init.kaiming_normal_(stem.weight)  # as MONAI's own
        model.features.conv0 = stem
    if not stem_pool:
        model.features.pool0 = nn.Identity()
    return model


def _check(size: tuple[int, ...], kernel: int, stride: int) -> None:
    if len(size) != 3:
        raise ConfigError(f"a 3D network takes volumes [depth, height, width], not images of {list(size)}; use model=cnn")
    if kernel < 1 or kernel % 2 == 0 or stride not in (1, 2, 3, 4):
        raise ConfigError(f"stem_kernel={kernel} must be odd and stem_stride={stride} between 1 and 4")
