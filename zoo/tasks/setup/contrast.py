"""Image–text models from a configuration and a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from medzoo.data.dataset import Dataset, data_card
from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.samples.preprocess import Preprocess, sides
from medzoo.losses.contrastive import contrastive_loss
from medzoo.models.backbones import timm_backbone
from medzoo.models.backbones.timm_backbone import check_name as check_timm
from medzoo.models.clip.model import ClipSource, build_clip, find_clip, find_tokenizer, load_clip_weights, load_timm_tower
from medzoo.models.clip.volume import NO_IMAGE, refuse_volumes, with_volumes
from medzoo.models.registry import VOLUME_MODELS
from medzoo.models.trained import is_run, run_cards
from medzoo.settings.schema import LossConfig, ModelConfig
from medzoo.store.checkpoint import find_checkpoint
from medzoo.store.spec import ModelSpec
from medzoo.tasks.contrast import TOWERS, Contrast
from medzoo.tasks.load import load_checkpoint
from medzoo.tasks.prepare import caption_card
from medzoo.tasks.setup.preprocess import clip_preprocess
from medzoo.tasks.setup.source import (
    WEIGHTS,
    check_images,
    keep_preprocess,
    library_versions,
    refuse_own_weights,
    refuse_settings,
)
from medzoo.tasks.setup.volumes import has_volume_tower, over_slices, whole_volumes, without_size

SIGLIP_START = {"init_logit_scale": float(np.log(10)), "init_logit_bias": -10.0}
"""Where the sigmoid loss starts (Zhai et al. 2023, section 3.2)."""


def contrast_from_config(config: ModelConfig, loss: LossConfig, dataset: Dataset, seed: int) -> Contrast:
    """Build the task that trains an image–text model on a dataset.

    Args:
        config: `backbone` is the model's name (see `medzoo.models.clip.model.find_clip`), or a run that is gone on with.
        loss: `clip` or `siglip`.
        dataset: With captions, or with labels that prompts exist for.
        seed: Of the initial weights.

    Raises:
        ConfigError: If a setting is not for image–text models, or there is no text to learn from.
        CheckpointError: If weights do not fit.
    """
    name = "clip" if loss.name == "auto" else loss.name
    contrastive_loss(name)  # raises for a name that is none
    if loss.label_smoothing or loss.class_weights or loss.positive_weights or loss.arguments or loss.logit_adjustment:
        raise ConfigError("image–text losses take no label smoothing, weights or arguments")
    for tower in config.freeze:
        if tower not in TOWERS:
            raise UnknownNameError("tower", tower, TOWERS, where=" in model.freeze")
    objective = {"loss": name, "freeze": list(config.freeze), "captions": caption_card(config, dataset)}
    if is_run(config.backbone):
        return _further_training(config, objective, dataset, seed)
    source = clip_source(config)
    model_config = dict(source.config)
    if name == "siglip" and source.weights is None and source.tag is None:
        model_config.update(SIGLIP_START)
    preprocess, further = _image_side(config, source, dataset)
    spec = clip_spec(
        source,
        model_config,
        preprocess,
        data=data_card(dataset, run_cards(config.backbone)),
        objective=objective,
        further=further,
    )
    return contrast_from_source(spec, source, seed, image_pretrained=config.image_pretrained)


def _image_side(config: ModelConfig, source: ClipSource, dataset: Dataset | None) -> tuple[Preprocess, Mapping[str, Any]]:
    """Return how images, or volumes, become a model's input, and what its spec says of an image side over volumes."""
    if has_volume_tower(config):
        return whole_volumes(config, dataset)
    return over_slices(config, clip_preprocess(source, without_size(config)), dataset)


def _further_training(config: ModelConfig, objective: Mapping[str, Any], dataset: Dataset, seed: int) -> Contrast:
    refuse_settings(
        config, "a trained run", (*WEIGHTS, "image_tower", "image_pretrained", "small_stem", "arguments", "neighbours")
    )
    task = load_contrast(config.backbone) if config.slices is None else _run_over_slices(config, dataset, seed)
    keep_preprocess(config, task.spec, but=() if config.slices is None else ("size",))
    check_images(task.spec, dataset)
    data = data_card(dataset, run_cards(config.backbone))
    spec = replace(task.spec, objective=objective, data=data, versions=library_versions("open_clip_torch"))
    return Contrast(spec, task.model, task.tokenizer, task.text_config)


def _run_over_slices(config: ModelConfig, dataset: Dataset | None, seed: int = 0) -> Contrast:
    """Return a run of flat images as a model of volumes, its image tower over their slices."""
    task = load_contrast(config.backbone)
    refuse_volumes(task.spec.arguments, config.backbone, "model.slices")
    preprocess, further = over_slices(config, task.spec.preprocess, dataset)
    spec = replace(task.spec, preprocess=preprocess, arguments={**task.spec.arguments, **further})
    model = with_volumes(task.model, spec.arguments, preprocess.size, preprocess.channels, seed)
    return Contrast(spec, model, task.tokenizer, task.text_config)


