"""Pre-training without labels, from a configuration and a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from medzoo.data.dataset import Dataset
from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.samples.augment import augment_policy
from medzoo.data.samples.modalities.two_views import view_policy
from medzoo.settings.evaluation import EvaluationConfig
from medzoo.settings.pretraining import SslConfig
from medzoo.settings.schema import LossConfig, ModelConfig
from medzoo.tasks.registry import task_class
from medzoo.tasks.setup.source import build_source, find_source
from medzoo.tasks.task import Task

FAMILIES = ("cnn", "vit", "zach_vit", "cnn3d", "slices")
"""Of the backbones that learn without labels here."""
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "simclr": {"outputs": 128, "temperature": 0.2},
    "dino": {"outputs": 1024, "temperature": 0.1},
    "mae": {"masked": 0.75, "decoder": [128, 2]},
    "spark": {"masked": 0.6, "decoder": [512, 2]},
}
"""Objective → what is taken where nothing is asked for; its names are those of the tasks."""


def pretraining_from_config(config: ModelConfig, loss: LossConfig, dataset: Dataset, seed: int) -> Task:
    """Build the task that trains a network on a dataset's images alone.

    Arguments and errors are those of `medzoo.tasks.setup.families.task_from_config`; labels, where there are any, are not looked
    at.
    """
    assert config.ssl is not None
    if loss != LossConfig():
        raise ConfigError("loss is of labels, and model=ssl looks at none: leave it at its default")
    if config.family not in FAMILIES:
        raise UnknownNameError("model.family", config.family, FAMILIES, where=" for model=ssl")
    if config.neighbours is not None or config.pool != "mean" or dataset.reader.row_width is not None:
        raise ConfigError("model.neighbours, model.pool and rows of features are not for model=ssl, which looks at images")
    if config.freeze or config.captions != "auto" or config.bottleneck is not None or config.fusion is not None:
        raise ConfigError("model.freeze, captions, bottleneck and fusion are not for model=ssl: leave them out")
    asked = checked(config.ssl)
    for scale in ("scale", "crop_scale"):
        if scale in asked:
            view_policy(augment_policy(asked["augment"], dataset.info.modality), tuple(asked[scale]))
    source = find_source(config, dataset)
    wide = {"outputs": asked.get("hidden", 1)}
    spec, network = build_source(source, config, dataset, seed, task=config.ssl.objective, objective=asked, arguments=wide)
    spec = replace(spec, labels=None)
    return task_class(spec)(spec, network)


def refuse_answers(sampling: str, evaluation: EvaluationConfig) -> None:
    """Refuse what is made of labels or of answers to them, before anything is trained; ConfigError names the setting.

    Args:
        sampling: `trainer.sampling`.
        evaluation: What is asked of the evaluation; pre-training has the loss and `agreement` alone.
    """
    if sampling != "shuffle":
        raise ConfigError(f"trainer.sampling={sampling} draws by labels, and model=ssl looks at none; use shuffle")
    plain = EvaluationConfig()
    for name in ("tta", "extra", "operating_points", "decision_curve", "prevalence", "calibration", "conformal", "by"):
        if getattr(evaluation, name) != getattr(plain, name):
            raise ConfigError(f"evaluation.{name} is of answers, and model=ssl has none: leave it out")


def checked(asked: SslConfig) -> dict[str, Any]:
    """Return the settings of an objective, those of others left out; their defaults filled in.

    Raises:
        UnknownNameError: If there is no such objective.
        ConfigError: If a value is out of range, or of another objective than was asked for.
    """
    name, plain = asked.objective, SslConfig()
    if name not in DEFAULTS:
        raise UnknownNameError("model.ssl.objective", name, DEFAULTS)
    of: dict[str, tuple[str, ...]] = {"momentum": ("dino",), "masked": ("mae", "spark"), "decoder": ("mae", "spark")}
    of |= dict.fromkeys(("hidden", "outputs", "temperature"), ("simclr", "dino"))
    found: dict[str, Any] = {"loss": name, "augment": asked.augment, "scale": [float(value) for value in asked.scale]}
    for setting, objectives in of.items():
        value = getattr(asked, setting)
        if name in objectives:
            found[setting] = DEFAULTS[name].get(setting) if value is None else value
        elif value != getattr(plain, setting):
            raise ConfigError(f"model.ssl.{setting} is for {' and '.join(objectives)}, not for {name}: leave it out")
    if name == "dino" and asked.crops:
        found |= {"crops": asked.crops, "crop_scale": [float(value) for value in asked.crop_scale]}
    elif asked.crops or asked.crop_scale != plain.crop_scale:
        raise ConfigError("model.ssl.crops and crop_scale are for dino, and crop_scale for crops above 0: leave them out")
    if asked.crops < 0:
        raise ConfigError(f"model.ssl.crops={asked.crops} is less than 0")
    for scale in ("scale", "crop_scale"):
        if scale in found and len(found[scale]) != 2:
            raise ConfigError(f"model.ssl.{scale}={found[scale]} is not two shares, such as {getattr(plain, scale)}")
    for setting, low, high in (("momentum", 0, 1), ("masked", 0, 1), ("temperature", 0, float("inf"))):
        if setting in found and not low < found[setting] < high:
            raise ConfigError(f"model.ssl.{setting}={found[setting]} is not between {low} and {high:g}, both left out")
    for setting in ("hidden", "outputs"):
        if setting in found and found[setting] < 2:
            raise ConfigError(f"model.ssl.{setting}={found[setting]} is less than 2")
    if "decoder" in found and (len(found["decoder"]) != 2 or min(found["decoder"]) < 1):
        raise ConfigError(f"model.ssl.decoder={found['decoder']} is not [width, depth]")
    return found
