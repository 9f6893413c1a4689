"""Contrastive image–text models by open_clip: its names, `zoo:`, `hf-hub:` and `local-dir:` checkpoints, and `clip_tiny`.

A model is described by open_clip's own configuration (`model_cfg`), and, for a Hugging Face text tower, that tower's
configuration; both go into the spec, so that rebuilding reads neither the network nor the original folder.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from medzoo.data.errors import CheckpointError, ConfigError, UnknownNameError
from medzoo.data.extras import needed_for
from medzoo.data.seeding import derived_seed
from medzoo.data.text.tokenizer import Tokenizer
from medzoo.models.backbones.blueprint import Blueprint
from medzoo.models.backbones.timm_backbone import create_timm_model
from medzoo.models.catalogue.card import find_card, is_card
from medzoo.models.catalogue.fetch import card_file
from medzoo.models.catalogue.layouts import LAYOUTS
from medzoo.models.clip.tokenizer import describe_tokenizer
from medzoo.models.state_dict import is_safetensors
from medzoo.models.weights_file import LoadedWeights, find_prefix, read_weights_file, require_weights_file
from medzoo.quiet import quiet_library

CONFIG_FILE = "open_clip_config.json"
WEIGHT_FILES = ("open_clip_model.safetensors", "model.safetensors", "open_clip_pytorch_model.bin", "pytorch_model.bin")
REMOTE = ("hf-hub:", "local-dir:")
"""How names of folders with a configuration of their own begin."""
CLIP_TINY = "clip_tiny"
TINY_CONFIG: dict[str, Any] = {
    # 64-pixel images, a small convolutional tower (it learns from a few hundred images) and a text tower narrow enough that
    # CLIP's 49,408 word pieces stay below 3.2M parameters.
    "embed_dim": 128,
    "vision_cfg": {"layers": [1, 1, 1, 1], "width": 16, "head_width": 64, "image_size": 64},
    "text_cfg": {"context_length": 64, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 3},
}
TINY_PREPROCESS = {"size": 64, "mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bilinear", "resize_mode": "squash"}
PREPROCESS_KEYS = ("mean", "std", "interpolation", "resize_mode", "fill_color")
RESIZE_MODES = {"shortest": "crop", "longest": "pad", "squash": "stretch"}
"""open_clip's resize modes → ours."""


@dataclass(frozen=True)
class ClipSource:
    """A model before it is built.

    Attributes:
        name: What a spec calls it; no path of this machine.
        config: open_clip's `model_cfg`.
        text_config: The Hugging Face text tower's own configuration; None without one.
        preprocess: open_clip's `preprocess_cfg`.
        weights: A weights file; None: random.
        tag: A pretrained tag of open_clip's, to be downloaded; None: none.
        tokenizer_folder: Folder of a Hugging Face tokenizer; None: CLIP's own word pieces, or by the name in the configuration.
        layout: How the file calls its tensors, of `medzoo.models.catalogue.layouts.LAYOUTS`.
    """

    name: str
    config: Mapping[str, Any]
    text_config: Mapping[str, Any] | None = None
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    weights: Path | None = None
    tag: str | None = None
    tokenizer_folder: Path | None = None
    layout: str = "plain"


