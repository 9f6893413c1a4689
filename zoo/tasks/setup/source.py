"""Where a network comes from: a name, with or without weights of others, the catalogue, an image–text model, a trained run."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from medzoo.data.dataset import Dataset, data_card, require_rows
from medzoo.data.errors import CheckpointError, ConfigError
from medzoo.data.labels import ConceptSpace
from medzoo.data.samples.prepared import require_prepared
from medzoo.data.samples.preprocess import Preprocess, sides
from medzoo.models import trained
from medzoo.models.backbones import timm_backbone
from medzoo.models.build import build_network
from medzoo.models.catalogue.card import find_card, is_card
from medzoo.models.catalogue.fetch import card_file
from medzoo.models.catalogue.layouts import LAYOUTS
from medzoo.models.clip.image import image_config
from medzoo.models.packaged import WORD, find_packaged, load_packaged, packaged_file
from medzoo.models.registry import check_name, is_timm
from medzoo.models.timm_hub import find_timm_hub, is_hub
from medzoo.models.weights_file import load_tensors, load_weights_file, read_weights_file, require_weights_file
from medzoo.settings.schema import ModelConfig, PreprocessConfig
from medzoo.store.spec import ModelSpec
from medzoo.tasks.setup.preprocess import choose_preprocess, clip_preprocess

ALIKE = ({"cnn", "vit", "cbm"}, {"cnn3d"}, {"slices"}, {"clip_image"}, {"features"})
"""Families whose backbones fit each other."""
OF_OTHER_MODELS = ("small_stem", "freeze", "image_tower", "image_pretrained", "captions")
WEIGHTS = ("pretrained", "checkpoint_path")


@dataclass(frozen=True)
class Source:
    """A network before it is built.

    Attributes:
        architecture: Its name within the family.
        arguments: Of the architecture, but for the number of outputs.
        preprocess: How images become its input.
        cards: Of the data that it has learnt from before.
        pretrained: Whether the published weights of its name are fetched.
        fill: Puts its weights into the network that was built, by the network and its spec, and returns what the spec is to say
            of the file they came from, or None; None: nothing is to be put in.
    """

    architecture: str
    arguments: dict[str, Any]
    preprocess: Preprocess
    cards: Sequence[Mapping[str, Any]] = ()
    pretrained: bool = False
    fill: Callable[[nn.Module, ModelSpec], Mapping[str, Any] | None] | None = None


def refuse_own_weights(config: ModelConfig) -> None:
    """Refuse a checkpoint of medzoo's as a plain weights file, which does not say what it has learnt from.

    Raises:
        ConfigError: With the directory to give instead.
    """
    path = config.checkpoint_path
    if path is not None and trained.is_run(f"{Path(path).expanduser().absolute().parent}{os.sep}"):
        raise ConfigError(
            f"model.checkpoint_path={path} is a checkpoint of medzoo's: give its run as model.backbone={Path(path).parent}"
        )


def find_source(config: ModelConfig, dataset: Dataset) -> Source:
    """Return where the network that a configuration names comes from: a run, an image–text model, or a name.

    Raises:
        ConfigError: If settings do not go together, or with the dataset.
        UnknownNameError: If a name is not known.
        CheckpointError: If a run or weights cannot be read.
    """
    image_text = trained.is_image_text_run(config.backbone)
    if image_text and config.family != "clip_image":
        raise ConfigError(f"{config.backbone} holds an image–text model: use model=clip_image, or model=clip to train it further")
    if trained.is_run(config.backbone) and not image_text:
        return from_run(config, dataset)
    if config.family == "clip_image":
        return from_image_tower(config)
    if is_card(config.backbone):
        return from_card(config, dataset)
    return from_hub(config, dataset) if is_hub(config.backbone) else from_name(config, dataset)


def from_name(config: ModelConfig, dataset: Dataset) -> Source:
    """Return an architecture by name: with random weights, those published for it, a package's, or those of a file."""
    if not isinstance(config.pretrained, bool) and config.pretrained != WORD:
        raise ConfigError(
            f"model.pretrained={config.pretrained!r} is not true, false or {WORD}; a tag goes into the backbone's name"
        )
    check_name(config.backbone, config.family)
    if config.pretrained and config.checkpoint_path is not None:
        raise ConfigError(f"give model.pretrained={str(config.pretrained).lower()} or model.checkpoint_path, not both")
    if config.pretrained == WORD:
        packaged_file(find_packaged(config.backbone))  # before a network is made
    preprocess = choose_preprocess(config, dataset)
    arguments = {**config.arguments, "small_stem": _small_stem(config, preprocess)}
    if isinstance(config.pretrained, bool) and config.checkpoint_path is None:
        return Source(config.backbone, arguments, preprocess, pretrained=config.pretrained)
    if arguments["small_stem"]:
        raise ConfigError("model.small_stem=true would throw away the first layer of the weights; set it to false")
    fill = _fill_from_package if config.checkpoint_path is None else _fill_from_file(config.checkpoint_path)
    return Source(config.backbone, arguments, preprocess, fill=fill)


