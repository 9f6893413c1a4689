"""What stands around a backbone while it learns without labels, and is left behind: a projector, or a decoder of patches."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import Mlp, build_sincos2d_pos_embed
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from medzoo.data.errors import ConfigError
from medzoo.models.backbones.contract import Around


class Unit(nn.Module):
    """(N, E) → unit vectors."""

    def forward(self, values: Tensor) -> Tensor:
        """Return (N, E) of length 1."""
        return F.normalize(values, dim=1)


class Projected(Around):
    """A backbone whose last layer is the first of a projector.

    Args:
        backbone: Its outputs are `hidden` wide.
        kind: simclr: normalisation, ReLU and a second layer, unit vectors (Chen et al. 2020, section 4.2). dino: two more layers
            with GELU, unit vectors, then as many prototypes of length 1 as there are outputs (Caron et al. 2021, appendix C).
        hidden: Width within.
        outputs: Of the projector.
    """

    def __init__(self, backbone: nn.Module, kind: str, hidden: int, outputs: int) -> None:
        super().__init__(backbone)
        if kind == "simclr":
            layers: list[nn.Module] = [nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, outputs), Unit()]
        else:
            bottleneck = max(8, hidden // 4)
            prototypes = nn.utils.parametrizations.weight_norm(nn.Linear(bottleneck, outputs, bias=False))
            scale: Tensor = prototypes.parametrizations.weight.original0  # type: ignore[index,union-attr,assignment]
            nn.init.ones_(scale)
            scale.requires_grad_(False)
            layers = [nn.GELU(), Mlp(hidden, hidden, bottleneck), Unit(), prototypes]
        self.projector = nn.Sequential(*layers)

    def linked(self, outputs: Tensor) -> Tensor:
        """Turn the first layer's (N, hidden) outputs into (N, outputs)."""
        projected: Tensor = self.projector(outputs)
        return projected

    def link_modules(self) -> list[nn.Module]:
        """Return the rest of the projector."""
        return [self.projector]


class MaskedPatches(Around):
    """A vision transformer that sees a part of an image's patches, and a small decoder that tells the rest (He et al. 2022).

    Args:
        backbone: timm's `VisionTransformer`, with its position embedding.
        channels: Of the images.
        size: (H, W) of the images.
        width: Of the decoder.
        depth: Of the decoder, in blocks.

    Raises:
        ConfigError: If the backbone is something else, or images are one patch.
    """

    def __init__(self, backbone: nn.Module, channels: int, size: tuple[int, int], width: int, depth: int) -> None:
        super().__init__(backbone)
        if not isinstance(backbone, VisionTransformer) or backbone.pos_embed is None:
            raise ConfigError(
                f"model.ssl.objective=mae hides patches of timm's vision transformers, not of a {type(backbone).__name__}: use a "
                "vit_..., spark for a ResNet, or simclr or dino"
            )
        if width % 32:
            raise ConfigError(f"model.ssl.decoder: a width of {width} is no multiple of 32, the width of an attention head")
        patch: tuple[int, int] = backbone.patch_embed.patch_size
        self.patch, self.grid = patch, (size[0] // patch[0], size[1] // patch[1])
        if self.grid[0] * self.grid[1] < 2:
            raise ConfigError(
                f"images of {size[0]}x{size[1]} are one patch of {patch[0]}x{patch[1]}, and model.ssl.objective=mae hides "
                "some of several: use larger images, model.preprocess.size"
            )
        self.into = nn.Linear(backbone.embed_dim, width)
        self.hidden_token = nn.Parameter(torch.zeros(1, 1, width))
        nn.init.normal_(self.hidden_token, std=0.02)
        places = build_sincos2d_pos_embed(list(self.grid), width, reverse_coord=True)
        self.register_buffer("places", places[None], persistent=False)
        self.blocks = nn.Sequential(*(Block(width, width // 32, qkv_bias=True) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, patch[0] * patch[1] * channels)

    def seen(self, images: Tensor, kept: Tensor) -> Tensor:
        """Return (N, prefix + S, F) what the encoder makes of some patches of (N, C, H, W) images.

        `kept` (N, S) are their places.
        """
        vit: Any = self.backbone
        tokens = vit.patch_embed(images)
        first = 0 if vit.no_embed_class else vit.num_prefix_tokens
        tokens = tokens.flatten(1, -2) + vit.pos_embed[:, first:]
        tokens = tokens.gather(1, kept[..., None].expand(-1, -1, tokens.shape[2]))
        prefix = [token for token in (vit.cls_token, vit.reg_token) if token is not None]
        if prefix:
            leading = torch.cat(prefix, dim=1)
            leading = leading if vit.no_embed_class else leading + vit.pos_embed[:, :first]
            tokens = torch.cat([leading.expand(len(tokens), -1, -1), tokens], dim=1)
        encoded: Tensor = vit.norm(vit.blocks(vit.norm_pre(vit.pos_drop(tokens))))
        return encoded

    def told(self, encoded: Tensor, kept: Tensor) -> Tensor:
        """Return (N, L, P) what the decoder says of every patch, of what `seen` gives for the places `kept` (N, S)."""
        vit: Any = self.backbone
        values = self.into(encoded[:, vit.num_prefix_tokens :])
        places = kept[..., None].expand(-1, -1, values.shape[2])
        everywhere = self.hidden_token.to(values.dtype).expand(len(values), self.grid[0] * self.grid[1], -1)
        decoded = self.blocks(everywhere.scatter(1, places, values) + self.places.to(values.dtype))  # type: ignore[operator]
        said: Tensor = self.out(self.norm(decoded))
        return said

    def patches(self, images: Tensor) -> Tensor:
        """Return (N, L, P) the pixels of each patch of (N, C, H, W) images."""
        return F.unfold(images, self.patch, stride=self.patch).transpose(1, 2)
