"""Concept bottlenecks that train no network: on a trained run's features (post-hoc), or image–text scores (language)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Self

import torch
from torch import Tensor

from medzoo.data.dataset import Dataset
from medzoo.data.errors import ConfigError, TrainingError
from medzoo.data.registry import load_dataset
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.models.backbones.contract import classify_features, head_modules
from medzoo.models.build import build_network
from medzoo.models.heads.class_layer import ConceptData
from medzoo.models.heads.concept_scores import ConceptScores, absent_concepts
from medzoo.models.heads.linear_layer import choose_penalty, fit_linear, for_raw_inputs, set_layer
from medzoo.models.weights_file import load_backbone
from medzoo.settings.schema import BottleneckConfig, ModelConfig
from medzoo.store.reading import as_the_model_reads
from medzoo.store.spec import ModelSpec
from medzoo.tasks.bottleneck import Bottleneck, known_concepts, require_known
from medzoo.tasks.prepare import learning_splits, prepare_samples
from medzoo.tasks.task import Batch, Runner, Task


class FrozenBottleneck(Bottleneck):
    """A bottleneck whose network stays as it is: concepts and classes are linear layers, fitted at once."""

    learns_by_steps = False
    completes = False
    trains_nothing = "a bottleneck on a frozen network"
    chosen_by = "validation loss of the fitted layers"

    @classmethod
    def from_weights(cls, spec: ModelSpec, weights: Mapping[str, Tensor], seed: int = 0) -> Self:
        """Build a bottleneck on a network that is trained already, by its state dict; CheckpointError if it is another's.

        What the weights lack of the last layer is fitted later; `seed` is of what is not in them.
        """
        task = cls(spec, build_network(spec, seed=seed))
        load_backbone(task.model.backbone, weights, spec.architecture)
        return task

    @torch.no_grad()
    def validation_step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the outputs of `predict`: there is no loss that was trained on."""
        return self.predict(batch)

    def fit(self, dataset: Dataset, config: ModelConfig, runner: Runner) -> tuple[Task, list[str]]:
        """Fit the concepts (post-hoc) or standardise and filter them (language), then the class layer.

        Raises:
            TrainingError: If there is nothing to learn from or to choose by.
            ConfigError: If too few concepts are left.
        """
        asked = config.bottleneck
        assert asked is not None
        task = self.to(runner.device).eval()
        train, val = ((samples, runner.features(task, samples)) for samples in learning_splits(task, dataset, config))
        notes = []
        if task.regime == "posthoc":
            source = concept_source(asked, dataset)
            pairs = (train, val)
            if source is not dataset:
                source = as_the_model_reads(task.spec, source, "model.bottleneck.concept_data")
                first, second = ((s, runner.features(task, s)) for s in learning_splits(task, source, config))
                pairs = (first, second)
            task.to("cpu")
            notes.append(_fit_concept_vectors(task, *pairs))
        else:
            task = _standardise(task.to("cpu"), train[1], asked.filter.activation)
            notes += [f"concept left out: {name}: {reason}" for name, reason in task.spec.objective["dropped"].items()]
            for samples, _ in (train, val):
                prepare_samples(task, samples, dataset, config)
        penalty = task.finish(_data(task, *train), _data(task, *val))
        used = int((task.model.head.weight != 0).any(dim=0).sum())
        if not used:
            notes.append("warning: no concept helps on the validation split: the classes are the same for every image")
        notes.append(f"class layer: penalty {penalty:g}, {used} of {task.model.head.in_features} concepts used")
        return task, notes


def concept_source(asked: BottleneckConfig, dataset: Dataset) -> Dataset:
    """Return the dataset that post-hoc concepts are learnt from."""
    if not asked.concept_data:
        return dataset
    if "name" not in asked.concept_data:
        raise ConfigError("model.bottleneck.concept_data needs the name of a dataset: {name: ..., ...}")
    return load_dataset(**asked.concept_data)


