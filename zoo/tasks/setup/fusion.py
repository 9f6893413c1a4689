"""Several modalities from a configuration and a dataset: an encoder each, and what joins them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
from torch import nn

from medzoo.data.dataset import Dataset, data_card, input_matrix, readers_of, target_matrix, weight_vector
from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.images.given import view_names
from medzoo.data.images.modalities import presence
from medzoo.data.inputs import InputSpace
from medzoo.data.samples.preprocess import Preprocess
from medzoo.data.seeding import derived_seed
from medzoo.losses.objective import objective_from_config
from medzoo.models.build import fusion_network
from medzoo.models.fusion.join import JOINS
from medzoo.models.fusion.network import INPUTS
from medzoo.models.trained import is_run, read_start
from medzoo.settings.schema import FusionConfig, LossConfig, ModelConfig, PreprocessConfig
from medzoo.store.spec import ModelSpec
from medzoo.tasks.fusion import Fusion
from medzoo.tasks.setup.fusion_start import fusion_from_run, is_fusion_run
from medzoo.tasks.setup.fusion_texts import texts_from_config
from medzoo.tasks.setup.groups import with_groups
from medzoo.tasks.setup.source import build_source, find_source, library_versions
from medzoo.tasks.setup.targets import objective_of_targets
from medzoo.tasks.targets import FusionTargets
from medzoo.tasks.task import Task

KEYS = ("family", "backbone", "pretrained", "checkpoint_path", "small_stem", "arguments", "preprocess", "frozen")
VOLUME: Mapping[str, Any] = {"family": "cnn3d", "backbone": "resnet18_3d", "arguments": {"stem_kernel": 3}}
"""What a volume is encoded by where nothing is said."""


def fusion_from_config(config: ModelConfig, loss: LossConfig, dataset: Dataset, seed: int) -> Task:
    """Build the task that joins a dataset's modalities.

    Arguments and errors are those of `medzoo.tasks.setup.families.task_from_config`: `config` with `fusion`, a dataset with
    labels and several modalities, or values beside its one.
    """
    asked = config.fusion
    assert asked is not None
    assert dataset.labels is not None
    if is_fusion_run(config.backbone):
        return fusion_from_run(config, loss, dataset, seed)
    readers, name = readers_of(dataset), dataset.info.name
    known = [*readers, *dataset.texts, *([INPUTS] if dataset.inputs is not None else [])]
    _check(asked, config, known, name)
    if dataset.targets:
        objective, outputs = objective_of_targets(loss, dataset)
    else:
        train = target_matrix(dataset.rows("train"), dataset.labels)
        objective = with_groups(
            objective_from_config(loss, dataset.labels, train, weight_vector(dataset.rows("train"))), loss, dataset
        )
        outputs = objective.outputs(dataset.labels)
    arguments: dict[str, Any] = {"outputs": outputs, "join": asked.join, "width": asked.width}
    arguments |= {"dropout": float(asked.dropout), "encoders": {}}
    encoders: dict[str, nn.Module] = {}
    cards: list[Mapping[str, Any]] = []
    for place, modality in enumerate(readers):
        alone = replace(dataset, reader=readers[modality], modalities={}, targets={})
        own = _encoder_config(config, modality, alone)
        try:
            source = find_source(own, alone)
            spec, encoders[modality] = build_source(
                source, own, alone, derived_seed(seed, "encoder", modality) if place else seed, task="fusion", objective={},
                arguments={"outputs": asked.width},
            )  # fmt: skip
        except ConfigError as error:
            said = f"modality {modality!r}: {error} (what is called model.* here is model.fusion.encoders.{modality}.*)"
            raise ConfigError(said) from error
        cards += source.cards
        about: dict[str, Any] = {
            "family": spec.family,
            "architecture": spec.architecture,
            "preprocess": spec.preprocess.to_dict(),
        }
        about["arguments"] = {key: value for key, value in spec.arguments.items() if key != "outputs"}
        if spec.initial_weights is not None:
            about["initial_weights"] = dict(spec.initial_weights)
        if _about(asked, modality).get("frozen"):
            about["frozen"] = True
        if alone.reader.views and len(alone.reader.columns) > 1:
            about["views"] = _views(modality, len(alone.reader.columns), known)
        arguments["encoders"][modality] = about
    texts = texts_from_config(dataset, {name: _about(asked, name) for name in dataset.texts}, asked.width, seed)
    if texts.about:
        arguments["texts"] = texts.about
    cards += texts.cards
    if dataset.inputs is not None:
        arguments[INPUTS] = _inputs_card(dataset, dataset.inputs)
    made = list(arguments["encoders"].values())
    further: tuple[str, ...] = ("monai",) if any(one["family"] == "cnn3d" for one in made) else ()
    further += ("open_clip_torch",) if texts.about else ()
    spec = ModelSpec(
        family=config.family, task="fusion targets" if dataset.targets else "fusion", arguments=arguments,
        labels=None if dataset.targets else dataset.labels, targets=dataset.targets, objective=objective.to_dict(),
        architecture="+".join(
            [*(one["architecture"] for one in (*made, *texts.about.values())), *known[len(readers) + len(texts.about) :]]
        ),
        preprocess=Preprocess.from_dict(made[0]["preprocess"]), data=data_card(dataset, learnt_from=cards),
        versions=library_versions(*further),
    )  # fmt: skip
    kind: type[Fusion] = FusionTargets if dataset.targets else Fusion
    return kind(spec, fusion_network(spec, encoders | texts.encoders, seed), texts.tokenizers)


def _check(asked: FusionConfig, config: ModelConfig, known: list[str], dataset: str) -> None:
    """Raise ConfigError, or UnknownNameError, unless the settings go together and with the dataset's modalities."""
    if len(known) < 2:
        raise ConfigError(
            f"{dataset} has one image a sample and nothing beside it: model=fusion joins several; name them (data.modalities, "
            "data.texts or data.inputs), or use model=cnn"
        )
    if asked.join not in JOINS:
        raise UnknownNameError("model.fusion.join", asked.join, JOINS)
    if not 8 <= asked.width <= 4096:
        raise ConfigError(f"model.fusion.width={asked.width} is not from 8 to 4096")
    if not 0 <= asked.dropout < 1:
        raise ConfigError(f"model.fusion.dropout={asked.dropout:g} is not in [0, 1)")
    if config.neighbours is not None:
        raise ConfigError("model.neighbours is not for model=fusion")
    for modality in asked.encoders:
        if modality == INPUTS and INPUTS in known:
            raise ConfigError("model.fusion.encoders.inputs: values beside the images have nothing to choose; leave it out")
        if modality not in known:
            raise UnknownNameError("modality", str(modality), known, where=f" in model.fusion.encoders; {dataset} has others")


