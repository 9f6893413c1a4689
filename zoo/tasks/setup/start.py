"""The network of a trained run as the start of another: to be trained further, probed, or put under a bottleneck."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from medzoo.data.dataset import Dataset
from medzoo.data.errors import CheckpointError, ConfigError
from medzoo.data.samples.preprocess import Preprocess
from medzoo.data.samples.sample_dataset import require_prepared
from medzoo.models.trained import TrainedBackbone, is_run, trained_backbone
from medzoo.settings.schema import ModelConfig, PreprocessConfig
from medzoo.store.spec import ModelSpec

ALIKE = ({"cnn", "vit", "cbm"}, {"cnn3d"}, {"slices"}, {"clip_image"})
"""Families whose backbones fit each other."""
OF_OTHER_MODELS = ("small_stem", "freeze", "image_tower", "image_pretrained", "captions")
WEIGHTS = ("pretrained", "checkpoint_path")


def refuse_own_weights(config: ModelConfig) -> None:
    """Refuse a checkpoint of medzoo's as a plain weights file, which does not say what it has learnt from.

    Raises:
        ConfigError: With the directory to give instead.
    """
    if config.checkpoint_path is not None and is_run(f"{Path(config.checkpoint_path).expanduser().absolute().parent}{os.sep}"):
        folder = Path(config.checkpoint_path).parent
        raise ConfigError(
            f"model.checkpoint_path={config.checkpoint_path} is a checkpoint of medzoo's: give its run as model.backbone={folder}"
        )


def starting_backbone(config: ModelConfig, dataset: Dataset) -> tuple[TrainedBackbone, Preprocess]:
    """Return a trained run's network to go on with, and the preprocessing: the run's, but for another size asked for.

    Raises:
        ConfigError: If the run is of another family, a setting would have no effect, or its images are not the dataset's kind.
        CheckpointError: If it cannot be read.
    """
    found = trained_backbone(config)
    if not any({config.family, found.family} <= group for group in ALIKE):
        raise ConfigError(f"{config.backbone} holds a network of family {found.family}: use model={found.family}")
    refuse_settings(config, "a trained run", (*OF_OTHER_MODELS, *WEIGHTS))
    plain = _own_arguments(config.family)
    for name, value in config.arguments.items():
        if name in plain and value == plain[name]:  # nobody asked for it
            continue
        if found.arguments.get(name, value) != value or name not in found.arguments:
            kept = f"the run has {found.arguments[name]!r}" if name in found.arguments else "leave it out"
            raise ConfigError(f"model.arguments.{name}={value!r} has no effect on a trained run, which keeps its own: {kept}")
    keep_preprocess(config, found.spec, but=() if config.family == "clip_image" else ("size",))
    own, size = found.spec.preprocess, config.preprocess.size
    if size is not None:
        sides = (size,) * len(own.size) if isinstance(size, int) else tuple(int(side) for side in size)
        own = replace(own, size=(*own.size[: len(own.size) - len(sides)], *sides))  # [H, W] of a volume keeps its depth
    check_images(found.spec, dataset, own)
    return found, own


def _own_arguments(family: str) -> dict[str, Any]:
    """Return the arguments that a family's configuration file gives without being asked."""
    file = files("medzoo.conf") / "model" / f"{family}.yaml"
    return dict(yaml.safe_load(file.read_text(encoding="utf-8")).get("arguments") or {})


def keep_preprocess(config: ModelConfig, spec: ModelSpec, but: Sequence[str] = ()) -> None:
    """Refuse preprocessing of another kind than a trained network has.

    Args:
        config: What is asked for; defaults ask for nothing.
        spec: What the network was trained by.
        but: What may differ.

    Raises:
        ConfigError: Names the first that differs.
    """
    asked, own, plain = config.preprocess, spec.preprocess, PreprocessConfig()
    for name in vars(plain):
        value = getattr(asked, name)
        if name in but or value in (getattr(plain, name), "auto"):
            continue
        kept = getattr(own, name)
        given = (value,) if name == "size" and isinstance(value, int) else value
        if isinstance(given, list | tuple):  # one for all channels, or sides
            given = tuple(given) * (len(kept) if len(given) == 1 else 1)
        if given != kept:
            raise ConfigError(f"model.preprocess.{name}={value} is not the trained run's ({kept}): leave it out")


def refuse_settings(config: ModelConfig, what: str, names: Sequence[str]) -> None:
    """Refuse settings that a network which comes ready would ignore.

    Raises:
        ConfigError: Names the first.
    """
    plain = ModelConfig()
    for name in names:
        if getattr(config, name) != getattr(plain, name) and not (name == "pretrained" and config.pretrained is None):
            raise ConfigError(f"model.{name} has no effect on {what}: leave it out")


def check_images(spec: ModelSpec, dataset: Dataset, preprocess: Preprocess | None = None) -> None:
    """Check that a trained network takes a dataset's images.

    Args:
        spec: What it was trained by.
        dataset: Whose images it is to take.
        preprocess: How they become its input; None: as in the spec.

    Raises:
        ConfigError: If they are of another type, or prepared otherwise.
        CheckpointError: If one takes volumes and the other has images.
    """
    preprocess, shape = preprocess or spec.preprocess, dataset.reader.shape
    require_prepared(dataset.reader.prepared, preprocess)
    dtype = "uint8" if dataset.info.value_type == "uint8" else "float32"
    if preprocess.dtype != dtype:
        raise ConfigError(f"the trained run takes {preprocess.dtype} images, {dataset.info.name} has {dtype} ones")
    if shape is not None and (len(shape) == 4) != preprocess.is_volume:
        kinds = ("images", "volumes")
        raise CheckpointError(
            f"the trained run takes {kinds[preprocess.is_volume]}, {dataset.info.name} has {kinds[len(shape) == 4]}"
        )
