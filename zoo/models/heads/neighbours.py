"""k nearest neighbours on frozen features: a head without training, whose memory is the training split."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medzoo.models.backbones.contract import Around, Parted, pooled_features

SMOOTHING = 0.01
"""Votes added to each class, so that a class without a vote has a finite logit."""


class NeighbourNetwork(Parted, Around):
    """Answers with what the k nearest training samples were labelled, by cosine similarity of pooled features.

    Votes count alike (Doerrich et al. 2025, MedMNIST+ benchmark, with k = 11). For exclusive labels the outputs are
    log vote shares, for multilabel log-odds of the share of positives, for regression the mean value; missing labels do not
    vote.

    Args:
        backbone: Frozen; see `medzoo.models.backbones.contract`.
        features: F, width of its pooled features.
        samples: M, size of the memory.
        outputs: K, width of a target.
        neighbours: k.
        kind: Label kind.

    Attributes:
        bank: (M, F) unit feature vectors of training samples.
        targets: (M, K) their targets, NaN where missing.
        usual: (K,) mean of each target over the memory, the answer where no neighbour has one.
    """

    bank: Tensor
    targets: Tensor
    usual: Tensor

    def __init__(self, backbone: nn.Module, *, features: int, samples: int, outputs: int, neighbours: int, kind: str) -> None:
        super().__init__(backbone.requires_grad_(False))
        self.neighbours, self.kind = neighbours, kind
        self.register_buffer("bank", torch.zeros(samples, features))
        self.register_buffer("targets", torch.full((samples, outputs), float("nan")))
        self.register_buffer("usual", torch.zeros(outputs))

    def remember(self, features: Tensor, targets: Tensor) -> None:
        """Fill the memory with (M, F) pooled features and (M, K) targets."""
        self.bank.copy_(F.normalize(features, dim=1))
        self.targets.copy_(targets)
        self.usual.copy_(targets.nanmean(dim=0).nan_to_num(0.0))

    def forward_features(self, images: Tensor) -> Tensor:
        """Return (N, F) pooled features."""
        return pooled_features(self.backbone, images)

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Return the features themselves, or what their neighbours say."""
        if pre_logits:
            return features
        similarity = F.normalize(features, dim=1) @ self.bank.T
        nearest = similarity.topk(self.neighbours, dim=1).indices
        votes = self.targets.index_select(0, nearest.flatten()).reshape(-1, self.neighbours, self.targets.shape[1])
        observed = ~votes.isnan()
        total = torch.where(observed, votes, 0.0).sum(dim=1)
        count = observed.sum(dim=1)
        known = count > 0
        if self.kind == "regression":
            return torch.where(known, total / count.clamp(min=1), self.usual)
        if self.kind == "multilabel":
            odds = (total + SMOOTHING).log() - (count - total + SMOOTHING).log()
            return torch.where(known, odds, torch.logit(self.usual, eps=SMOOTHING))
        return ((total + SMOOTHING) / (count + SMOOTHING * self.targets.shape[1])).log()

    def get_classifier(self) -> nn.Module:
        """Return the memory itself, which is no linear layer."""
        return self