def _views(modality: str, views: int, known: list[str]) -> int:
    """Return how many images of a modality a sample has at most; ConfigError if another is called like one of them."""
    if twice := sorted(set(view_names(modality, views)[1:]) & set(known)):
        raise ConfigError(f"the second view of {modality!r} is called {twice[0]!r}, as another modality is: rename that one")
    return views


def _about(asked: FusionConfig, modality: str) -> Mapping[str, Any]:
    """Return what is said of a modality's encoder; a plain text is its backbone."""
    about = asked.encoders.get(modality) or {}
    about = {"backbone": about} if isinstance(about, str) else about
    if not isinstance(about, Mapping):
        raise ConfigError(f"model.fusion.encoders.{modality}={about} is no mapping, such as {{backbone: resnet18}}")
    for key in about:
        if key not in KEYS:
            raise UnknownNameError("key", str(key), KEYS, where=f" of model.fusion.encoders.{modality}")
    return about


def _encoder_config(config: ModelConfig, modality: str, alone: Dataset) -> ModelConfig:
    """Return one modality's encoder as a model of its own: what is said of it, else the model's own for flat images."""
    assert config.fusion is not None
    about = dict(_about(config.fusion, modality))
    about.pop("frozen", None)
    size = about.pop("preprocess", {})
    unknown = [key for key in size if key not in {one.name for one in fields(PreprocessConfig)}]
    if unknown:
        options = [one.name for one in fields(PreprocessConfig)]
        raise UnknownNameError("key", str(unknown[0]), options, where=f" of model.fusion.encoders.{modality}.preprocess")
    volume = _is_volume(alone, modality)
    if "backbone" not in about and not volume:
        own = ("backbone", "pretrained", "checkpoint_path", "small_stem", "arguments")
        about = {key: getattr(config, key) for key in own} | about
    if is_run(str(about.get("backbone", ""))):
        about.setdefault("family", _family_of_run(str(about["backbone"])))
    if volume and "backbone" not in about and "family" not in about:
        about = {**VOLUME, **about, "arguments": {**VOLUME["arguments"], **about.get("arguments", {})}}
    about.setdefault("family", "cnn3d" if volume else "cnn")
    preprocess = replace(PreprocessConfig() if volume else config.preprocess, **size)
    return ModelConfig(**about, preprocess=preprocess)


def _family_of_run(run: str) -> str:
    family = read_start(run).family
    return "cnn" if family == "cbm" else family


def _is_volume(alone: Dataset, modality: str) -> bool:
    """Whether a modality's images are volumes, by the first that there is."""
    if alone.reader.shape is not None:
        return len(alone.reader.shape) == 4
    train = alone.rows("train")
    there = np.flatnonzero(presence(train, alone.reader))
    if not len(there):
        raise ConfigError(f"no sample of the train split has modality {modality!r}: it cannot be learnt; leave it out")
    values = [train[column].iloc[int(there[0])] for column in alone.reader.columns]
    return alone.reader.read(*next(iter(alone.reader.images(*values).values()))).ndim == 4


def _inputs_card(dataset: Dataset, inputs: InputSpace) -> dict[str, Any]:
    """Return the inputs with the categories that the training split has, and each quantity's mean and spread there."""
    values = input_matrix(dataset.rows("train"), inputs)
    for place, name in enumerate(inputs.names):
        if np.isnan(values[:, place]).all():
            raise ConfigError(f"input {name!r} is missing in all training samples: nothing can be learnt of it; leave it out")
    seen = {
        name: tuple(word for code, word in enumerate(words) if (values[:, inputs.names.index(name)] == code).any())
        for name, words in inputs.categories.items()
    }
    mean, std = np.nanmean(values.astype(np.float64), axis=0), np.nanstd(values.astype(np.float64), axis=0)
    numbers = [name not in inputs.categories for name in inputs.names]
    return {
        **InputSpace(inputs.names, seen).to_dict(),
        "mean": [float(np.float32(value)) if number else 0.0 for value, number in zip(mean, numbers, strict=True)],
        "std": [float(np.float32(value)) if number and value > 0 else 1.0 for value, number in zip(std, numbers, strict=True)],
    }
