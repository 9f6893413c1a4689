"""A model of several modalities that goes on from a run of its kind: all its encoders and what joins them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from medzoo.data.dataset import Dataset, data_card, readers_of, target_matrix, weight_vector
from medzoo.data.errors import ConfigError
from medzoo.losses.objective import objective_from_config
from medzoo.models.build import build_network, encoder_spec
from medzoo.models.trained import has_same_outputs, is_run
from medzoo.settings.schema import FusionConfig, LossConfig, ModelConfig
from medzoo.store.checkpoint import SPEC, WEIGHTS, find_checkpoint, read_assets, tensors_from_file
from medzoo.store.spec import ModelSpec
from medzoo.tasks.fusion import Fusion
from medzoo.tasks.setup.groups import with_groups
from medzoo.tasks.setup.source import OF_OTHER_MODELS, check_images, keep_preprocess, library_versions, refuse_settings

LAST = ("head.", "link.")
"""How the tensors behind the joined features begin."""


def is_fusion_run(name: str) -> bool:
    """Whether a backbone's name is a run of several modalities."""
    return is_run(name) and ModelSpec.read(Path(name).expanduser() / SPEC).task == "fusion"


def fusion_from_run(config: ModelConfig, loss: LossConfig, dataset: Dataset, seed: int) -> Fusion:
    """Build the task that trains a run's network further, on data of the same modalities.

    Encoders, join, preprocessing and what standardises the values are the run's; dropout and what is frozen are asked for.
    The last layer starts anew unless it answers the same question.

    Raises:
        ConfigError: If a setting would have no effect, or the data have other modalities or inputs.
        CheckpointError: If the run cannot be read, or takes other images.
    """
    assert config.fusion is not None
    assert dataset.labels is not None
    if dataset.targets:
        raise ConfigError(f"{config.backbone}: a fusion of several targets starts anew: give model.backbone a name")
    folder = find_checkpoint(Path(config.backbone).expanduser())
    start = ModelSpec.read(folder / SPEC)
    own = start.arguments
    refuse_settings(config, "a trained run", (*OF_OTHER_MODELS, "pretrained", "checkpoint_path", "arguments", "neighbours"))
    keep_preprocess(config, start)
    _check(config.fusion, own, dataset, config.backbone)
    for name, reader in readers_of(dataset).items():
        check_images(encoder_spec(start, name), replace(dataset, reader=reader, modalities={}))
    train = dataset.rows("train")
    objective = objective_from_config(loss, dataset.labels, target_matrix(train, dataset.labels), weight_vector(train))
    objective = with_groups(objective, loss, dataset)
    arguments = {**own, "outputs": objective.outputs(dataset.labels), "dropout": float(config.fusion.dropout)}
    for kind in ("encoders", "texts"):
        if kind in own:
            arguments[kind] = {name: _frozen(about, config.fusion.encoders.get(name)) for name, about in own[kind].items()}
    further = [name for name in ("monai", "open_clip_torch") if name in start.versions]
    spec = replace(
        start, arguments=arguments, labels=dataset.labels, objective=objective.to_dict(),
        data=data_card(dataset, learnt_from=[start.data]), versions=library_versions(*further),
    )  # fmt: skip
    network = build_network(spec, seed=seed)
    tensors = tensors_from_file(folder / WEIGHTS)
    if not has_same_outputs(spec, start):
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(LAST)}
    network.load_state_dict(tensors, strict=False)
    return Fusion(spec, network, Fusion.from_spec(start, read_assets(folder)).texts)


def _frozen(about: Mapping[str, Any], asked: Any) -> dict[str, Any]:
    """Return what a spec says of an encoder, frozen as the settings want it."""
    kept = {key: value for key, value in about.items() if key != "frozen"}
    return {**kept, "frozen": True} if isinstance(asked, Mapping) and asked.get("frozen") else kept


def _check(asked: FusionConfig, own: Mapping[str, Any], dataset: Dataset, run: str) -> None:
    """Raise ConfigError unless the settings and the data go with a run."""
    plain = FusionConfig()
    for key in ("join", "width"):
        if getattr(asked, key) not in (getattr(plain, key), own[key]):
            raise ConfigError(f"model.fusion.{key}={getattr(asked, key)} has no effect on a trained run, which has {own[key]}")
    if not 0 <= asked.dropout < 1:
        raise ConfigError(f"model.fusion.dropout={asked.dropout:g} is not in [0, 1)")
    names = [*own["encoders"], *own.get("texts", ())]
    for name, about in asked.encoders.items():
        if name not in names or not isinstance(about, Mapping) or set(about) - {"frozen"}:
            raise ConfigError(
                f"model.fusion.encoders.{name}: a trained run keeps its encoders ({', '.join(names)}), which can be frozen: "
                "{frozen: true}"
            )
    inputs = () if dataset.inputs is None else dataset.inputs.names
    for kind, theirs, given in (
        ("images", list(own["encoders"]), list(readers_of(dataset))),
        ("texts", list(own.get("texts", ())), list(dataset.texts)),
        ("inputs", list(own.get("inputs", {}).get("names", ())), list(inputs)),
    ):
        if theirs != given:
            ours, said = (", ".join(part) or "none" for part in (theirs, given))
            raise ConfigError(f"{run} joins the {kind} {ours}, {dataset.info.name} has {said}: name the same, in this order")
    for name, words in own.get("inputs", {}).get("categories", {}).items():
        assert dataset.inputs is not None
        if name not in dataset.inputs.categories:
            raise ConfigError(f"input {name!r} is a category of {', '.join(words)} in {run}, and a quantity here")
