"""Contrastive objectives in which a repeated image or caption is a further positive, never a false negative.

Without repeats they equal open_clip's `ClipLoss` and `SigLipLoss`. Two rows of a batch belong together if they show the same
image or bear the same caption; CLIP's target is then spread evenly over what belongs together, SigLIP's label is +1 for each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from medzoo.data.errors import UnknownNameError
from medzoo.losses.gathered import gathered


@dataclass(frozen=True)
class Pairs:
    """Embedded pairs of a batch, of all processes together.

    Attributes:
        image: (N, E) unit vectors.
        text: (N, E) unit vectors.
        image_key: (N,) int64, equal for one image.
        text_key: (N,) int64, equal for one caption.
    """

    image: Tensor
    text: Tensor
    image_key: Tensor
    text_key: Tensor

    @property
    def positives(self) -> Tensor:
        """(N, N) bool: image i and text j belong together."""
        same_image = self.image_key[:, None] == self.image_key[None, :]
        same_text = self.text_key[:, None] == self.text_key[None, :]
        return same_image | same_text

    def scaled(self, scale: Tensor) -> Tensor:
        """Return (N, N) cosines of image i and text j times a () scale, which enlarges what mixed precision would round off."""
        image, text = (part.to(torch.promote_types(part.dtype, torch.float32)) for part in (self.image, self.text))
        with torch.autocast(image.device.type, enabled=False):
            return scale * image @ text.T


def clip_loss(pairs: Pairs, scale: Tensor, bias: Tensor | None = None) -> Tensor:
    """Symmetric cross-entropy over a batch (Radford et al. 2021, figure 3), its targets spread over all positives.

    Args:
        pairs: Of the whole batch.
        scale: () the factor on cosine similarities (e to the learnt logarithm).
        bias: Added to the logits, or None; a constant changes nothing here.

    Returns:
        () mean over both directions.
    """
    logits = pairs.scaled(scale)
    if bias is not None:
        logits = logits + bias
    positives = pairs.positives.to(logits.dtype)
    to_text = positives / positives.sum(dim=1, keepdim=True)
    to_image = positives.T / positives.T.sum(dim=1, keepdim=True)
    return (F.cross_entropy(logits, to_text) + F.cross_entropy(logits.T, to_image)) / 2


def siglip_loss(pairs: Pairs, scale: Tensor, bias: Tensor | None = None) -> Tensor:
    """Sigmoid loss over all pairs of a batch (Zhai et al. 2023, equation 1), +1 for every positive.

    Args:
        pairs: Of the whole batch.
        scale: () the factor on cosine similarities.
        bias: () the learnt bias; None: 0.

    Returns:
        () the sum over pairs, divided by the number of images.
    """
    logits = pairs.scaled(scale)
    if bias is not None:
        logits = logits + bias
    labels = torch.where(pairs.positives, 1.0, -1.0).to(logits.dtype)
    return -F.logsigmoid(labels * logits).sum() / len(logits)


LOSSES: dict[str, Callable[[Pairs, Tensor, Tensor | None], Tensor]] = {"clip": clip_loss, "siglip": siglip_loss}


def contrastive_loss(name: str) -> Callable[[Pairs, Tensor, Tensor | None], Tensor]:
    """Return a loss by name; UnknownNameError if there is none."""
    if name not in LOSSES:
        raise UnknownNameError("loss", name, ["auto", *LOSSES], where=" for image–text models")
    return LOSSES[name]


def gather_pairs(pairs: Pairs) -> Pairs:
    """Return the pairs of all processes, with gradients to each process's own part of the embeddings.

    Every process then computes the loss of the whole batch; see `medzoo.losses.gathered`.
    """
    return Pairs(*gathered([pairs.image, pairs.text, pairs.image_key, pairs.text_key]))