def find_clip(name: str, pretrained: str | None = None, checkpoint_path: str | None = None) -> ClipSource:
    """Find a model by name.

    Args:
        name: `clip_tiny`, a name of `open_clip.list_models()`, `zoo:name`, `hf-hub:owner/name` or `local-dir:folder`.
        pretrained: A tag of open_clip's, such as `laion2b_s34b_b79k`; for plain names alone.
        checkpoint_path: A weights file for a plain name, or the file of a name of the catalogue.

    Raises:
        UnknownNameError: If open_clip has no such model or tag.
        ConfigError: If two sources of weights are named, or a folder cannot be had.
        CheckpointError: If a folder lacks its configuration or weights.
    """
    if name.startswith(REMOTE):
        if pretrained or checkpoint_path:
            raise ConfigError(f"{name} brings its own weights; leave model.pretrained and model.checkpoint_path out")
        return _from_folder(*remote_folder(name))
    if is_card(name):
        return _from_card(name, pretrained, checkpoint_path)
    if pretrained and checkpoint_path:
        raise ConfigError("give model.pretrained=<tag> or model.checkpoint_path, not both")
    weights = None if checkpoint_path is None else require_weights_file(checkpoint_path)
    if name == CLIP_TINY:
        if pretrained:
            raise ConfigError("clip_tiny has no published weights; leave model.pretrained out")
        return ClipSource(name, deepcopy(TINY_CONFIG), preprocess=TINY_PREPROCESS, weights=weights)
    with needed_for("CLIP models"):
        import open_clip

    config = open_clip.get_model_config(name)
    if config is None:
        others = [CLIP_TINY, "zoo:...", "hf-hub:...", "local-dir:..."]
        raise UnknownNameError("CLIP model", name, [*open_clip.list_models(), *others])
    preprocess: dict[str, Any] = {}
    if pretrained:
        tags = open_clip.pretrained.list_pretrained_tags_by_model(name)
        if pretrained not in tags:
            raise UnknownNameError("pretrained tag", pretrained, tags, where=f" of {name}")
        described = open_clip.get_pretrained_cfg(name, pretrained) or {}
        preprocess = {k: described[k] for k in PREPROCESS_KEYS if k in described}
        if described.get("quick_gelu"):
            config["quick_gelu"] = True
    text = config["text_cfg"].get("hf_model_name")
    return ClipSource(name, config, _hub_text_config(text) if text else None, preprocess, weights, pretrained or None)


def remote_folder(name: str) -> tuple[Path, str]:
    """Return the folder of an `hf-hub:` or `local-dir:` name, fetched if need be, and the name without a path of this machine.

    Raises:
        CheckpointError: If it cannot be fetched.
    """
    schema, _, place = name.partition(":")
    folder = Path(place).expanduser() if schema == "local-dir" else _download(place)
    return folder, f"{schema}:{folder.name if schema == 'local-dir' else place}"


def build_clip(config: Mapping[str, Any], text_config: Mapping[str, Any] | None = None, *, seed: int = 0) -> nn.Module:
    """Build a model with random weights that are a function of `seed`; nothing is read from elsewhere.

    Args:
        config: open_clip's `model_cfg`.
        text_config: The Hugging Face text tower's configuration, where the model has one.
        seed: Of the initial weights.

    Returns:
        An open_clip `CLIP` or `CustomTextCLIP`: `encode_image`, `encode_text`, `logit_scale`, `logit_bias`.

    Raises:
        ConfigError: If open_clip refuses the configuration, or it is of a captioning model.
    """
    with needed_for("CLIP models"):
        from open_clip.model import CLIP, CustomTextCLIP

    settings = deepcopy(dict(config))
    if "multimodal_cfg" in settings:
        raise ConfigError("captioning models (CoCa) are not offered; choose a contrastive one")
    text = settings["text_cfg"]
    custom = bool(settings.pop("custom_text", False)) or "hf_model_name" in text
    settings["vision_cfg"].pop("timm_model_pretrained", None)
    with contextlib.ExitStack() as stack:
        stack.enter_context(quiet_library())
        if "hf_model_name" in text:
            if text_config is None:
                raise ConfigError(f"the configuration of the text tower {text['hf_model_name']} is missing")
            with needed_for("Hugging Face text towers"):
                import transformers  # noqa: F401  # open_clip's own error is one of many that it has for a configuration
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            (Path(folder) / "config.json").write_text(json.dumps(dict(text_config)), encoding="utf-8")
            text.update(hf_model_name=folder, hf_model_pretrained=False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(seed, "initial weights"))
            try:
                model: nn.Module = (CustomTextCLIP if custom else CLIP)(**settings)
            except (TypeError, KeyError, ValueError, RuntimeError, AssertionError) as error:
                raise ConfigError(f"open_clip cannot build this model ({type(error).__name__}: {error})") from error
    return model