def from_card(config: ModelConfig, dataset: Dataset) -> Source:
    """Return published weights of the catalogue: its architecture and preprocessing, and what it has learnt from.

    Raises:
        ConfigError: If it is of another family, or settings contradict it.
        CheckpointError: If its file cannot be had.
    """
    card = find_card(config.backbone)
    if not card.suits(config.family):
        raise ConfigError(f"{config.backbone} is for model={' or '.join(card.families)}, not {config.family}")
    refuse_settings(config, config.backbone, ("pretrained", "small_stem"))
    plain = _own_arguments(config.family)
    asked = {name: value for name, value in config.arguments.items() if name not in plain or value != plain[name]}
    for name, value in asked.items():
        if card.arguments.get(name, value) != value:
            raise ConfigError(
                f"model.arguments.{name}={value!r} is not that of {config.backbone} ({card.arguments[name]!r}): leave it out"
            )
    file = card_file(card, config.checkpoint_path)
    arguments = {**asked, **card.arguments}  # not the family's own: a card says all that its network needs
    about = {"name": config.backbone, "licence": card.licence, **({"revision": card.revision} if card.revision else {})}
    own = {**card.preprocess, "channels": card.channels}
    source = _published(config, dataset, card.architecture, arguments, own, file, card.layout, about)
    return replace(source, cards=card.learnt_cards())


def from_hub(config: ModelConfig, dataset: Dataset) -> Source:
    """Return a model of timm's with its own weights, from a repository or a folder; errors as for `from_card`."""
    refuse_settings(config, config.backbone, ("pretrained", "small_stem"))
    if config.family not in ALIKE[0] | ALIKE[2]:
        raise ConfigError(f"{config.backbone}: models of the hub by their configuration are timm's, for model=cnn, vit or slices")
    found = find_timm_hub(config.backbone, config.checkpoint_path)
    check_name(found.architecture, config.family)
    arguments = {**config.arguments, **found.arguments}
    return _published(
        config, dataset, found.architecture, arguments, found.preprocess, found.weights, "plain", {"name": found.name}
    )


def _published(
    config: ModelConfig, dataset: Dataset, architecture: str, arguments: Mapping[str, Any], own: Mapping[str, Any], file: Path,
    layout: str, about: Mapping[str, Any]
) -> Source:  # fmt: skip
    """Return an architecture with the weights of a file, its tensors named by a layout; `about` goes into the spec."""
    size = own.get("size")
    own = {**own, **({"size": (size, size)} if isinstance(size, int) else {})}
    preprocess = choose_preprocess(replace(config, backbone=architecture, pretrained=False, checkpoint_path=None), dataset, own)

    def fill(network: nn.Module, spec: ModelSpec) -> Mapping[str, Any]:
        tensors, inside = read_weights_file(file)
        loaded = load_tensors(trained.bare_network(network), LAYOUTS[layout](tensors), file, spec.architecture, inside)
        return {**loaded.card(), **about}

    return Source(architecture, dict(arguments), preprocess, fill=fill)


def _fill_from_package(network: nn.Module, spec: ModelSpec) -> Mapping[str, Any]:
    return load_packaged(trained.bare_network(network), spec.architecture)


def _fill_from_file(path: str) -> Callable[[nn.Module, ModelSpec], Mapping[str, Any]]:
    file = require_weights_file(path)

    def fill(network: nn.Module, spec: ModelSpec) -> Mapping[str, Any]:
        return load_weights_file(trained.bare_network(network), file, spec.architecture).card()

    return fill


def from_image_tower(config: ModelConfig) -> Source:
    """Return the image tower of an image–text model: open_clip's by name, a folder's, or a run's."""
    source, tower, loaded = trained.find_image_tower(config.backbone, config.pretrained or None, config.checkpoint_path)

    def fill(network: nn.Module, spec: ModelSpec) -> Mapping[str, Any] | None:
        backbone: Any = trained.bare_network(network)
        backbone.visual.load_state_dict(tower)
        return None if loaded is None else loaded.card()

    arguments = {"open_clip": image_config(source.config)}
    return Source(source.name, arguments, clip_preprocess(source, config), trained.run_cards(config.backbone), fill=fill)


