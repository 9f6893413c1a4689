"""Concept bottlenecks from a configuration and a dataset: which concepts, and whether settings go together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, get_args

from medzoo.data.dataset import Dataset, target_matrix
from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.labels import ConceptSpace
from medzoo.losses.objective import objective_from_config
from medzoo.models.heads.bottleneck import FROZEN, Regime
from medzoo.settings.prototypes import PrototypesConfig
from medzoo.settings.schema import BottleneckConfig, ConceptFilterConfig, LossConfig, ModelConfig
from medzoo.tasks.bottleneck import Bottleneck
from medzoo.tasks.concept_embeddings import EmbeddingBottleneck
from medzoo.tasks.prototypes import PrototypeBottleneck
from medzoo.tasks.setup.source import build_source, find_source

PLAIN_LOSSES = ("cross_entropy", "binary_cross_entropy", "smooth_l1", "squared_error")
"""Of the class layer; one that is fitted to convergence minimises the squared error for quantities."""


def bottleneck_from_config(config: ModelConfig, loss: LossConfig, dataset: Dataset, seed: int) -> Bottleneck:
    """Build a concept bottleneck whose network is trained.

    Arguments and errors are those of `medzoo.tasks.setup.families.task_from_config`: `config` with `bottleneck`, the loss of the
    class layer, a dataset with labels.
    """
    asked = config.bottleneck
    assert asked is not None
    assert dataset.labels is not None
    source = find_source(config, dataset)
    classes = objective_from_config(loss, dataset.labels, target_matrix(dataset.rows("train"), dataset.labels))
    objective = bottleneck_objective(config, dataset, classes.to_dict())
    embedded = asked.kind == "embedding"
    outputs = len(objective["concepts"]) * (2 * asked.width if embedded else 1)
    spec, network = build_source(
        source, config, dataset, seed, task="bottleneck", objective=objective, arguments={"outputs": outputs},
        concepts=chosen_concepts(asked, dataset),
    )  # fmt: skip
    own = {"embedding": EmbeddingBottleneck, "prototype": PrototypeBottleneck}
    return own.get(asked.kind, Bottleneck)(spec, network)


def bottleneck_objective(config: ModelConfig, dataset: Dataset, classes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the objective of a bottleneck over a dataset's annotated concepts; `classes` is that of the class layer.

    ConfigError if dataset and settings do not suit one, UnknownNameError if a concept, a kind or a regime is not known.
    """
    asked = config.bottleneck
    assert asked is not None
    check_bottleneck(config, classes)
    chosen = chosen_concepts(asked, dataset)
    objective = {
        "classes": dict(classes), "concepts": list(chosen.names), "columns": list(chosen.names), "kind": asked.kind,
        "regime": asked.regime, "penalty": asked.penalty, "l1_ratio": asked.l1_ratio, "residual": asked.residual,
    }  # fmt: skip
    if asked.regime not in FROZEN:
        objective |= {"concept_weight": asked.concept_weight, "class_layer_rate": asked.class_layer_rate}
    if asked.kind == "prototype":
        if len(chosen.names) < 2:
            raise ConfigError("prototypes are learnt by contrast between concepts, and here is one alone; use two or more")
        objective["prototypes"] = asdict(asked.prototypes)
    if asked.kind == "embedding":
        objective |= {"width": asked.width, "random_corrections": asked.random_corrections}
    return objective


def chosen_concepts(asked: BottleneckConfig, dataset: Dataset) -> ConceptSpace:
    """Return the dataset's concepts, or those of them that are asked for, in the dataset's order.

    Raises:
        ConfigError: If it has none, or one is asked for twice.
        UnknownNameError: If it lacks one.
    """
    if dataset.concepts is None:
        raise ConfigError(
            f"{dataset.info.name} has no concepts; choose a dataset or an option with concepts (data.concepts of a table), or "
            "model=cbm_language, which needs none"
        )
    if asked.concepts is None:
        return dataset.concepts
    if not isinstance(asked.concepts, list) or not asked.concepts:
        raise ConfigError(f"model.bottleneck.concepts={asked.concepts!r} is not a list of the data's concepts")
    for name in asked.concepts:
        if name not in dataset.concepts.names:
            raise UnknownNameError("concept", name, dataset.concepts.names, where=" in model.bottleneck.concepts")
        if asked.concepts.count(name) > 1:
            raise ConfigError(f"model.bottleneck.concepts names {name!r} twice")
    return dataset.concepts.subset(asked.concepts)


