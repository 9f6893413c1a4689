"""Samples of any number of members, whose features are pooled before the head: bags of images, or of rows of features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medzoo.data.dataset import Dataset
from medzoo.data.images.bags import VIEW
from medzoo.data.samples.augment import Augment
from medzoo.data.samples.modalities.viewed import ViewedSamples
from medzoo.data.samples.policies import Policy
from medzoo.data.samples.preprocess import fit, normalise
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.data.samples.send import sent
from medzoo.losses.objective import Objective
from medzoo.models.backbones.contract import classify_features
from medzoo.models.places import NotLinearError
from medzoo.store.spec import ModelSpec
from medzoo.tasks.classify import Classify, in_units, probabilities
from medzoo.tasks.task import Batch
from medzoo.tasks.views import those_there

AT_ONCE = 256
"""Members that a network sees at once where no gradient is kept: bags of thousands do not fit otherwise."""


class Bags(Classify):
    """A classifier whose network is a `medzoo.models.heads.bag.BagNetwork`."""

    def __init__(self, spec: ModelSpec, model: nn.Module) -> None:
        super().__init__(spec, model)
        self.bag_input = "members" if spec.family == "features" else "image"
        self.views = tuple(spec.arguments["bag"].get("views", ()))

    def samples(
        self, dataset: Dataset, split: str, *, policy: Policy | None = None, augmenter: str = "opencv", seed: int = 0,
        training: bool = False
    ) -> SampleDataset:  # fmt: skip
        """Return a split as samples of bags, whose members say what they show where the model reads it."""
        if not self.views:
            return super().samples(dataset, split, policy=policy, augmenter=augmenter, seed=seed, training=training)
        augment = None if policy is None else Augment(policy, self.spec.preprocess, augmenter)
        members = dataset.reader.max_members if training else None
        return ViewedSamples(dataset, split, self.spec.preprocess, self.views, augment=augment, seed=seed, members=members)

    def logits(self, batch: Batch) -> Tensor:
        """Return (N, K) float32 logits, or quantities in the labels' units, with gradient."""
        return self._answered(*self._pooled(batch)[:1])

    @torch.no_grad()
    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Return `logits` and `probabilities`, and of attention `attention` (N, V): weights of members, NaN behind the last."""
        pooled, weights, counts = self._pooled(batch)
        return self._outputs(pooled, weights, counts)

    @torch.no_grad()
    def features(self, batch: Batch) -> Tensor:
        """Return (N, F) float32 pooled features of bags."""
        return self._pooled(batch)[0]

    @torch.no_grad()
    def member_features(self, batch: Batch) -> Tensor:
        """Return (M, F) float32 features of single images, whatever they show."""
        found: Tensor = self.model.member_features(self.input(batch["image"]))
        return found

    @torch.no_grad()
    def of_members(self, features: Tensor, counts: Sequence[int], views: Tensor | None = None) -> dict[str, Tensor]:
        """Return what `predict` does, of (M, F) features of members, bag after bag, with `counts` members a bag.

        `features` are those of `member_features`; `views` (M,) codes of what members show, None: nobody says.
        """
        device = next(self.model.parameters()).device
        told = torch.tensor(list(counts), dtype=torch.int64)
        seen = self.model.seen_as(features.to(device), None if views is None else views.to(device))
        pooled, weights = self.model.pooled(seen, sent(told, device))
        return self._outputs(pooled, weights, told)

    def can_cache(self, samples: SampleDataset) -> bool:
        """Whether a linear probe's features can be computed once: no, for pooling is trained with the head."""
        return False

    def predictions(self, outputs: Mapping[str, NDArray[Any]], concepts: NDArray[np.float32] | None) -> dict[str, Any]:
        """Return the weights of members, where there are any."""
        return {"attention": outputs["attention"]} if "attention" in outputs else {}

    def linear_head(self) -> tuple[Tensor, Tensor]:
        """Raise NotLinearError: what a member's place adds depends on the other members."""
        raise NotLinearError(f"model.pool={self.model.pool} weighs the members of a bag by each other")

    def deploy(self) -> nn.Module:
        """Return the graph to export: members and how many each bag has → logits, probabilities, attention."""
        return BagGraph(self.spec, self.model, rows=self.bag_input == "members")

    def deploy_map(self) -> nn.Module:
        """Raise NotLinearError, as `linear_head` does."""
        raise NotLinearError(f"model.pool={self.model.pool} weighs the members of a bag by each other")

    def _pooled(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return (N, F) pooled features, (M,) weights of members, and on the host (N,) how many each bag has."""
        images, mask = batch["image"], batch.get("view_mask")
        images = images if mask is None else those_there(images, mask)
        parts = [images] if torch.is_grad_enabled() else images.split(AT_ONCE)
        features = torch.cat([self.model.member_features(self.input(part)) for part in parts])
        views = batch.get(VIEW)
        features = self.model.seen_as(features, views if views is None or mask is None else those_there(views, mask))
        if mask is None:  # each image a bag of its own
            return features, torch.ones(len(features), device=features.device), torch.ones(len(features), dtype=torch.int64)
        counts = mask.sum(dim=1)
        return (*self.model.pooled(features, sent(counts, features.device)), counts)

    def _seen(self, batch: Batch) -> tuple[Tensor, Tensor]:
        pooled = self._pooled(batch)[0]
        return self._answered(pooled), pooled.float()

    def _answered(self, pooled: Tensor) -> Tensor:
        return in_units(classify_features(self.model, pooled).float(), self.objective)

    def _outputs(self, pooled: Tensor, weights: Tensor, counts: Tensor) -> dict[str, Tensor]:
        logits = self._answered(pooled)
        outputs = {"logits": logits, "probabilities": probabilities(logits, self.spec.label_space)}
        if self.model.attention is not None:
            parts = torch.split(weights.float(), counts.tolist())  # type: ignore[no-untyped-call]
            outputs["attention"] = nn.utils.rnn.pad_sequence(list(parts), batch_first=True, padding_value=torch.nan)
        return outputs


def views_of(spec: ModelSpec) -> tuple[str, ...]:
    """Return what a model knows that members of a bag show, by their codes from 1 on; of an ensemble what all its members do."""
    arguments: Mapping[str, Any] = spec.arguments
    while "members" in arguments:
        arguments = arguments["members"][0]["arguments"]
    return tuple((arguments.get("bag") or {}).get("views", ()))


class BagGraph(nn.Module):
    """The deployable form of `Bags`; its first input holds the members of all bags, its second how many each has.

    Where members say what they show, the third is a code of it each (`medzoo.data.images.bags.view_codes`).

    Args:
        spec: The model's.
        model: Its network.
        rows: Whether members are (M, F) rows of features; else raw images.
    """

    def __init__(self, spec: ModelSpec, model: nn.Module, *, rows: bool) -> None:
        super().__init__()
        self.spec, self.rows = spec, rows
        self.model: Any = model
        self.objective = Objective.from_dict(spec.objective)
        self.outputs = ("logits", "probabilities", *(("attention",) if self.model.attention is not None else ()))
        self.views = tuple(spec.arguments["bag"].get("views", ()))
        self.eval()

    def forward(self, image: Tensor, *further: Tensor) -> tuple[Tensor, ...]:
        """Return logits and probabilities (N, K) of bags, and of attention the weight (M,) of each member.

        Args:
            image: (M, [D,] H, W, C) raw images, or (M, F) rows, bag after bag.
            further: (N,) int64, how many members each bag has; and (M,) int64 of what each shows, where the model reads it.
        """
        if self.rows:
            values = image[:, None, None]
        else:
            values = normalise(fit(image.movedim(-1, 1), self.spec.preprocess), self.spec.preprocess)
        features = self.model.seen_as(self.model.member_features(values), further[1] if self.views else None)
        pooled, weights = self.model.pooled(features, further[0])
        logits = in_units(classify_features(self.model, pooled), self.objective)
        return (logits, probabilities(logits, self.spec.label_space), *((weights,) if len(self.outputs) > 2 else ()))
