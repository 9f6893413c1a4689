"""Classification by text alone: class vectors from prompts, scores from cosine similarity.

Exclusive labels: the unit mean of a class's prompt embeddings, as open_clip's `build_zero_shot_classifier` makes it (Radford et
al. 2021, section 3.1.4). Findings: a positive and a negative prompt each (Tiu et al. 2022, CheXzero); the logit is the difference
of their scaled similarities, whose sigmoid is the softmax over the pair. A class above others in an ontology gathers the
probabilities of the leaves below it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from medzoo.data.dataset import Dataset
from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.labels import LabelSpace, descendants, log_sum_exp
from medzoo.data.text.prompts import Prompts, find_prompts, list_prompts, packaged_prompts, prompts_from_names, read_prompts
from medzoo.settings.verbs import ZeroshotConfig
from medzoo.tasks.contrast import Contrast


@dataclass(frozen=True)
class ZeroShotClassifier:
    """Class vectors and what turns similarities into logits.

    Attributes:
        labels: What the logits mean.
        positive: (C, E) float32 unit vectors: of classes, of leaves below classes, or of findings.
        negative: (C, E) unit vectors of absent findings, a row of zeros where a finding has no negative prompt; None for
            exclusive labels.
        members: For each class the rows of `positive` below it; None where rows are the classes.
        scale: Factor on similarities, the model's own (e to the learnt logarithm).
        texts: Every prompt that was embedded, by class.
        truncated: Prompts that did not fit the context and were cut.
    """

    labels: LabelSpace
    positive: NDArray[np.float32]
    negative: NDArray[np.float32] | None
    members: tuple[tuple[int, ...], ...] | None
    scale: float
    texts: Mapping[str, Sequence[str]]
    truncated: tuple[str, ...] = ()

    def logits(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (N, K) logits of (N, E) unit image embeddings."""
        similar = self.scale * (images @ self.positive.T)
        if self.negative is not None:
            similar = similar - self.scale * (images @ self.negative.T)
        if self.members is not None:
            similar = np.stack([log_sum_exp(similar[:, list(rows)]) for rows in self.members], axis=1)
        return np.asarray(similar, np.float32)

    def scores(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Return `logits` of (N, E) unit embeddings, with gradient; ConfigError where classes gather leaves of an ontology."""
        if self.members is not None:
            raise ConfigError("classes that gather the leaves of an ontology have no one vector: leave the ontology out")
        vectors = self.positive if self.negative is None else self.positive - self.negative
        return self.scale * (embeddings @ torch.from_numpy(vectors).to(embeddings).T)

    @property
    def ranking_only(self) -> tuple[str, ...]:
        """Findings without a negative prompt: their scores rank images, their probabilities mean nothing."""
        if self.negative is None:
            return ()
        return tuple(n for n, row in zip(self.labels.names, self.negative, strict=True) if not row.any())


def build_classifier(
    task: Contrast, prompts: Prompts, labels: LabelSpace, ontology: Mapping[str, Sequence[str]] | None = None
) -> ZeroShotClassifier:
    """Embed a label space's prompts.

    Args:
        task: An image–text model, in evaluation mode.
        prompts: Wording for every class or finding.
        labels: Multiclass, ordinal or multilabel.
        ontology: Node → children; a class with children is scored by the leaves below it, each by its own name in the templates.

    Raises:
        ConfigError: If the labels are quantities, or prompts and labels do not fit.
        UnknownNameError: If prompts are of classes the labels lack.
    """
    if labels.kind == "regression":
        raise ConfigError("zero-shot classification needs classes or findings, not quantities")
    prompts = prompts.for_labels(labels)
    scale = float(task.model.logit_scale.detach().exp())  # type: ignore[operator]
    if ontology is not None and (labels.kind == "multilabel" or not any(ontology.get(name) for name in labels.names)):
        reason = "findings have no leaves" if labels.kind == "multilabel" else f"it knows none of {', '.join(labels.names[:5])}"
        raise ConfigError(f"the ontology would change nothing ({reason}); leave it out")
    if labels.kind == "multilabel":
        prompts.check(labels)
        texts = {name: tuple(prompts.positive(name)) for name in labels.names}
        absent = {name: tuple(prompts.negative(name)) for name in labels.names}
        positive = _unit_means(task, list(texts.values()))
        negative = np.zeros_like(positive)
        have = [place for place, name in enumerate(labels.names) if absent[name]]
        if have:
            negative[have] = _unit_means(task, [absent[labels.names[place]] for place in have])
        shown = {**texts, **{f"no {name}": absent[name] for name in labels.names if absent[name]}}
        return ZeroShotClassifier(labels, positive, negative, None, scale, shown, _cut(task, shown))
    leaves = _leaves(labels, ontology)
    if leaves is None:
        prompts.check(labels)
        texts = {name: tuple(prompts.texts(name)) for name in labels.names}
        members = None
    else:
        names = sorted({leaf for below in leaves for leaf in below})
        texts = {
            name: tuple(prompts.texts(name)) if name in prompts.classes else tuple(t.format(name) for t in prompts.templates)
            for name in names
        }
        members = tuple(tuple(names.index(leaf) for leaf in below) for below in leaves)
    return ZeroShotClassifier(labels, _unit_means(task, list(texts.values())), None, members, scale, texts, _cut(task, texts))


@torch.no_grad()
def _unit_means(task: Contrast, groups: Sequence[Sequence[str]]) -> NDArray[np.float32]:
    """Return (len(groups), E): the unit mean of each group's unit text embeddings."""
    means = []
    for texts in groups:
        if not texts or any(not text.strip() for text in texts):
            raise ConfigError("an empty prompt: give every class at least one text that is not blank")
        mean = task.embed_texts(list(texts)).mean(dim=0)
        means.append(mean / mean.norm())
    return torch.stack(means).cpu().numpy()


def _cut(task: Contrast, texts: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    every = [text for group in texts.values() for text in group]
    return tuple(every[place] for place in task.tokenizer.truncated(every))


def _leaves(labels: LabelSpace, ontology: Mapping[str, Sequence[str]] | None) -> list[tuple[str, ...]] | None:
    """Return the leaves below each class, or None if no class has any."""
    if ontology is None:
        return None
    below = [tuple(descendants(ontology, name)) if ontology.get(name) else (name,) for name in labels.names]
    return below if any(group != (name,) for group, name in zip(below, labels.names, strict=True)) else None


HELD_OUT = ("templates", "synonyms", "both")


def choose_prompts(config: ZeroshotConfig, dataset: Dataset | None, labels: LabelSpace) -> Prompts:
    """Return the wording: class names given, a file, packaged prompts by name, or those of the dataset.

    Raises:
        ConfigError: If there are none, or they do not fit the labels.
        UnknownNameError: If a name is not known.
    """
    if config.templates is not None and config.classes is None:
        raise ConfigError("templates are for classes=[...]; a prompt file has its own")
    if config.held_out is not None and config.held_out not in HELD_OUT:
        raise UnknownNameError("held_out", config.held_out, HELD_OUT)
    if config.classes is not None:
        if config.held_out is not None:
            raise ConfigError("held_out is wording of a prompt file; classes=[...] have none")
        if config.prompts is not None:
            raise ConfigError("give prompts or classes, not both")
        if len(config.classes) != labels.width:
            raise ConfigError(f"classes has {len(config.classes)} names, the dataset {labels.width}: {', '.join(labels.names)}")
        named = prompts_from_names(config.classes, config.templates) if config.templates else prompts_from_names(config.classes)
        return _renamed(named, labels)
    if config.prompts is None:
        found = None if dataset is None else find_prompts(dataset)
        if found is None and dataset is not None and labels.exclusive:
            found = prompts_from_names(labels.names)
        if found is None:
            raise ConfigError("no prompts are packaged for this dataset; give prompts=<file>.yaml or classes=[...]")
    elif config.prompts.endswith((".yaml", ".yml")):
        found = read_prompts(Path(config.prompts).expanduser())
    else:
        if config.prompts not in list_prompts():
            raise UnknownNameError("prompts", config.prompts, list_prompts(), where=" (or a .yaml file)")
        found = packaged_prompts(config.prompts)
    found = found.for_labels(labels)
    if config.held_out is not None:
        found = found.held_out(templates=config.held_out != "synonyms", synonyms=config.held_out != "templates")
    return found


def _renamed(prompts: Prompts, labels: LabelSpace) -> Prompts:
    """Put class names given by the user under the dataset's own, in its order."""
    words = list(prompts.classes.values())
    if labels.kind == "multilabel":
        pairs = {name: (found, ()) for name, found in zip(labels.names, words, strict=True)}
        return replace(prompts, classes={}, pairs=pairs)
    return replace(prompts, classes=dict(zip(labels.names, words, strict=True)))