def load_clip_weights(model: nn.Module, source: ClipSource) -> LoadedWeights | None:
    """Load the weights of a source into a model built from it, every tensor of it; None is returned and nothing done without any.

    A prefix before all names of the file, as training scripts write it, is stripped, and what lies under a key of `WRAPPERS` is
    taken from there, averaged weights first.

    Raises:
        CheckpointError: If they do not fit the configuration, cannot be read, or cannot be downloaded.
    """
    with needed_for("CLIP models"):
        import open_clip

    if source.tag is not None:
        try:
            described = open_clip.get_pretrained_cfg(source.name, source.tag)
            path = Path(open_clip.download_pretrained(described))
        except Exception as error:  # the hub's client has many families of errors
            raise CheckpointError(
                f"cannot fetch the weights {source.tag} of {source.name} ({type(error).__name__}: {error}); without a network "
                "use model.checkpoint_path"
            ) from error
    elif source.weights is not None:
        path = require_weights_file(source.weights)
    else:
        return None
    own = model.state_dict()
    tensors: dict[str, Tensor] = {}
    inside, readable = "", path
    # Archives of NumPy and TorchScript, which open_clip reads too, hold no state dict.
    with contextlib.suppress(CheckpointError):
        tensors, inside = read_weights_file(path)
    count, tensors = len(tensors), LAYOUTS[source.layout](tensors)
    prefix = find_prefix(tensors, own, path)
    with tempfile.TemporaryDirectory() as folder:
        # open_clip knows one of either alone, would take the plain weights before averaged ones, and reads a file as it is named.
        misnamed = bool(tensors) and is_safetensors(path) != (path.suffix == ".safetensors")
        if prefix or inside or misnamed or source.layout != "plain":
            readable = Path(folder) / "weights.safetensors"
            _save_bare(tensors, prefix, readable)
        tensors = {}  # large ones would be held twice
        try:
            with quiet_library():
                open_clip.load_checkpoint(model, str(readable), strict=True, weights_only=True)
        except Exception as error:  # torch's, safetensors' and pickle's errors
            read_weights_file(path)  # its own message, where the file cannot be read at all
            reason = " ".join(str(error).split())[:300]
            raise CheckpointError(f"{path} does not fit the model's configuration: {reason}") from error
    return LoadedWeights(path, len(own), len(own), prefix, inside, max(0, count - len(own)))


def _save_bare(tensors: Mapping[str, Tensor], prefix: str, path: Path) -> None:
    """Write the tensors that bear a prefix, without it; each with memory of its own, as the format wants."""
    bare = {key.removeprefix(prefix): tensor.contiguous().clone() for key, tensor in tensors.items() if key.startswith(prefix)}
    safetensors.torch.save_file(bare, path)


def load_timm_tower(model: nn.Module, name: str) -> None:
    """Load timm's published weights into the image tower made of a name; CheckpointError if they cannot be had or do not fit."""
    published = create_timm_model(Blueprint(name, outputs=0, pretrained=True)).state_dict()
    trunk: Any = model.visual.trunk  # type: ignore[union-attr]
    try:
        trunk.load_state_dict({key: value for key, value in published.items() if key in trunk.state_dict()})
    except RuntimeError as error:
        raise CheckpointError(
            f"timm's weights of {name} do not fit the image tower: {' '.join(str(error).split())[:200]}"
        ) from error


