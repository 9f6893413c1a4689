"""timm's models on the Hugging Face hub and in folders of the same form: `hf-hub:owner/name[@commit]`, `local-dir:folder`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medzoo.data.errors import CheckpointError
from medzoo.models.catalogue.fetch import fetch_from_hub
from medzoo.models.weights_file import require_weights_file

SCHEMES = ("hf-hub:", "local-dir:")
"""How such names begin; open_clip's models have the same ones."""
CONFIG_FILE = "config.json"
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class TimmHub:
    """A model of timm's with its own weights, before it is built.

    Attributes:
        name: What a spec calls it; no path of this machine.
        architecture: Of timm.
        arguments: Of it.
        weights: The file.
        preprocess: `size`, `mean`, `std`, `interpolation`, as far as its configuration says.
    """

    name: str
    architecture: str
    arguments: Mapping[str, Any]
    weights: Path
    preprocess: Mapping[str, Any] = field(default_factory=dict)


def is_hub(name: str) -> bool:
    """Whether a backbone's name is a repository or a folder of timm's form."""
    return name.startswith(SCHEMES)


def find_timm_hub(name: str, checkpoint_path: str | None = None) -> TimmHub:
    """Read a model's configuration and find its weights.

    Args:
        name: `hf-hub:owner/name`, with `@commit` or without, or `local-dir:folder`.
        checkpoint_path: A weights file of this machine in place of its own.

    Raises:
        CheckpointError: If they cannot be had, or it is no model of timm's.
    """
    scheme, _, place = name.partition(":")
    if scheme == "local-dir":
        folder = Path(place).expanduser()
        config = folder / CONFIG_FILE
        found = next((folder / file for file in WEIGHT_FILES if (folder / file).is_file()), None)
        if not config.is_file():
            raise CheckpointError(f"no {CONFIG_FILE} in {folder}; is it a folder of a timm model?")
        if found is None and checkpoint_path is None:
            raise CheckpointError(f"no weights in {folder} (looked for {', '.join(WEIGHT_FILES)})")
        weights = require_weights_file(checkpoint_path or str(found))
        return _described(f"local-dir:{folder.name}", config, weights)
    repository, _, revision = place.partition("@")
    config = fetch_from_hub(repository, CONFIG_FILE, revision or None)
    if checkpoint_path is not None:
        return _described(name, config, require_weights_file(checkpoint_path))
    try:
        weights = fetch_from_hub(repository, WEIGHT_FILES[0], revision or None)
    except CheckpointError:  # older repositories have the other one alone
        weights = fetch_from_hub(repository, WEIGHT_FILES[1], revision or None)
    return _described(name, config, require_weights_file(weights))


def _described(name: str, config: Path, weights: Path) -> TimmHub:
    try:
        content = json.loads(config.read_text(encoding="utf-8"))
        given = content.get("pretrained_cfg", content)  # one level in files of before 2023
        architecture = content["architecture"]
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{config} is of no timm model ({type(error).__name__}: {error})") from error
    preprocess: dict[str, Any] = {key: given[key] for key in ("mean", "std") if given.get(key)}
    if given.get("input_size"):
        preprocess["size"] = tuple(int(side) for side in given["input_size"][1:])
    if given.get("interpolation") in ("bilinear", "bicubic"):
        preprocess["interpolation"] = given["interpolation"]
    arguments = {key: value for key, value in (content.get("model_args") or {}).items() if key not in ("num_classes", "in_chans")}
    return TimmHub(name, str(architecture), arguments, weights, preprocess)
