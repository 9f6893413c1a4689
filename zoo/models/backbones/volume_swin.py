"""MONAI's Swin transformer over volumes, the encoder of Swin UNETR (Hatamizadeh et al. 2022), as a classifier's backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from medzoo.data.errors import ConfigError
from medzoo.data.extras import needed_for
from medzoo.models.backbones.contract import Parted

with needed_for("3D networks"):
    from monai.networks.nets.swin_unetr import SwinTransformer

HALVINGS = 32
"""Voxels of the input that become one of the last stage, a side: the patch of 2, then four halvings."""


class VolumeSwin(Parted):
    """The last stage's features, normalised, averaged over places and read by a linear layer. (N, C, D, H, W) → (N, K).

    Args:
        swin: MONAI's encoder.
        width: F, channels of its last stage.
        outputs: K.
    """

    def __init__(self, swin: nn.Module, width: int, outputs: int) -> None:
        super().__init__()
        self.swin = swin
        self.fc = nn.Linear(width, outputs)

    def forward_features(self, volumes: Tensor) -> Tensor:
        """Return (N, F, d, h, w) features before pooling; MONAI normalises each place over its channels."""
        last: Tensor = self.swin(volumes)[-1]
        return last

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Average over places and, unless `pre_logits`, turn features into logits."""
        pooled = features.flatten(2).mean(dim=2)
        return pooled if pre_logits else self.fc(pooled)

    def get_classifier(self) -> nn.Module:
        """Return the last linear layer."""
        return self.fc

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return which parameters lie how deep, in timm's form."""
        blocks = r"^swin\.layers(\d+)" if coarse else r"^swin\.layers(\d+)\.0\.blocks\.(\d+)"
        return {"stem": r"^swin\.patch_embed", "blocks": [(blocks, None), (r"^swin\.layers(\d+)\.0\.downsample", (99,))]}


def swin_3d(
    outputs: int, channels: int, size: tuple[int, ...], *, width: int = 48, depths: Sequence[int] = (2, 2, 2, 2),
    heads: Sequence[int] = (3, 6, 12, 24), window: int = 7
) -> nn.Module:  # fmt: skip
    """Create a Swin transformer over volumes.

    Args:
        outputs: Number of logits, K.
        channels: Input channels.
        size: (D, H, W) of the input, in voxels; multiples of 32.
        width: Channels after the patches; doubled by each of four stages.
        depths: Blocks of each stage.
        heads: Attention heads of each stage.
        window: Side of the windows that attend within themselves.

    Raises:
        ConfigError: If the input is no volume, or no multiple of what the stages halve.
    """
    if len(size) != 3 or any(side % HALVINGS for side in size):
        raise ConfigError(
            f"swin_3d takes volumes whose sides are multiples of {HALVINGS}, not {list(size)}; set model.preprocess.size"
        )
    swin = SwinTransformer(channels, width, [window] * 3, [2] * 3, list(depths), list(heads))
    return VolumeSwin(swin, width * 16, outputs)