def contrast_from_source(spec: ModelSpec, source: ClipSource, seed: int = 0, *, image_pretrained: bool = False) -> Contrast:
    """Build a task with a source's own weights and tokenizer."""
    model = build_clip(spec.arguments["open_clip"], source.text_config, seed=seed)
    if (loaded := load_clip_weights(model, source)) is not None:
        spec = replace(spec, initial_weights=loaded.card())
    if image_pretrained:
        load_timm_tower(model, spec.arguments["open_clip"]["vision_cfg"]["timm_model_name"])
    model = with_volumes(model, spec.arguments, spec.preprocess.size, spec.preprocess.channels, seed)
    return Contrast(spec, model, find_tokenizer(source), source.text_config)


def contrast_with_weights(config: ModelConfig) -> Contrast:
    """Return the image–text model a configuration names, with its weights, in evaluation mode; a run directory is one, too.

    Raises:
        ConfigError: If it is not one, or has random weights.
        CheckpointError: If weights do not fit or cannot be had.
    """
    refuse_own_weights(config)
    if is_run(config.backbone):
        return load_contrast(config.backbone) if config.slices is None else _run_over_slices(config, None).eval()
    source = clip_source(config)
    if source.weights is None and source.tag is None:
        raise ConfigError(
            f"{source.name} has random weights: give a run directory of model=clip, model.pretrained=<tag>, "
            "model.checkpoint_path, or model.backbone=hf-hub:... or local-dir:..."
        )
    preprocess, further = _image_side(config, source, None)
    objective: dict[str, Any] = {"loss": "clip", "freeze": [], "captions": None}
    learnt = {"learnt_from": cards} if (cards := run_cards(config.backbone)) else {}
    spec = clip_spec(source, source.config, preprocess, data=learnt, objective=objective, further=further)
    task = contrast_from_source(spec, source)
    return task.eval()  # open_clip's models come in training mode, and some towers have dropout


def load_contrast(run: str, checkpoint: str = "best") -> Contrast:
    """Return the image–text model of a run directory, `best` or `last`, or of a checkpoint folder, with its weights.

    ConfigError if it is a model of another kind, CheckpointError if it cannot be read.
    """
    task = load_checkpoint(find_checkpoint(Path(run).expanduser(), checkpoint))
    if task.embedder is None:
        raise ConfigError(f"{run} is no image-text model ({task.spec.family}); train one with model=clip")
    return task.embedder


def clip_source(config: ModelConfig) -> ClipSource:
    """Return the model that a configuration names; ConfigError if a setting is for other families."""
    volumes = has_volume_tower(config)
    if config.neighbours is not None or config.small_stem is not None or (config.arguments and not volumes):
        raise ConfigError("model.neighbours, small_stem and arguments are not for model=clip")
    if config.image_pretrained and config.image_tower is None:
        raise ConfigError("model.image_pretrained is for model.image_tower=<timm name>")
    if config.pretrained is True:
        raise ConfigError("model=clip takes a tag: model.pretrained=<tag>, such as laion2b_s34b_b79k")
    source = find_clip(config.backbone, config.pretrained or None, config.checkpoint_path)
    if config.image_tower is None:
        return source
    if source.weights is not None or source.tag is not None:
        raise ConfigError("model.image_tower replaces the image tower, so weights of the whole model do not fit: leave them out")
    if volumes:
        return replace(source, config={**source.config, "vision_cfg": dict(NO_IMAGE)})
    check_timm(config.image_tower, others=VOLUME_MODELS)
    own = timm_backbone.pretrained_preprocess(config.image_tower) if config.image_pretrained else {}
    size = own.get("size") or timm_backbone.own_size(config.image_tower) or _asked_size(config)
    size = size or source.config["vision_cfg"].get("image_size", 224)
    side = size if isinstance(size, int) else int(size[0]) if len(set(size)) == 1 else list(size)
    vision = {"timm_model_name": config.image_tower, "timm_pool": "", "timm_proj": "linear", "image_size": side}
    preprocess: dict[str, Any] = {**source.preprocess, "size": side}
    preprocess |= {key: own[key] for key in ("mean", "std", "interpolation") if key in own}
    return replace(source, config={**source.config, "vision_cfg": vision}, preprocess=preprocess)


def _asked_size(config: ModelConfig) -> tuple[int, ...] | None:
    """Return the (H, W) asked for, which a convolutional tower takes whatever it is; None: nobody asked."""
    asked = config.preprocess.size
    return None if asked is None else sides(asked, "model.preprocess.size", 2 if config.slices is None else 3)[-2:]


def clip_spec(
    source: ClipSource, model_config: Mapping[str, Any], preprocess: Preprocess, *, data: Mapping[str, Any],
    objective: Mapping[str, Any], further: Mapping[str, Any] | None = None
) -> ModelSpec:  # fmt: skip
    """Return the spec of an image–text model; `further` are arguments beside open_clip's, of an image side over volumes."""
    return ModelSpec(
        family="clip", task="contrast", architecture=source.name,
        arguments={"open_clip": dict(model_config), **(further or {})},
        preprocess=preprocess, objective=objective, data=data, versions=library_versions("open_clip_torch"),
    )  # fmt: skip
