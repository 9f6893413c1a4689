"""The configuration files by which timm or open_clip loads a model of ours by itself, where it can."""

from __future__ import annotations

from typing import Any

from torch import nn

from medzoo.data.samples.preprocess import Preprocess
from medzoo.models.backbones.timm_backbone import takes_image_size
from medzoo.models.build import head_of
from medzoo.models.clip.volume import VOLUME_KEYS
from medzoo.models.registry import is_timm
from medzoo.models.trained import THEIR_MODES
from medzoo.store.spec import ModelSpec

TIMM_FILE, OPEN_CLIP_FILE = "config.json", "open_clip_config.json"
OPEN_CLIP_WEIGHTS = "open_clip_model.safetensors"
"""The name under which open_clip looks for weights on the hub."""
CROPS = {"stretch": "squash", "crop": "center", "pad": "border"}
"""Our resize modes → timm's."""


def plain_configs(spec: ModelSpec, network: nn.Module) -> dict[str, dict[str, Any]]:
    """Return the configuration files of other libraries that load a model's weights as they are: file name → content.

    timm loads classifiers of its networks under a linear head; open_clip loads image–text models. Other models have none.
    """
    if any(key in spec.arguments for key in VOLUME_KEYS):  # open_clip knows flat towers alone
        return {}
    if spec.task == "contrast":
        return {OPEN_CLIP_FILE: {"model_cfg": dict(spec.arguments["open_clip"]), "preprocess_cfg": _open_clip(spec.preprocess)}}
    plain = spec.task == "classify" and head_of(spec) == "linear" and not spec.arguments.get("small_stem")
    if plain and spec.family in ("cnn", "vit") and is_timm(spec.architecture):
        return {TIMM_FILE: _timm(spec, network)}
    return {}


def _timm(spec: ModelSpec, network: nn.Module) -> dict[str, Any]:
    own: Any = network.pretrained_cfg
    preprocess, outputs = spec.preprocess, int(spec.arguments["outputs"])
    arguments = {name: value for name, value in spec.arguments.items() if name not in ("outputs", "small_stem", "neighbours")}
    if preprocess.channels != 3:
        arguments["in_chans"] = preprocess.channels
    if takes_image_size(spec.architecture):
        arguments.setdefault("img_size", list(preprocess.size))
    names = list(spec.labels.names) if spec.labels is not None and spec.labels.width == outputs else None
    return {
        "architecture": spec.architecture.partition(".")[0],
        "num_classes": outputs,
        "num_features": int(network.num_features),  # type: ignore[arg-type]
        **({"label_names": names} if names else {}),
        "model_args": arguments,
        "pretrained_cfg": {
            "num_classes": outputs,
            "input_size": [preprocess.channels, *preprocess.size],
            "fixed_input_size": bool(own.get("fixed_input_size")),
            "interpolation": preprocess.interpolation,
            "crop_pct": 1.0,
            "crop_mode": CROPS[preprocess.mode],
            "mean": list(preprocess.mean),
            "std": list(preprocess.std),
            "first_conv": own.get("first_conv"),
            "classifier": own.get("classifier"),
        },
    }


def _open_clip(preprocess: Preprocess) -> dict[str, Any]:
    height, width = preprocess.size
    return {
        "size": height if height == width else [height, width],
        "mean": list(preprocess.mean),
        "std": list(preprocess.std),
        "interpolation": preprocess.interpolation,
        "resize_mode": THEIR_MODES[preprocess.mode],
        "fill_color": preprocess.fill,
    }
