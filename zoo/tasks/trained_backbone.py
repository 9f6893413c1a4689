"""The network of a trained run as the start of another: to be trained further, probed, or put under a bottleneck."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import timm
import yaml
from torch import Tensor, nn

from medzoo.config import ModelConfig, PreprocessConfig
from medzoo.data.dataset import Dataset
from medzoo.data.errors import CheckpointError, ConfigError
from medzoo.data.preprocess import Preprocess
from medzoo.data.samples import require_prepared
from medzoo.models.backbone import head_modules
from medzoo.models.bottleneck import BottleneckNetwork
from medzoo.models.clip_image import image_config
from medzoo.models.neighbours import NeighbourNetwork
from medzoo.models.ordinal import OrdinalNetwork
from medzoo.models.registry import is_timm
from medzoo.store.spec import ModelSpec
from medzoo.tasks.bottleneck import UNTRAINED
from medzoo.tasks.contrast import Contrast

ALIKE = ({"cnn", "vit", "cbm"}, {"cnn3d"}, {"slices"}, {"clip_image"})
"""Families whose backbones fit each other."""
OF_OTHER_MODELS = ("small_stem", "freeze", "image_tower", "image_pretrained", "captions")
WEIGHTS = ("pretrained", "checkpoint_path")


@dataclass(frozen=True)
class TrainedBackbone:
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
    if not name or not (Path(name).expanduser() / "spec.json").is_file():
        return False
    return os.sep in name or (is_timm(name) and not timm.is_model(name.partition(".")[0]))


def is_image_text_run(name: str) -> bool:
    """Whether a backbone's name is a run of medzoo's own image–text model."""
    return is_run(name) and ModelSpec.read(Path(name).expanduser() / "spec.json").task == "contrast"


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


def run_cards(name: str) -> list[Mapping[str, Any]]:
    """Return what the network of a run has learnt from, as `medzoo.data.card.data_card` takes it; empty for other names."""
    return [ModelSpec.read(Path(name).expanduser() / "spec.json").data] if is_run(name) else []


def trained_backbone(config: ModelConfig) -> TrainedBackbone:
    """Return the network of the run that `model.backbone` names.

    Raises:
        CheckpointError: If it cannot be read.
    """
    from medzoo.store.checkpoint import find_checkpoint
    from medzoo.tasks.load import load_checkpoint

    task = load_checkpoint(find_checkpoint(Path(config.backbone).expanduser()))
    spec = task.spec
    if isinstance(task, Contrast):
        own = {name: tensor for name, tensor in task.model.state_dict().items() if name.startswith("visual.")}
        arguments = {"open_clip": image_config(spec.arguments["open_clip"])}
        return TrainedBackbone("clip_image", spec.architecture, arguments, spec, own, {})
    network = bare_network(task.model)
    weights = {name: t for name, t in network.state_dict().items() if name not in head_names(network)}
    arguments = {k: v for k, v in spec.arguments.items() if k not in ("outputs", "neighbours")}
    whole = (network if spec.task == "bottleneck" else task.model).state_dict()
    head = {name: tensor for name, tensor in whole.items() if name.removeprefix("backbone.") not in weights}
    return TrainedBackbone(spec.family, spec.architecture, arguments, spec, weights, head)


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


def load_start(model: nn.Module, spec: ModelSpec, found: TrainedBackbone) -> None:
    """Load a trained network into a new one, in place: with its last layer where that answers the same question.

    A bottleneck's class layer always starts anew.

    Args:
        model: Of `spec`.
        spec: The new task's.
        found: The trained network.

    Raises:
        CheckpointError: If it does not fit.
    """
    backbone, weights = bare_network(model), found.weights
    if spec.preprocess.size != found.spec.preprocess.size:
        weights = resampled(backbone, found)
    load_backbone(backbone, weights, spec.architecture)
    if has_same_outputs(spec, found.spec):
        (backbone if spec.task == "bottleneck" else model).load_state_dict(dict(found.head), strict=False)


def resampled(backbone: nn.Module, found: TrainedBackbone) -> dict[str, Tensor]:
    """Return weights for images of another size: position embeddings and windows as timm resamples them, where it can."""
    resample = getattr(sys.modules[type(backbone).__module__], "checkpoint_filter_fn", None)
    if resample is None:
        return found.weights
    # With the last layer, whose name tells timm which layout a state dict has.
    whole = {**found.weights, **{name.removeprefix("backbone."): tensor for name, tensor in found.head.items()}}
    fitted: dict[str, Tensor] = resample(whole, backbone)
    return {name: tensor for name, tensor in fitted.items() if name not in head_names(backbone) and not name.startswith("link.")}


def describe_start(name: str, spec: ModelSpec) -> str:
    """Return one line on what a model took over from the run that it starts from; empty without one.

    Args:
        name: The backbone's name.
        spec: The new model's.
    """
    if not is_run(name):
        return ""
    before = ModelSpec.read(Path(name).expanduser() / "spec.json")
    if spec.task == "contrast":
        return f"starts from {name}"
    same = has_same_outputs(spec, before)
    size, earlier = ("x".join(map(str, of.preprocess.size)) for of in (spec, before))
    resized = "" if size == earlier else f", at {size} instead of {earlier} pixels"
    return f"starts from {name}, {'its last layer included' if same else 'with a new last layer'}{resized}"


def has_same_outputs(one: ModelSpec, other: ModelSpec) -> bool:
    """Whether the last layer before a network's outputs, or its concepts, answers the same question in the same units."""
    if one.task != other.task or "neighbours" in one.arguments or "neighbours" in other.arguments:
        return False
    if one.task == "bottleneck":
        trained = not {one.objective["regime"], other.objective["regime"]} & set(UNTRAINED)
        return trained and one.objective["concepts"] == other.objective["concepts"]
    asked = [spec.data.get("options", {}).get("target") for spec in (one, other)]  # columns of 0 and 1 have the same labels
    return (one.labels, asked[0]) == (other.labels, asked[1]) and all(
        one.objective.get(name) == other.objective.get(name) for name in ("loss", "mean", "std")
    )


