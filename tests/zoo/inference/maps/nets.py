"""Tasks around networks made by hand, whose maps are known."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medzoo.data.labels import LabelKind, LabelSpace
from medzoo.data.samples.preprocess import FitMode, Preprocess
from medzoo.models.backbones.contract import Parted
from medzoo.store.spec import ModelSpec
from medzoo.tasks.classify import Classify


class Pixels(Parted):
    """Two features a pixel, its grey and its reverse, averaged; the head takes 4 and −4 of the grey, and a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.Identity()
        self.fc = nn.Linear(2, 2)
        with torch.no_grad():
            self.fc.weight.copy_(torch.tensor([[-4.0, 0.0], [4.0, 0.0]]))
            self.fc.bias.copy_(torch.tensor([0.25, -0.5]))

    def forward_features(self, images: Tensor) -> Tensor:
        grey = images.mean(dim=1, keepdim=True)
        features: Tensor = self.act(torch.cat([grey, 1 - grey], dim=1))
        return features

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        pooled = features.flatten(2).mean(dim=2)
        return pooled if pre_logits else self.fc(pooled)

    def get_classifier(self) -> nn.Module:
        return self.fc


def task_of(
    network: nn.Module, size: tuple[int, ...] = (8, 8), mode: FitMode = "stretch", kind: LabelKind = "multiclass",
    names: tuple[str, ...] = ("dark", "bright"), objective: dict[str, object] | None = None
) -> Classify:  # fmt: skip
    """Return a classifier of images that are not normalised (mean 0, spread 1)."""
    preprocess = Preprocess(size, mode, channels=1, mean=(0.0,), std=(1.0,))
    loss = {"multilabel": "binary_cross_entropy", "regression": "squared_error"}.get(kind, "cross_entropy")
    spec = ModelSpec("cnn", "classify", "by_hand", preprocess, LabelSpace(kind, names), objective=objective or {"loss": loss})
    return Classify(spec, network).eval()
