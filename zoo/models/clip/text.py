"""Text encoders: the text tower of an image–text model, or a Hugging Face encoder, and one layer behind it.

Both are described by what open_clip builds a text tower from, so that rebuilding reads neither the network nor a folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from medzoo.data.errors import CheckpointError, ConfigError
from medzoo.data.extras import needed_for
from medzoo.data.text.tokenizer import Tokenizer
from medzoo.models.clip.model import (
    CONFIG_FILE,
    REMOTE,
    WEIGHT_FILES,
    ClipSource,
    build_clip,
    find_clip,
    find_tokenizer,
    load_clip_weights,
    remote_folder,
)
from medzoo.models.weights_file import LoadedWeights, find_prefix, read_weights_file

CONTEXT = 256
"""Most tokens of a text that a Hugging Face encoder is given where nothing is said."""
_NO_IMAGE = {"layers": 1, "width": 8, "head_width": 8, "image_size": 8, "patch_size": 8}
"""Stands in for the image tower, which a text encoder does not have."""


@dataclass(frozen=True)
class TextSource:
    """A text encoder before it is built.

    Attributes:
        name: What a spec calls it; no path of this machine.
        config: The part of open_clip's `model_cfg` that a text tower needs.
        text_config: A Hugging Face encoder's own configuration; None of others.
        tokenizer: Text to token ids.
        weights: State dict of the tower; None: random.
        loaded: What file they are of; None: of none, or of a run.
    """

    name: str
    config: Mapping[str, Any]
    text_config: Mapping[str, Any] | None
    tokenizer: Tokenizer
    weights: Mapping[str, Tensor] | None = None
    loaded: LoadedWeights | None = None


class TextNetwork(nn.Module):
    """A text tower, and a linear layer over its standardised embedding. (N, L) int64 token ids → (N, K).

    Args:
        tower: Token ids → (N, E).
        width: E.
        outputs: K.
    """

    def __init__(self, tower: nn.Module, width: int, outputs: int) -> None:
        super().__init__()
        self.tower, self.norm, self.fc = tower, nn.LayerNorm(width), nn.Linear(width, outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (N, K)."""
        found: Tensor = self.fc(self.norm(self.tower(tokens).float()))
        return found


def build_text(config: Mapping[str, Any], text_config: Mapping[str, Any] | None, outputs: int, seed: int) -> TextNetwork:
    """Build the network with random weights; `config` and `text_config` are those of a `TextSource`."""
    model = build_clip({**config, "vision_cfg": _NO_IMAGE, "custom_text": True}, text_config, seed=seed)
    tower: Any = model.text
    return TextNetwork(tower, int(config["embed_dim"]), outputs)


def find_text(name: str, pretrained: str | None, checkpoint_path: str | None, context_length: int | None) -> TextSource:
    """Find a text encoder by name.

    Args:
        name: A name of `medzoo.models.clip.model.find_clip`; or `hf-hub:` or `local-dir:` of a Hugging Face encoder, a folder
            with `config.json`, weights and tokenizer.
        pretrained: A tag of open_clip's.
        checkpoint_path: A weights file of the whole image–text model.
        context_length: Most tokens of a text, of a Hugging Face encoder; None: `CONTEXT`, or as many as it takes.

    Raises:
        ConfigError: If settings do not go together, or it is of a kind that open_clip does not run.
        CheckpointError: If configuration or weights cannot be had, or do not fit.
    """
    if name.startswith(REMOTE) and not pretrained and not checkpoint_path:
        folder, called = remote_folder(name)
        if not (folder / CONFIG_FILE).is_file() and (folder / "config.json").is_file():
            return _hugging_face(folder, called, context_length)
    if context_length is not None:
        raise ConfigError(
            f"arguments.context_length is for Hugging Face encoders, and {name} has a length of its own; leave it out"
        )
    source = find_clip(name, pretrained, checkpoint_path)
    config = text_config_of(source.config)
    if source.weights is None and source.tag is None:
        return TextSource(source.name, config, source.text_config, find_tokenizer(source))
    model = build_clip(source.config, source.text_config)
    loaded = load_clip_weights(model, source)
    return TextSource(source.name, config, source.text_config, find_tokenizer(source), text_state(model.state_dict()), loaded)


def text_config_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of open_clip's `model_cfg` that the text tower needs, without a path of this machine."""
    kept = {key: deepcopy(config[key]) for key in ("embed_dim", "text_cfg", "quick_gelu") if key in config}
    for key in ("hf_model_name", "hf_tokenizer_name"):
        if kept["text_cfg"].get(key):
            kept["text_cfg"][key] = Path(kept["text_cfg"][key]).name
    return kept


def text_state(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the text tower's part of an image–text model's state dict, by the names that it has in a tower of its own."""
    with needed_for("CLIP models"):
        from open_clip.model import convert_to_custom_text_state_dict

    apart = convert_to_custom_text_state_dict(dict(tensors))
    return {name.removeprefix("text."): tensor for name, tensor in apart.items() if name.startswith("text.")}


def _hugging_face(folder: Path, name: str, context_length: int | None) -> TextSource:
    """Return an encoder of transformers', the mean over whose tokens is the embedding."""
    with needed_for("Hugging Face text encoders"):
        from open_clip.hf_configs import arch_dict

    path = folder / "config.json"
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        kind = described["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged ({type(error).__name__}: {error})") from None
    if kind not in arch_dict:
        raise ConfigError(f"{name} is a {kind}, and text encoders are {', '.join(arch_dict)}; choose one of these")
    names = arch_dict[kind]["config_names"]
    most = int(described.get(names["context_length"], CONTEXT + 2)) - 2  # two positions of RoBERTa's are no token's
    if context_length is not None and not 4 <= context_length <= most:
        raise ConfigError(f"arguments.context_length={context_length} is not from 4 to {most}, the most that {name} takes")
    text = {
        "hf_model_name": folder.name, "hf_tokenizer_name": folder.name, "hf_proj_type": None, "hf_pooler_type": "mean_pooler",
        "context_length": context_length or min(CONTEXT, most),
    }  # fmt: skip
    config = {"embed_dim": int(described[names["width"]]), "text_cfg": text}
    own = {key: value for key, value in described.items() if not key.startswith("_")}  # where it once lay, among others
    tokenizer = find_tokenizer(ClipSource(name, config, tokenizer_folder=folder))
    file = next((folder / one for one in WEIGHT_FILES if (folder / one).is_file()), None)
    if file is None:
        raise CheckpointError(f"no weights in {folder} (looked for {', '.join(WEIGHT_FILES)})")
    weights, loaded = _encoder_weights(build_text(config, own, 1, 0), file, name)
    return TextSource(name, config, own, tokenizer, weights, loaded)


def _encoder_weights(network: TextNetwork, file: Path, name: str) -> tuple[dict[str, Tensor], LoadedWeights]:
    """Return a file's weights of a Hugging Face encoder by the names of its tower; CheckpointError unless it has all of them."""
    tower: Any = network.tower
    own: dict[str, Tensor] = tower.transformer.state_dict()
    tensors, inside = read_weights_file(file)
    prefix = find_prefix(tensors, own, file)
    lacking = [key for key in own if prefix + key not in tensors or tensors[prefix + key].shape != own[key].shape]
    if lacking:
        raise CheckpointError(
            f"{file} does not fit {name}: {len(lacking)} of its {len(own)} tensors are not in it, or have another shape "
            f"({', '.join(lacking[:3])})"
        )
    taken = {f"transformer.{key}": tensors[prefix + key] for key in own}
    return taken, LoadedWeights(file, len(own), len(own), prefix, inside, len(tensors) - len(own))