def load_backbone(network: nn.Module, weights: Mapping[str, Tensor], name: str) -> None:
    """Load weights into a backbone, of which only the last layer may be missing.

    Raises:
        CheckpointError: If they are of another network.
    """
    expected = network.state_dict()
    misfits = [key for key, tensor in weights.items() if key not in expected or expected[key].shape != tensor.shape]
    misfits += sorted(set(expected) - set(weights) - head_names(network))
    if misfits:
        raise CheckpointError(f"the trained network does not fit {name}, or not at this size: {', '.join(misfits[:3])}")
    network.load_state_dict(dict(weights), strict=False)


def head_names(network: nn.Module) -> set[str]:
    """Return the state-dict names of what lies between a backbone's pooled features and its outputs."""
    last = {id(t) for module in head_modules(network) for t in module.state_dict(keep_vars=True).values()}
    return {name for name, tensor in network.state_dict(keep_vars=True).items() if id(tensor) in last}


def bare_network(network: nn.Module) -> nn.Module:
    """Return a trained network without what stands around its backbone."""
    if isinstance(network, BottleneckNetwork | OrdinalNetwork | NeighbourNetwork):
        return network.backbone
    return network


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
    require_prepared(getattr(dataset.reader, "prepared", None), preprocess)
    dtype = "uint8" if dataset.info.value_type == "uint8" else "float32"
    if preprocess.dtype != dtype:
        raise ConfigError(f"the trained run takes {preprocess.dtype} images, {dataset.info.name} has {dtype} ones")
    if shape is not None and (len(shape) == 4) != preprocess.is_volume:
        kinds = ("images", "volumes")
        raise CheckpointError(
            f"the trained run takes {kinds[preprocess.is_volume]}, {dataset.info.name} has {kinds[len(shape) == 4]}"
        )
