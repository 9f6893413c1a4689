"""Several trained models that answer by their weighted mean, each of which sees the raw image by its own preprocessing.

The mean of probabilities is a mixture, whose negative log likelihood is at most the mean of its members' (Jensen's inequality);
the mean of logits is their normalised geometric mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from medzoo.data.dataset import Dataset
from medzoo.data.errors import ConfigError
from medzoo.data.labels import LabelSpace
from medzoo.data.samples.policies import Policy
from medzoo.data.samples.preprocess import Preprocess
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.store.spec import ModelSpec
from medzoo.tasks.classify import probabilities
from medzoo.tasks.load import task_from_spec
from medzoo.tasks.task import Batch, Task

HOWS = ("probabilities", "logits")
"""What the members' mean is taken of."""
LEAST = 1e-30
"""Least vote that a member has in a logarithm: one without a vote says nothing, and its graph is still defined."""


class Ensemble(Task):
    """A weighted mean of models with the same labels. It is made of trained runs and does not learn.

    Attributes:
        spec: With the members' specs in `arguments` (`members`), and `how` and `votes` in `objective`.
        model: The members' networks, in their order.
        members: Their tasks.
    """

    learns_by_steps = False
    trains_nothing = "an ensemble"

    def __init__(self, spec: ModelSpec, members: Sequence[Task]) -> None:
        super().__init__(spec, nn.ModuleList([member.model for member in members]))
        self.members: Any = nn.ModuleList(members)
        self.how, self.votes = str(spec.objective["how"]), [float(vote) for vote in spec.objective["votes"]]
        if not all(same_geometry(member.spec.preprocess, spec.preprocess) for member in members):
            self.no_copies = "ensembles whose members see images of different sizes"

    @classmethod
    def from_spec(cls, spec: ModelSpec, assets: Mapping[str, bytes]) -> Self:
        """Rebuild the members without their weights; CheckpointError if something is missing."""
        members = []
        for place, described in enumerate(spec.arguments["members"]):
            own = {name.removeprefix(f"{place}."): held for name, held in assets.items() if name.startswith(f"{place}.")}
            members.append(task_from_spec(ModelSpec.from_dict(described), own))
        return cls(spec, members)

    def assets(self) -> dict[str, bytes]:
        """Return the members' assets, each under its place."""
        return {f"{place}.{name}": held for place, member in enumerate(self.members) for name, held in member.assets().items()}

    def samples(
        self, dataset: Dataset, split: str, *, policy: Policy | None = None, augmenter: str = "opencv", seed: int = 0,
        training: bool = False
    ) -> SampleDataset:  # fmt: skip
        """Return a split as the first member takes it, of whose size, type and kind they are."""
        found: SampleDataset = self.members[0].samples(
            dataset, split, policy=policy, augmenter=augmenter, seed=seed, training=training
        )
        return found

    def prepare(self, samples: SampleDataset, dataset: Dataset, captions: str = "auto") -> None:
        """Let a split's samples come once more in the form of each member that takes images of another size or shape."""
        for place, member in enumerate(self.members):
            member.prepare(samples, dataset, captions)
            if not samples.native and not same_geometry(member.spec.preprocess, self.spec.preprocess):
                samples.others[_name(place)] = member.spec.preprocess

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Refuse: an ensemble is made of runs that have learnt."""
        raise ConfigError("an ensemble does not learn; train its members")

    @torch.no_grad()
    def validation_step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the outputs of `predict`: there is no loss that was trained on."""
        return self.predict(batch)

    @torch.no_grad()
    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Return `logits` and `probabilities`, (N, K) float32, of the members' mean."""
        said = [member.predict(_of(place, batch))["logits"].float() for place, member in enumerate(self.members)]
        logits = joined(said, self.votes, self.how, self.spec.label_space)
        return {"logits": logits, "probabilities": probabilities(logits, self.spec.label_space)}

    @property
    def pools(self) -> bool:
        """Whether any member pools the features of a bag, so that a case is no mean of answers to its images."""
        return any(member.pools if isinstance(member, Ensemble) else member.bag_input is not None for member in self.members)

    @torch.no_grad()
    def features(self, batch: Batch) -> Tensor:
        """Return (N, F) the members' pooled features, one behind the other."""
        return torch.cat([member.features(_of(place, batch)) for place, member in enumerate(self.members)], dim=1)

    def deploy(self) -> nn.Module:
        """Return the graph to export: raw image → logits, probabilities of the mean; ConfigError if a member wants more."""
        return EnsembleGraph(self)


