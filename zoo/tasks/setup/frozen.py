"""Concept bottlenecks that train no network: on a trained run's features (post-hoc), or image–text scores (language)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medzoo.data.dataset import Dataset, data_card, target_matrix
from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.text.concepts import ConceptList, find_concepts, list_concept_lists, packaged_concepts, read_concepts
from medzoo.losses.objective import objective_from_config
from medzoo.models.clip.image import image_config
from medzoo.models.clip.volume import refuse_volumes
from medzoo.models.heads.concept_scores import redundant_concepts
from medzoo.models.trained import Start, read_start
from medzoo.settings.schema import BottleneckConfig, LossConfig, ModelConfig, PreprocessConfig
from medzoo.store.spec import ModelSpec
from medzoo.tasks.contrast import Contrast
from medzoo.tasks.frozen import FrozenBottleneck, concept_source, require_concepts
from medzoo.tasks.setup.bottleneck import bottleneck_objective, check_bottleneck, chosen_concepts
from medzoo.tasks.setup.contrast import contrast_with_weights
from medzoo.tasks.setup.source import OF_OTHER_MODELS, WEIGHTS, check_images, library_versions, refuse_settings


def frozen_from_config(config: ModelConfig, loss: LossConfig, dataset: Dataset, seed: int) -> FrozenBottleneck:
    """Build a post-hoc or language bottleneck on the network that it stands on; its layers are fitted later.

    Arguments and errors are those of `medzoo.tasks.setup.families.task_from_config`: `config.backbone` is a run directory or an
    image–text model, the loss that of the class layer; the dataset has labels, and the seed is of what is not fitted.
    """
    asked = config.bottleneck
    assert asked is not None
    assert dataset.labels is not None
    classes = objective_from_config(loss, dataset.labels, target_matrix(dataset.rows("train"), dataset.labels)).to_dict()
    check_bottleneck(config, classes)
    if asked.regime == "posthoc":
        found = posthoc_backbone(config, dataset)
        source = concept_source(asked, dataset)
        learnt_from = [found.spec.data, *([] if source is dataset else [data_card(source)])]
        objective, concepts = bottleneck_objective(config, source, classes), chosen_concepts(asked, source)
    else:
        listed = find_concept_list(asked, dataset)
        found, described = language_backbone(config, listed, dataset)
        learnt_from = [found.spec.data]
        concepts = listed.space().subset(described["concepts"])
        objective = {
            "classes": classes, "kind": asked.kind, "regime": asked.regime, "penalty": asked.penalty,
            "l1_ratio": asked.l1_ratio, "residual": asked.residual, **described,
        }  # fmt: skip
    spec = ModelSpec(
        family=found.family, task="bottleneck", architecture=found.architecture,
        arguments={**found.arguments, "outputs": concepts.width}, preprocess=found.spec.preprocess, labels=dataset.labels,
        concepts=concepts, objective=objective, data=data_card(dataset, learnt_from),
        versions=library_versions("open_clip_torch", "scikit-learn"),
    )  # fmt: skip
    return FrozenBottleneck.from_weights(spec, found.weights, seed)


def posthoc_backbone(config: ModelConfig, dataset: Dataset) -> Start:
    """Return the network of a trained run, for a post-hoc bottleneck.

    Raises:
        ConfigError: If no run is named, a setting would have no effect, or its images are not the dataset's kind.
        CheckpointError: If the run cannot be read.
    """
    refuse_settings(config, "a trained run", (*OF_OTHER_MODELS, *WEIGHTS, "arguments", "neighbours"))
    if config.preprocess != PreprocessConfig():
        raise ConfigError("model.preprocess has no effect on a trained run, which keeps its own: leave it out")
    if not config.backbone or not Path(config.backbone).expanduser().is_dir():
        raise ConfigError(f"model.backbone={config.backbone!r}: a post-hoc bottleneck needs a trained run; give its directory")
    found = read_start(config.backbone)
    check_images(found.spec, dataset)
    return found


def language_backbone(config: ModelConfig, concepts: ConceptList, dataset: Dataset) -> tuple[Start, dict[str, Any]]:
    """Return an image tower with concept vectors, and what the spec says of the concepts that were kept and left out.

    A concept's vector is the unit mean of its texts' unit embeddings.

    Raises:
        ConfigError: If the model has random weights, or fewer than two concepts are left.
    """
    refuse_settings(config, "an image-text model", (*OF_OTHER_MODELS, "arguments", "neighbours"))
    asked = config.bottleneck
    assert asked is not None
    assert dataset.labels is not None
    known = dict(zip(concepts.names, concepts.columns(dataset.concepts), strict=True))
    task = contrast_with_weights(config)
    refuse_volumes(task.spec.arguments, config.backbone, "a language bottleneck")
    texts = {name: tuple(concepts.texts(name)) for name in concepts.names}
    vectors = unit_means(task, texts)
    names = {name: tuple(template.replace("{}", name) for template in concepts.templates) for name in dataset.labels.names}
    filters = asked.filter
    dropped = redundant_concepts(
        list(texts), vectors.numpy(), unit_means(task, names).numpy(), class_similarity=filters.class_similarity,
        concept_similarity=filters.concept_similarity,
    )  # fmt: skip
    kept = [name for name in texts if name not in dropped]
    require_concepts(kept, dropped)
    weights = {name: t for name, t in task.model.state_dict().items() if name.startswith("visual.")}
    weights["fc.weight"] = vectors[[list(texts).index(name) for name in kept]]
    arguments = {"open_clip": image_config(task.spec.arguments["open_clip"])}
    found = Start("clip_image", task.spec.architecture, arguments, task.spec, weights, {})
    described = {
        "concepts": kept, "columns": [_column_name(known[name], dataset) for name in kept],
        "texts": {name: list(texts[name]) for name in kept}, "dropped": dropped,
        "concept_list": {"name": concepts.name, "version": concepts.version, "hash": concepts.hash},
    }  # fmt: skip
    check_images(found.spec, dataset)
    return found, described


def _column_name(place: int | None, dataset: Dataset) -> str | None:
    return None if place is None or dataset.concepts is None else dataset.concepts.names[place]


@torch.no_grad()
def unit_means(task: Contrast, texts: Mapping[str, tuple[str, ...]]) -> Tensor:
    """Return (M, E): the unit mean of each name's unit text embeddings."""
    means = torch.stack([task.embed_texts(list(group)).mean(dim=0) for group in texts.values()])
    return nn.functional.normalize(means, dim=1).cpu()


def find_concept_list(asked: BottleneckConfig, dataset: Dataset) -> ConceptList:
    """Return the list asked for: a file, a packaged list by name, or the dataset's; checked against its labels and concepts.

    Raises:
        ConfigError: If there is none, or it does not suit the data.
        UnknownNameError: If no such list is packaged.
    """
    choice = asked.concepts
    if choice is None:
        found = find_concepts(dataset)
        if found is None:
            raise ConfigError(f"no concept list is packaged for {dataset.info.name}; give model.bottleneck.concepts=<file>.yaml")
    elif not isinstance(choice, str):
        raise ConfigError(f"model.bottleneck.concepts={choice!r} is not a list file or the name of a packaged list")
    elif choice.endswith((".yaml", ".yml")):
        found = read_concepts(Path(choice).expanduser())
    elif choice in list_concept_lists():
        found = packaged_concepts(choice)
    else:
        raise UnknownNameError("concept list", choice, list_concept_lists(), where=" (or a .yaml file)")
    found.check(dataset.labels)
    return found
