"""The network of a trained run as another's start: its spec and tensors, read without a task, and how they are taken over."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
from torch import Tensor, nn

from medzoo.data.errors import CheckpointError, ConfigError
from medzoo.data.text.tokenizer import Tokenizer
from medzoo.models.backbones.contract import Around
from medzoo.models.build import build_network, head_of
from medzoo.models.catalogue.card import find_card, is_card
from medzoo.models.clip.image import image_config
from medzoo.models.clip.model import REMOTE, RESIZE_MODES, ClipSource, build_clip, find_clip, load_clip_weights
from medzoo.models.clip.text import TextSource, find_text, text_config_of, text_state
from medzoo.models.clip.tokenizer import TEXT_CONFIG_FILE, TOKENIZER_FILE
from medzoo.models.clip.volume import refuse_volumes
from medzoo.models.heads.bottleneck import FROZEN
from medzoo.models.registry import is_timm
from medzoo.models.weights_file import LoadedWeights, describe_loaded, head_names, load_backbone, timm_filter
from medzoo.store.checkpoint import SPEC, WEIGHTS, find_checkpoint, load_weights, read_assets, tensors_from_file
from medzoo.store.spec import ModelSpec

THEIR_MODES = {ours: theirs for theirs, ours in RESIZE_MODES.items()}
"""Our resize modes → open_clip's."""


@dataclass(frozen=True)
class Start:
    """A network that has been trained already.

    Attributes:
        family: Of the registry.
        architecture: Its name there.
        arguments: Of the architecture, but for the number of outputs.
        spec: The spec it was trained by.
        weights: State dict of the backbone, without its last layer but for concept vectors.
        head: State dict of the last layer, with an ordinal link by the names of the network around the backbone; of a bottleneck
            the concepts'.
    """

    family: str
    architecture: str
    arguments: dict[str, Any]
    spec: ModelSpec
    weights: dict[str, Tensor]
    head: Mapping[str, Tensor]


def is_run(name: str) -> bool:
    """Whether a backbone's name is a run directory, or a checkpoint folder; a known architecture's plain name is not."""
    if not name or not _spec_file(name).is_file():
        return False
    return os.sep in name or (is_timm(name) and not timm.is_model(name.partition(".")[0]))


def is_image_text_run(name: str) -> bool:
    """Whether a backbone's name is a run of medzoo's own image–text model."""
    return is_run(name) and ModelSpec.read(_spec_file(name)).task == "contrast"


def run_cards(name: str) -> list[Mapping[str, Any]]:
    """Return what the network of a run, or of published weights, has learnt from, as `medzoo.data.dataset.data_card` takes it.

    Empty for other names.
    """
    if is_card(name):
        return [*find_card(name).learnt_cards()]
    return [ModelSpec.read(_spec_file(name)).data] if is_run(name) else []


def require_finished(network: nn.Module, folder: Path) -> None:
    """Refuse a checkpoint whose training was interrupted before its last step: CheckpointError with the verb that goes on."""
    if isinstance(network, Around) and network.unfinished is not None:
        raise CheckpointError(
            f"{folder}: training was interrupted before its last step, which {network.unfinished}; go on with "
            "medzoo train resume=<run directory>"
        )


def read_start(run: str | Path) -> Start:
    """Return the network of a run directory, or of a checkpoint folder.

    Raises:
        CheckpointError: If it cannot be read, or its training was interrupted before its last step.
    """
    folder = find_checkpoint(Path(run).expanduser())
    spec, tensors = ModelSpec.read(folder / SPEC), tensors_from_file(folder / WEIGHTS)
    if spec.task == "contrast":
        refuse_volumes(spec.arguments, str(run), "what starts from it")
        own = {name: tensor for name, tensor in tensors.items() if name.startswith("visual.")}
        return Start("clip_image", spec.architecture, {"open_clip": image_config(spec.arguments["open_clip"])}, spec, own, {})
    if spec.task == "ensemble":
        raise CheckpointError(f"{run} is an ensemble and no one network; give the directory of one of its members")
    network = build_network(spec)
    load_weights(network, tensors, folder)
    require_finished(network, folder)
    backbone = bare_network(network)
    weights = {name: t for name, t in backbone.state_dict().items() if name not in head_names(backbone)}
    arguments = {k: v for k, v in spec.arguments.items() if k not in ("outputs", "neighbours")}
    whole = (backbone if head_of(spec) == "bottleneck" else network).state_dict()
    head = {name: tensor for name, tensor in whole.items() if name.removeprefix("backbone.") not in weights}
    return Start(spec.family, spec.architecture, arguments, spec, weights, head)


def fill_from_start(network: nn.Module, spec: ModelSpec, start: Start) -> None:
    """Load a trained network into a new one of `spec`, in place: with its last layer where that answers the same question.

    A bottleneck's class layer always starts anew. CheckpointError if it does not fit.
    """
    backbone, weights = bare_network(network), start.weights
    if spec.preprocess.size != start.spec.preprocess.size:
        weights = resampled(backbone, start)
    load_backbone(backbone, weights, spec.architecture)
    if has_same_outputs(spec, start.spec):
        (backbone if head_of(spec) == "bottleneck" else network).load_state_dict(dict(start.head), strict=False)


def resampled(backbone: nn.Module, start: Start) -> dict[str, Tensor]:
    """Return weights for images of another size: position embeddings and windows as timm resamples them, where it can."""
    resample = timm_filter(backbone)
    if resample is None:
        return start.weights
    # With the last layer, whose name tells timm which layout a state dict has.
    whole = {**start.weights, **{name.removeprefix("backbone."): tensor for name, tensor in start.head.items()}}
    fitted: dict[str, Tensor] = resample(whole, backbone)
    return {name: tensor for name, tensor in fitted.items() if name not in head_names(backbone) and not name.startswith("link.")}


