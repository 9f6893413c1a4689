"""ZACH-ViT: a compact transformer without position embedding and without class token (Angelakis 2026, arXiv:2602.17929).

Patches go through a linear layer and a few blocks whose width may differ from block to block; where it does, the residual is
projected to the new width ("adaptive residual projection"). Tokens are averaged, so their order does not matter. With
16-pixel RGB patches and widths 128 and 64 it has 248,192 + 65 K parameters, the paper's 0.25 million; nothing depends on the
image size but the number of patches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from medzoo.data.errors import ConfigError
from medzoo.models.backbones.contract import Parted

EPSILON = 1e-6


class Block(nn.Module):
    """Pre-norm attention at the incoming width, then a layer to the block's own width, both with residuals.

    Args:
        before: Width of incoming tokens.
        width: Width of the block's heads together, and of its outgoing tokens.
        heads: Attention heads.
        drop: Share dropped of attention weights and of each branch.
    """

    def __init__(self, before: int, width: int, heads: int, drop: float) -> None:
        super().__init__()
        self.heads, self.drop = heads, drop
        self.norm1 = nn.LayerNorm(before, eps=EPSILON)
        self.qkv = nn.Linear(before, 3 * width)
        self.out = nn.Linear(width, before)
        self.norm2 = nn.LayerNorm(before, eps=EPSILON)
        self.feed = nn.Linear(before, width)
        self.project = nn.Linear(before, width) if before != width else nn.Identity()
        self.dropout = nn.Dropout(drop)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T, before) → (N, T, width)."""
        n, t, _ = tokens.shape
        query, key, value = self.qkv(self.norm1(tokens)).reshape(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(query, key, value, dropout_p=self.drop if self.training else 0.0)
        tokens = tokens + self.dropout(self.out(seen.transpose(1, 2).reshape(n, t, -1)))
        fed = self.dropout(F.relu(self.feed(self.norm2(tokens))))
        result: Tensor = self.project(tokens) + fed
        return result


class ZachViT(Parted):
    """(N, C, H, W) → (N, K); see the module's text for the design and `zach_vit` for the arguments."""

    def __init__(
        self, outputs: int, channels: int, patch: int, widths: Sequence[int], head: Sequence[int], heads: int, drop: float
    ) -> None:
        super().__init__()
        self.num_features = head[-1] if head else widths[-1]
        self.patch_embed = nn.Conv2d(channels, widths[0], patch, stride=patch)
        self.blocks = nn.ModuleList(
            Block(before, width, heads, drop) for before, width in zip([widths[0], *widths[:-1]], widths, strict=True)
        )
        layers: list[nn.Module] = []
        for before, width in zip([widths[-1], *head][: len(head)], head, strict=True):
            layers += [nn.Linear(before, width), nn.ReLU(), nn.Dropout(drop)]
        self.pre_logits = nn.Sequential(*layers)
        self.head = nn.Linear(self.num_features, outputs)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                # A patch projection is a linear layer over its pixels: the fan is the same.
                nn.init.xavier_uniform_(module.weight.view(module.weight.shape[0], -1))
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward_features(self, images: Tensor) -> Tensor:
        """Return (N, T, width) tokens."""
        tokens = F.relu(self.patch_embed(images)).flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens

    def forward_head(self, tokens: Tensor, pre_logits: bool = False) -> Tensor:
        """Average the tokens and, unless `pre_logits`, turn them into logits."""
        pooled: Tensor = self.pre_logits(tokens.mean(dim=1))
        return pooled if pre_logits else self.head(pooled)

    def get_classifier(self) -> nn.Module:
        """Return the last linear layer."""
        return self.head

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return which parameters lie how deep, in timm's form."""
        return {"stem": r"^patch_embed", "blocks": [(r"^blocks\.(\d+)", None), (r"^pre_logits", (99999,))]}


def zach_vit(
    outputs: int, channels: int, size: tuple[int, ...], *, patch_size: int = 16, widths: Sequence[int] = (128, 64),
    head: Sequence[int] = (128, 64), heads: int = 8, drop_rate: float = 0.1
) -> nn.Module:  # fmt: skip
    """Create a ZACH-ViT; the defaults are the authors' (224-pixel images).

    Args:
        outputs: Number of logits, K.
        channels: Input channels.
        size: (H, W) of the input, multiples of the patch.
        patch_size: Pixels a side of a patch.
        widths: Token width after each block.
        head: Widths of the layers between the mean token and the logits; none: a linear head, whose maps are exact.
        heads: Attention heads; must divide every width.
        drop_rate: Dropout everywhere.

    Raises:
        ConfigError: If the image is no multiple of the patch, or heads do not divide a width.
    """
    if len(size) != 2 or any(side % patch_size for side in size):
        raise ConfigError(
            f"zach_vit cuts {patch_size}-pixel patches and cannot take {'x'.join(map(str, size))}; "
            "set model.preprocess.size or model.arguments.patch_size"
        )
    if not widths or any(width % heads for width in widths):
        raise ConfigError(f"zach_vit: widths {list(widths)} are not multiples of {heads} heads")
    return ZachViT(outputs, channels, patch_size, list(widths), list(head), heads, drop_rate)