def _fit_concept_vectors(task: Bottleneck, train: tuple[SampleDataset, Tensor], val: tuple[SampleDataset, Tensor]) -> str:
    """Fit one direction a concept (logistic regression on features of mean 0 and spread 1); say the penalty chosen."""
    wanted, held_out = (torch.from_numpy(known_concepts(samples)) for samples, _ in (train, val))
    names = task.spec.objective["concepts"]
    require_known(names, wanted.numpy())
    for name, column in zip(names, wanted.T, strict=True):
        if len(column[~column.isnan()].unique()) < 2:
            raise TrainingError(f"the train split shows concept {name!r} in one state only: it has no direction; leave it out")
    mean, spread = train[1].mean(dim=0), train[1].std(dim=0, correction=0).clamp_min(1e-6)
    inputs, others = ((features - mean) / spread for _, features in (train, val))
    fit = partial(fit_linear, inputs, wanted, "multilabel")
    with torch.enable_grad():
        penalty = choose_penalty(lambda value: fit(penalty=value), others, held_out, "multilabel")
        weight, bias = fit(penalty=penalty)
    layer = head_modules(task.model.backbone)[0]
    set_layer(layer, *for_raw_inputs(weight, bias, mean, spread), task.spec.architecture)
    return f"concepts: {task.model.head.in_features} directions in {inputs.shape[1]} features, penalty {penalty:g}"


def _standardise(task: FrozenBottleneck, features: Tensor, activation: float | None) -> FrozenBottleneck:
    """Standardise the scores over the training images and leave out concepts these do not show."""
    scores = head_modules(task.model.backbone)[0]
    assert isinstance(scores, ConceptScores)
    names = list(task.spec.objective["concepts"])
    similarities = scores.similarities(features)
    dropped = absent_concepts(names, similarities.numpy(), activation=activation)
    kept = [place for place, name in enumerate(names) if name not in dropped]
    require_concepts([names[place] for place in kept], dropped)
    scores.standardise(similarities)
    state = {name: tensor for name, tensor in task.model.backbone.state_dict().items() if not name.startswith("fc.")}
    state |= {f"fc.{name}": tensor for name, tensor in scores.keep(kept).state_dict().items()}
    return FrozenBottleneck.from_weights(without_concepts(task.spec, dropped), state)


def _data(task: Bottleneck, samples: SampleDataset, features: Tensor) -> ConceptData:
    assert samples.targets is not None
    assert samples.concepts is not None
    with torch.no_grad():
        logits = classify_features(task.model.backbone, features).float()
    return ConceptData(logits, torch.from_numpy(samples.concepts), torch.from_numpy(samples.targets), features)


def require_concepts(kept: list[str], dropped: Mapping[str, str]) -> None:
    """Raise ConfigError unless two concepts are left."""
    if len(kept) < 2:
        first = next(iter(dropped.items()), ("", ""))
        raise ConfigError(
            f"only {len(kept)} of {len(kept) + len(dropped)} concepts are left (such as {first[0]!r}: {first[1]}); raise the "
            "limits of model.bottleneck.filter, or give other texts"
        )


def without_concepts(spec: ModelSpec, dropped: Mapping[str, str]) -> ModelSpec:
    """Return a language bottleneck's spec less some concepts, which it then names with the reason."""
    assert spec.concepts is not None
    told = spec.objective
    kept = [name for name in told["concepts"] if name not in dropped]
    columns = [column for name, column in zip(told["concepts"], told["columns"], strict=True) if name not in dropped]
    objective = {
        **told, "concepts": kept, "columns": columns, "texts": {name: told["texts"][name] for name in kept},
        "dropped": {**told["dropped"], **dropped},
    }  # fmt: skip
    arguments = {**spec.arguments, "outputs": len(kept)}
    return replace(spec, concepts=spec.concepts.subset(kept), objective=objective, arguments=arguments)