def describe_start(name: str, spec: ModelSpec) -> str:
    """Return one line on what a model takes over from the run of that name, or weights file, it starts from; else empty."""
    if not is_run(name):
        return describe_loaded(spec.initial_weights) if spec.initial_weights else ""
    before = ModelSpec.read(_spec_file(name))
    if spec.labels is None:
        return f"starts from {name}"
    same = has_same_outputs(spec, before)
    size, earlier = ("x".join(map(str, of.preprocess.size)) for of in (spec, before))
    resized = "" if size == earlier else f", at {size} instead of {earlier} pixels"
    return f"starts from {name}, {'its last layer included' if same else 'with a new last layer'}{resized}"


def has_same_outputs(one: ModelSpec, other: ModelSpec) -> bool:
    """Whether the last layer before a network's outputs, or its concepts, answers the same question in the same units."""
    if one.task != other.task or "neighbours" in (head_of(one), head_of(other)):
        return False
    if head_of(one) == "bottleneck":
        if "embedding" in (
            one.objective.get("kind"),
            other.objective.get("kind"),
        ):  # whose last layer makes no concept of its own
            return False
        trained = not {one.objective["regime"], other.objective["regime"]} & set(FROZEN)
        return trained and one.objective["concepts"] == other.objective["concepts"]
    if one.arguments.get("bag", {}).get("views") != other.arguments.get("bag", {}).get("views"):
        return False
    asked = [spec.data.get("options", {}).get("target") for spec in (one, other)]  # columns of 0 and 1 have the same labels
    return (one.labels, list(one.targets.items()), asked[0]) == (other.labels, list(other.targets.items()), asked[1]) and all(
        one.objective.get(name) == other.objective.get(name) for name in ("loss", "mean", "std")
    )


def bare_network(network: nn.Module) -> nn.Module:
    """Return a trained network without the head around its backbone."""
    return network.backbone if isinstance(network, Around) and network.is_head else network


def find_image_tower(
    name: str, pretrained: str | None, checkpoint_path: str | None
) -> tuple[ClipSource, dict[str, Tensor], LoadedWeights | None]:
    """Return a source, the weights of its image tower by the names that they have in the tower, and what file they are of.

    Args:
        name: As for `medzoo.models.clip.model.find_clip`, or a run directory of medzoo's own image–text model.
        pretrained: A tag of open_clip's.
        checkpoint_path: A weights file.

    Raises:
        ConfigError: If no model is named.
        CheckpointError: If a run is of another model, or weights do not fit.
    """
    if not name:
        raise ConfigError("model=clip_image needs model.backbone=<open_clip name, zoo:..., hf-hub:..., local-dir:... or a run>")
    if _spec_file(name).is_file():
        start = read_start(name)
        if start.spec.task != "contrast":
            raise CheckpointError(f"{name} is no image–text model ({start.spec.family}); train one with model=clip")
        own = start.spec.preprocess
        preprocess = {
            "size": list(own.size), "mean": own.mean, "std": own.std, "interpolation": own.interpolation,
            "resize_mode": THEIR_MODES[own.mode], "fill_color": own.fill,
        }  # fmt: skip
        tower = {key.removeprefix("visual."): tensor for key, tensor in start.weights.items()}
        return ClipSource(start.architecture, start.spec.arguments["open_clip"], preprocess=preprocess), tower, None
    source = find_clip(name, pretrained, checkpoint_path)
    model = build_clip(source.config, source.text_config)
    loaded = load_clip_weights(model, source)
    visual: Any = model.visual
    return source, visual.state_dict(), loaded


def find_text_tower(name: str, pretrained: str | None, checkpoint_path: str | None, context_length: int | None) -> TextSource:
    """Return a text encoder: of a run directory of medzoo's own image–text model, or as `medzoo.models.clip.text.find_text`.

    Raises:
        ConfigError: If there is no such run, or a setting would have no effect on it.
        CheckpointError: If the run is of another model, or damaged.
    """
    if not is_run(name):
        if os.sep in name and not name.startswith(REMOTE):
            raise ConfigError(f"{name}: there is no run directory; train model=clip first, or give a model's name")
        return find_text(name, pretrained, checkpoint_path, context_length)
    if pretrained or checkpoint_path or context_length is not None:
        raise ConfigError(f"{name} is a trained run: leave pretrained, checkpoint_path and arguments out")
    folder = find_checkpoint(Path(name).expanduser())
    spec, assets = ModelSpec.read(folder / SPEC), read_assets(folder)
    if spec.task != "contrast":
        raise CheckpointError(f"{name} is no image–text model ({spec.family}), so that it has no text encoder; train model=clip")
    try:
        tokenizer = Tokenizer.from_dict(json.loads(assets[TOKENIZER_FILE]))
        text_config = json.loads(assets[TEXT_CONFIG_FILE]) if TEXT_CONFIG_FILE in assets else None
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"the assets of {folder} are missing or damaged ({type(error).__name__}: {error})") from None
    weights = text_state(tensors_from_file(folder / WEIGHTS))
    return TextSource(spec.architecture, text_config_of(spec.arguments["open_clip"]), text_config, tokenizer, weights)


def _spec_file(name: str) -> Path:
    return Path(name).expanduser() / SPEC