def from_run(config: ModelConfig, dataset: Dataset) -> Source:
    """Return a trained run's network to go on with; its preprocessing is the run's, but for another size asked for.

    Raises:
        ConfigError: If the run is of another family, a setting would have no effect, or its images are not the dataset's kind.
        CheckpointError: If it cannot be read.
    """
    start = trained.read_start(config.backbone)
    if not any({config.family, start.family} <= group for group in ALIKE):
        raise ConfigError(f"{config.backbone} holds a network of family {start.family}: use model={start.family}")
    refuse_settings(config, "a trained run", (*OF_OTHER_MODELS, *WEIGHTS))
    plain = _own_arguments(config.family)
    for name, value in config.arguments.items():
        if name in plain and value == plain[name]:  # nobody asked for it
            continue
        if start.arguments.get(name, value) != value or name not in start.arguments:
            kept = f"the run has {start.arguments[name]!r}" if name in start.arguments else "leave it out"
            raise ConfigError(f"model.arguments.{name}={value!r} has no effect on a trained run, which keeps its own: {kept}")
    keep_preprocess(config, start.spec, but=() if config.family == "clip_image" else ("size",))
    own, size = start.spec.preprocess, config.preprocess.size
    if size is not None:
        asked = sides(size, "model.preprocess.size", len(own.size))
        own = replace(own, size=(*own.size[: len(own.size) - len(asked)], *asked))  # [H, W] of a volume keeps its depth
    check_images(start.spec, dataset, own)
    fill = partial(trained.fill_from_start, start=start)
    return Source(start.architecture, start.arguments, own, trained.run_cards(config.backbone), fill=fill)


def build_source(
    source: Source, config: ModelConfig, dataset: Dataset, seed: int, *, task: str, objective: Mapping[str, Any],
    arguments: Mapping[str, Any], concepts: ConceptSpace | None = None
) -> tuple[ModelSpec, nn.Module]:  # fmt: skip
    """Return the spec of a task on a source's network, frozen from here on, and the network with its first weights.

    Args:
        source: Where the network comes from.
        config: Its family.
        dataset: What it is trained on; with labels.
        seed: Of what is random in it.
        task: Name of the task.
        objective: What it is trained for, in the task's own form.
        arguments: Of the network beside the source's: `outputs`, and a memory of `neighbours`.
        concepts: Of a bottleneck.

    Raises:
        ConfigError: If the network cannot take images of the size asked for.
        CheckpointError: If weights do not fit.
    """
    preprocess, targets = source.preprocess, dataset.targets if objective.get("targets") else {}
    spec = ModelSpec(
        family=config.family, task=task, architecture=source.architecture, arguments={**source.arguments, **arguments},
        preprocess=preprocess, labels=None if targets else dataset.labels, targets=targets, concepts=concepts,
        objective=objective,
        data=data_card(dataset, learnt_from=source.cards),
        versions=library_versions(*(("monai",) if config.family == "cnn3d" else ())),
    )  # fmt: skip
    network = build_network(spec, seed=seed, pretrained=source.pretrained)
    if source.fill is not None and (card := source.fill(network, spec)):
        spec = replace(spec, initial_weights=card)
    timm_backbone.check_input(network, preprocess.channels, preprocess.size)
    return spec, network


def library_versions(*further: str) -> dict[str, str]:
    """Return what a spec says of the libraries it was made with: name → version."""
    return {name: metadata.version(name) for name in ("medzoo", "torch", "timm", "numpy", *further)}


def _small_stem(config: ModelConfig, preprocess: Preprocess) -> bool:
    if config.small_stem is not None:
        return config.small_stem
    if config.pretrained or config.checkpoint_path is not None or not is_timm(config.backbone):
        return False
    in_plane = max(preprocess.size[-2:])
    return in_plane <= timm_backbone.SMALL_INPUT and timm_backbone.is_resnet(config.backbone)


def _own_arguments(family: str) -> dict[str, Any]:
    """Return the arguments that a family's configuration file gives without being asked."""
    file = files("medzoo.conf") / "model" / f"{family}.yaml"
    return dict(yaml.safe_load(file.read_text(encoding="utf-8")).get("arguments") or {})


def keep_preprocess(config: ModelConfig, spec: ModelSpec, but: Sequence[str] = ()) -> None:
    """Refuse other preprocessing than a trained network's spec has; `but` names what may differ, and defaults ask for nothing.

    ConfigError names the first that differs.
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
    """Refuse settings that a network which comes ready would ignore: ConfigError names the first."""
    plain = ModelConfig()
    for name in names:
        if getattr(config, name) != getattr(plain, name) and not (name == "pretrained" and config.pretrained is None):
            raise ConfigError(f"model.{name} has no effect on {what}: leave it out")


def check_images(spec: ModelSpec, dataset: Dataset, preprocess: Preprocess | None = None) -> None:
    """Check that a trained network takes a dataset's images, as `preprocess` makes them its input (None: as in its spec).

    ConfigError if they are of another type, or prepared otherwise; CheckpointError if one takes volumes, the other has images.
    """
    require_rows(spec.data, dataset)
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
