"""The text encoders of a model of several modalities, from a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from medzoo.data.dataset import Dataset
from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.images.modalities import written
from medzoo.data.seeding import derived_seed
from medzoo.data.text.tokenizer import Tokenizer
from medzoo.models.clip.model import CLIP_TINY
from medzoo.models.clip.text import TextNetwork, build_text
from medzoo.models.trained import find_text_tower, run_cards

KEYS = ("backbone", "pretrained", "checkpoint_path", "arguments", "frozen")


@dataclass(frozen=True)
class Texts:
    """What a model reads of a sample's texts, by name and in order.

    Attributes:
        about: What the spec says of each encoder.
        encoders: The networks, with their first weights.
        tokenizers: What makes their tokens.
        cards: Of the data that they have learnt from before.
    """

    about: dict[str, dict[str, Any]] = field(default_factory=dict)
    encoders: dict[str, TextNetwork] = field(default_factory=dict)
    tokenizers: dict[str, Tokenizer] = field(default_factory=dict)
    cards: list[Mapping[str, Any]] = field(default_factory=list)


def texts_from_config(dataset: Dataset, asked: Mapping[str, Mapping[str, Any]], width: int, seed: int) -> Texts:
    """Build the encoder of each of a dataset's texts.

    Args:
        dataset: With `texts`.
        asked: Text → what is said of its encoder; `clip_tiny` from scratch where nothing is.
        width: Of a token.
        seed: Of what is random in them.

    Raises:
        UnknownNameError: If a key, or a model, is not known.
        ConfigError: If settings do not go together, or no training sample has a text.
        CheckpointError: If weights cannot be had, or do not fit.
    """
    found = Texts()
    for name in dataset.texts:
        own = asked.get(name, {})
        for key in own:
            if key not in KEYS:
                raise UnknownNameError("key", str(key), KEYS, where=f" of model.fusion.encoders.{name}, which is a text")
        if not written(dataset.rows("train"), name).any():
            raise ConfigError(f"no sample of the train split has text {name!r}: it cannot be learnt; leave it out")
        further = dict(own.get("arguments") or {})
        length = further.pop("context_length", None)
        if further:
            raise UnknownNameError(
                "key", str(next(iter(further))), ["context_length"], where=f" of the arguments of text {name!r}"
            )
        if length is not None and (not isinstance(length, int) or isinstance(length, bool)):
            raise ConfigError(f"model.fusion.encoders.{name}.arguments.context_length={length!r} is no whole number")
        tag = own.get("pretrained") or None
        if tag is not None and not isinstance(tag, str):
            raise ConfigError(
                f"model.fusion.encoders.{name}.pretrained={tag} is no tag of open_clip's, such as laion2b_s34b_b79k"
            )
        backbone = str(own.get("backbone") or CLIP_TINY)
        source = find_text_tower(backbone, tag, own.get("checkpoint_path"), length)
        encoder = build_text(source.config, source.text_config, width, derived_seed(seed, "encoder", name))
        if source.weights is not None:
            encoder.tower.load_state_dict(dict(source.weights))
        elif own.get("frozen"):
            raise ConfigError(
                f"model.fusion.encoders.{name}.frozen=true would keep {source.name} as random as it is: name one with weights"
            )
        about: dict[str, Any] = {"architecture": source.name, "open_clip": dict(source.config)}
        if source.text_config is not None:
            about["text_config"] = dict(source.text_config)
        if source.loaded is not None:
            about["initial_weights"] = source.loaded.card()
        if own.get("frozen"):
            about["frozen"] = True
        found.about[name], found.encoders[name], found.tokenizers[name] = about, encoder, source.tokenizer
        found.cards.extend(run_cards(backbone))
    return found
