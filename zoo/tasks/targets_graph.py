"""Several targets as they are exported: one graph, the outputs of each target by its name."""

from __future__ import annotations

import json
from typing import Any

from torch import Tensor, nn

from medzoo.data.columns import places_of
from medzoo.data.labels import LabelSpace
from medzoo.store.spec import ModelSpec
from medzoo.tasks.classify import probabilities
from medzoo.tasks.deployable import take_as

METADATA = "medzoo.targets"


class TargetsGraph(nn.Module):
    """The deployable form of several targets; outputs `<target>.logits` and `<target>.probabilities` of each.

    Args:
        inner: The graph of a model of one target, whose `logits` are those of all side by side.
    """

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner, self.spec = inner, inner.spec
        self.places = places_of(self.spec.targets)
        self.outputs = tuple(f"{name}.{kind}" for name in self.places for kind in ("logits", "probabilities"))
        take_as(inner, self)
        targets = {name: labels.to_dict() for name, labels in self.spec.targets.items()}
        self.metadata = {**getattr(inner, "metadata", {}), METADATA: json.dumps(targets, ensure_ascii=False)}
        self.eval()

    def forward(self, image: Tensor, *further: Tensor) -> tuple[Tensor, ...]:
        """Return logits and probabilities of each target in turn; arguments as for the graph within."""
        logits, found = self.inner.logits(image, *further), list[Tensor]()
        for name, place in self.places.items():
            own = logits[:, place]
            found += [own.clone(), probabilities(own, self.spec.targets[name])]
        return tuple(found)

    def by_target(self) -> dict[str, TargetView]:
        """Return target → the graph as that of a model of it alone."""
        return {name: TargetView(self, name) for name in self.places}


class TargetView(nn.Module):
    """One target of a graph of several, as the graph of a model of it alone: for proofs, which are made target by target.

    Args:
        whole: The graph.
        name: The target.
    """

    def __init__(self, whole: TargetsGraph, name: str) -> None:
        super().__init__()
        self.whole = whole
        self.spec: ModelSpec = whole.spec.of_target(name)
        self.labels: LabelSpace = whole.spec.targets[name]
        take_as(whole, self)
        self.first = whole.outputs.index(f"{name}.logits")
        self.outputs = whole.outputs[self.first : self.first + 2]
        self.eval()

    def forward(self, image: Tensor, *further: Tensor) -> tuple[Tensor, ...]:
        """Return logits and probabilities of the target."""
        found: tuple[Tensor, ...] = self.whole(image, *further)
        return found[self.first : self.first + 2]