def check_bottleneck(config: ModelConfig, classes: Mapping[str, Any]) -> None:
    """Raise ConfigError, or UnknownNameError, unless a bottleneck's settings and its class layer's objective go together."""
    asked = config.bottleneck
    assert asked is not None
    if asked.regime not in get_args(Regime):
        raise UnknownNameError("model.bottleneck.regime", asked.regime, get_args(Regime))
    if config.neighbours is not None:
        raise ConfigError("model.neighbours is not for concept bottlenecks")
    if classes["loss"] in ("corn", "cumulative"):
        raise ConfigError(f"loss={classes['loss']} is not for concept bottlenecks, whose class layer is plain; use loss=default")
    for name in ("concept_weight", "class_layer_rate"):
        if getattr(asked, name) <= 0:
            raise ConfigError(f"model.bottleneck.{name}={getattr(asked, name):g} must be positive")
    if asked.penalty is not None and asked.penalty < 0:
        raise ConfigError(f"model.bottleneck.penalty={asked.penalty:g} must be at least 0, or null")
    if not 0 <= asked.l1_ratio <= 1:
        raise ConfigError(f"model.bottleneck.l1_ratio={asked.l1_ratio:g} is not between 0 and 1")
    if asked.penalty is None and asked.regime not in FROZEN:
        raise ConfigError(f"model.bottleneck.penalty=null is for posthoc and language; give a {asked.regime} bottleneck a number")
    if asked.penalty == 0 and asked.l1_ratio > 0 and asked.regime != "joint":
        raise ConfigError("model.bottleneck.l1_ratio needs a penalty above 0")
    plain = BottleneckConfig()
    if asked.regime == "joint" and (asked.penalty, asked.l1_ratio) != (plain.penalty, plain.l1_ratio):
        raise ConfigError("model.bottleneck.penalty and l1_ratio have no effect on a class layer that is trained jointly")
    if asked.regime != "joint" and asked.class_layer_rate != plain.class_layer_rate:
        raise ConfigError(
            f"model.bottleneck.class_layer_rate has no effect on a {asked.regime} bottleneck, whose class layer is fitted"
        )
    if asked.regime in FROZEN and asked.concept_weight != plain.concept_weight:
        raise ConfigError(f"model.bottleneck.concept_weight has no effect on a {asked.regime} bottleneck: no network is trained")
    weighted = any(classes.get(name) for name in ("label_smoothing", "class_weights", "positive_weights", "arguments", "offsets"))
    if asked.regime != "joint" and (weighted or classes["loss"] not in PLAIN_LOSSES):
        raise ConfigError(f"loss.* has no effect on the fitted class layer of a {asked.regime} bottleneck; use loss=default")
    _check_embeddings(asked)
    _check_prototypes(asked)
    own = {"posthoc": "logit", "language": "score"}.get(asked.regime)
    if own is not None and asked.kind != own:
        raise ConfigError(f"a {asked.regime} bottleneck has model.bottleneck.kind={own}, not {asked.kind}")
    if own is None and asked.kind == "score":
        raise ConfigError(
            "model.bottleneck.kind=score is for model=cbm_language; choose soft, hard, logit, embedding or prototype"
        )
    if asked.concept_data and asked.regime != "posthoc":
        raise ConfigError("model.bottleneck.concept_data is for model=cbm_posthoc")
    if asked.filter != ConceptFilterConfig() and asked.regime != "language":
        raise ConfigError("model.bottleneck.filter is for model=cbm_language")
    if asked.shuffle_concepts and asked.regime == "language":
        raise ConfigError("model.bottleneck.shuffle_concepts would change nothing: a language bottleneck learns no concept")


def _check_embeddings(asked: BottleneckConfig) -> None:
    """Raise ConfigError unless the settings of concept embeddings suit one, or are left as they are where there are none."""
    plain = BottleneckConfig()
    if asked.kind != "embedding":
        for name in ("width", "random_corrections"):
            if getattr(asked, name) != getattr(plain, name):
                raise ConfigError(
                    f"model.bottleneck.{name} is of model.bottleneck.kind=embedding, not of {asked.kind}; leave it out"
                )
        return
    if asked.width < 1:
        raise ConfigError(f"model.bottleneck.width={asked.width} must be at least 1")
    if not 0 <= asked.random_corrections <= 1:
        raise ConfigError(f"model.bottleneck.random_corrections={asked.random_corrections:g} is not between 0 and 1")
    if asked.regime in ("sequential", "independent"):
        raise ConfigError(
            f"model.bottleneck.regime={asked.regime} fits classes to concepts, and embeddings are learnt with the classes: use "
            "regime=joint, or another model.bottleneck.kind"
        )
    if asked.residual:
        raise ConfigError(
            "model.bottleneck.residual=true is a path beside the concepts, which embeddings are already; leave it out, or use "
            "another model.bottleneck.kind"
        )


def _check_prototypes(asked: BottleneckConfig) -> None:
    """Raise ConfigError unless the settings of prototypes suit some, or are left as they are where there are none."""
    given = asked.prototypes
    if asked.kind != "prototype":
        if given != PrototypesConfig():
            raise ConfigError(
                f"model.bottleneck.prototypes is of model.bottleneck.kind=prototype, not of {asked.kind}; leave it out"
            )
        return
    for name in ("count", "width"):
        if getattr(given, name) < 1:
            raise ConfigError(f"model.bottleneck.prototypes.{name}={getattr(given, name)} must be at least 1")
    for name in ("weight", "temperature", "assignment"):
        if getattr(given, name) <= 0:
            raise ConfigError(f"model.bottleneck.prototypes.{name}={getattr(given, name):g} must be positive")
    if given.margin < 0:
        raise ConfigError(f"model.bottleneck.prototypes.margin={given.margin:g} must be at least 0")
    if asked.regime == "independent":
        raise ConfigError(
            "model.bottleneck.regime=independent fits classes to true concepts, and no truth says a prototype's score: use "
            "regime=joint or sequential, or another model.bottleneck.kind"
        )
    if asked.residual:
        raise ConfigError(
            "model.bottleneck.residual=true is a path beside the concepts, and classes read the scores of prototypes alone; "
            "leave it out, or use another model.bottleneck.kind"
        )