def find_tokenizer(source: ClipSource) -> Tokenizer:
    """Return a source's tokenizer; ConfigError if it cannot be had, or is of a kind that does not run without torch."""
    with needed_for("CLIP models"):
        from open_clip.tokenizer import HFTokenizer, SigLipTokenizer, SimpleTokenizer

    text = dict(source.config["text_cfg"])
    length, given = text.get("context_length", 77), dict(text.get("tokenizer_kwargs") or {})
    named = text.get("hf_tokenizer_name")
    try:
        found: Any
        with needed_for("Hugging Face tokenizers"):  # open_clip imports transformers when it makes one
            if named:
                place = named if source.tokenizer_folder is None else source.tokenizer_folder
                mode = text.get("tokenizer_mode")
                found = HFTokenizer(str(place), context_length=length, tokenizer_mode=mode, **given)
            elif "siglip" in source.name.lower() and ":" not in source.name:
                found = SigLipTokenizer("gemma" if "siglip2" in source.name.lower() else "c4-en", context_length=length)
            else:
                found = SimpleTokenizer(context_length=length, **given)
    except (OSError, ValueError) as error:
        raise ConfigError(f"the tokenizer of {source.name} cannot be had ({' '.join(str(error).split())[:200]})") from error
    return describe_tokenizer(found)


def encode_text(model: nn.Module, tokens: Tensor) -> Tensor:
    """Return (N, E) unit text embeddings of (N, L) tokens."""
    embedding: Tensor = model.encode_text(tokens, normalize=True)  # type: ignore[operator]
    return embedding.float()


def encode_image(model: nn.Module, images: Tensor) -> Tensor:
    """Return (N, E) unit image embeddings of normalised images."""
    embedding: Tensor = model.encode_image(images, normalize=True)  # type: ignore[operator]
    return embedding.float()


def _from_card(name: str, pretrained: str | None, checkpoint_path: str | None) -> ClipSource:
    """Return a model of the catalogue; ConfigError if the card is of no image–text model that can be built."""
    card = find_card(name)
    if "clip" not in card.families:
        raise ConfigError(f"{name} is no whole image–text model: use model={card.families[0]}")
    if pretrained:
        raise ConfigError(f"{name} brings its own weights; leave model.pretrained out")
    if checkpoint_path is None and card.hub is not None and card.file is None:  # an open_clip repository: its own files say all
        folder = _download(card.hub, card.revision)
        return replace(_from_folder(folder, name), layout=card.layout)
    with needed_for("CLIP models"):
        import open_clip

    config = {**(open_clip.get_model_config(card.architecture) or {}), **deepcopy(dict(card.open_clip))}
    weights = card_file(card, checkpoint_path)
    return ClipSource(name, config, card.text_config, card.preprocess, weights, layout=card.layout)


def _from_folder(folder: Path, name: str) -> ClipSource:
    path = folder / CONFIG_FILE
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        config = described["model_cfg"]
    except FileNotFoundError:
        raise CheckpointError(f"no {CONFIG_FILE} in {folder}; is it an open_clip checkpoint folder?") from None
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} is damaged ({type(error).__name__}: {error})") from None
    weights = next((folder / file for file in WEIGHT_FILES if (folder / file).is_file()), None)
    if weights is None:
        raise CheckpointError(f"no weights in {folder} (looked for {', '.join(WEIGHT_FILES)})")
    text = config.get("text_cfg", {}).get("hf_model_name")
    text_config = None
    if text:
        places = (folder / Path(text).name / "config.json", folder / "config.json")
        own = next((place for place in places if place.is_file()), None)
        text_config = json.loads(own.read_text(encoding="utf-8")) if own is not None else _hub_text_config(text)
    return ClipSource(name, config, text_config, described.get("preprocess_cfg", {}), weights, tokenizer_folder=folder)


def _hub_text_config(name: str) -> dict[str, Any]:
    with needed_for("Hugging Face text towers"):
        from transformers import AutoConfig

    try:
        described: dict[str, Any] = AutoConfig.from_pretrained(name).to_dict()
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the configuration of the text tower {name} cannot be had ({' '.join(str(error).split())[:160]}); put its "
            "config.json into the checkpoint's folder"
        ) from error
    return described


def _download(repository: str, revision: str | None = None) -> Path:
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.txt", "*.model", *WEIGHT_FILES]
    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=patterns))
    except Exception as error:  # the hub's client has many families of errors
        raise CheckpointError(
            f"hf-hub:{repository} cannot be fetched ({type(error).__name__}); without a network use local-dir:<folder>"
        ) from error