class EnsembleGraph(nn.Module):
    """The deployable form of `Ensemble`: the members' own graphs, then the mean."""

    outputs = ("logits", "probabilities")

    def __init__(self, task: Ensemble) -> None:
        super().__init__()
        self.spec, self.how, self.votes = task.spec, task.how, task.votes
        for member in task.members:
            if member.bag_input is not None:
                raise ConfigError(
                    f"{member.spec.architecture} pools bags, which the file of an ensemble cannot take; export each member "
                    "alone, or ask the ensemble through medzoo.load"
                )
        graphs: list[Any] = [member.deploy() for member in task.members]
        for graph in graphs:
            if getattr(graph, "extra_inputs", ()):
                raise ConfigError(f"{graph.spec.architecture} wants inputs beside the image, which the file of an ensemble lacks")
        self.graphs = nn.ModuleList(graphs)
        # What a person may correct in a member stays as it is here.
        self.defaults = [tuple(getattr(graph, "optional_inputs", {}).values()) for graph in graphs]
        self.eval()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return logits and probabilities of (N, [D,] H, W, C) raw images."""
        said = [graph(image, *given)[0] for graph, given in zip(self.graphs, self.defaults, strict=True)]
        logits = joined(said, self.votes, self.how, self.spec.label_space)
        return logits, probabilities(logits, self.spec.label_space)


def joined(logits: Sequence[Tensor], votes: Sequence[float], how: str, labels: LabelSpace) -> Tensor:
    """Return (N, K) logits of the weighted mean of several models' (N, K) logits.

    Args:
        logits: One of each model; of quantities their values, whose mean is taken either way.
        votes: A weight each, at least 0, that sum to 1.
        how: One of `HOWS`. The logits of a mean probability are its logarithm, or log-odds.
        labels: What the columns mean.
    """
    if how == "logits" or labels.kind == "regression":
        return sum((vote * one for vote, one in zip(votes[1:], logits[1:], strict=True)), votes[0] * logits[0])
    if labels.exclusive:
        return _mixed([one.log_softmax(dim=1) for one in logits], votes)
    return _mixed([_log_sigmoid(one) for one in logits], votes) - _mixed([_log_sigmoid(-one) for one in logits], votes)


def same_geometry(one: Preprocess, other: Preprocess) -> bool:
    """Whether two models take images of the same size, cut and resized alike."""
    return (one.size, one.mode, one.interpolation, one.fill) == (other.size, other.mode, other.interpolation, other.fill)


def _mixed(log_probabilities: Sequence[Tensor], votes: Sequence[float]) -> Tensor:
    """Return ln Σ wᵢ pᵢ of ln pᵢ."""
    shifted = torch.stack([one + math.log(max(vote, LEAST)) for vote, one in zip(votes, log_probabilities, strict=True)])
    top = shifted.amax(dim=0)
    return top + (shifted - top).exp().sum(dim=0).log()


def _log_sigmoid(logits: Tensor) -> Tensor:
    """Return ln σ(z); ONNX knows it in two steps alone, of which the first is 0 far out."""
    return logits.clamp(max=0) - (1 + (-logits.abs()).exp()).log()


def _name(place: int) -> str:
    return f"image.{place}"


def _of(place: int, batch: Batch) -> Batch:
    """Return a batch as a member takes it."""
    return {**batch, "image": batch[_name(place)]} if _name(place) in batch else batch
