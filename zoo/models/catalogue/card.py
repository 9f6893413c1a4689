"""Cards of published medical weights, `conf/catalogue/*.yaml`: facts with their sources, and nothing that was guessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.splits.published import public_sets
from medzoo.models.catalogue.layouts import LAYOUTS

PREFIX = "zoo:"
"""How a backbone's name begins that is a card's."""
FLAT = ("cnn", "vit", "slices", "cbm")
"""Families that take any timm network."""


@dataclass(frozen=True)
class WeightsCard:
    """What is known of one published checkpoint.

    Attributes:
        name: Of its file in the catalogue.
        title: In the literature.
        modality: What it has seen, in words.
        paper: Where it is described.
        licence: Of the weights, as their authors state it; `not stated` where they do not.
        families: Registry families it suits.
        architecture: Of timm, of open_clip (families clip) or of medzoo's own (cnn3d).
        arguments: Of the architecture, beside its size and outputs.
        gated: Whether the file is given only to those who accept terms.
        hub: Repository on the Hugging Face hub; None: none that could be verified.
        revision: Commit of it; None: its main branch.
        file: Name of the file, there or wherever it is.
        url: Where the file lies, if not on the hub.
        sha256: Of the file, where it is published.
        by_hand: How the file is had where no address can be read by a program.
        open_clip: Changes to open_clip's configuration of the architecture, or a whole one (with `embed_dim`).
        text_config: The Hugging Face configuration of a text tower.
        layout: How the file's tensors are called: a name of `medzoo.models.catalogue.layouts.LAYOUTS`.
        pickled: Whether the file holds Python objects, so that it must be converted first; `convert` says how.
        convert: Command that writes a safetensors file of it.
        preprocess: `size`, `mean`, `std` (0..1 scale), `interpolation`, of image–text models `resize_mode`.
        channels: Of the input the weights were trained on; 1 or 3.
        labels: Order of the outputs of its own last layer, which is never taken.
        prompts: Wordings its authors use, with {} for the class.
        trained_on: In words.
        learnt_from: Public sets it has learnt from, by their keys in `conf/catalogue/_public_sets.yaml`.
        figures: Published ones, each with `metric`, `value`, `data` and `source`.
        sources: Which public file says what.
        not_verified: What could not be looked up or tried, said plainly.
    """

    name: str
    title: str
    modality: str
    paper: str
    licence: str
    families: tuple[str, ...]
    architecture: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    gated: bool = False
    hub: str | None = None
    revision: str | None = None
    file: str | None = None
    url: str | None = None
    sha256: str | None = None
    by_hand: str | None = None
    open_clip: Mapping[str, Any] = field(default_factory=dict)
    text_config: Mapping[str, Any] | None = None
    layout: str = "plain"
    pickled: bool = False
    convert: str | None = None
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    channels: int = 3
    labels: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    trained_on: str = ""
    learnt_from: tuple[str, ...] = ()
    figures: tuple[Mapping[str, Any], ...] = ()
    sources: tuple[str, ...] = ()
    not_verified: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """How its file is had, in words: for lists and messages."""
        if self.hub is not None:
            place = f"{self.hub} on the Hugging Face hub"
        else:
            place = self.url or self.by_hand or "not published at an address that could be verified"
        return f"{place}{' (gated: accept its terms first)' if self.gated else ''}"

    def suits(self, family: str) -> bool:
        """Whether a network of a family can start from it; a flat one can stand in any family of flat networks."""
        flat = family in FLAT and any(own in FLAT for own in self.families)
        return family in self.families or flat or (family == "clip_image" and "clip" in self.families)

    def learnt_cards(self) -> list[dict[str, Any]]:
        """Return what a network that starts from it has learnt from, as `medzoo.data.dataset.data_card` takes it."""
        about = {"weights": f"{PREFIX}{self.name}", "licence": self.licence, "citation": self.paper}
        sets = public_sets()
        named = [{"name": sets[key].title, "set": key, **about} for key in self.learnt_from]
        return named or [{"name": self.trained_on or "data its card does not name", "set": None, **about}]


def is_card(name: str) -> bool:
    """Whether a backbone's name is one of the catalogue."""
    return name.startswith(PREFIX)


@cache
def catalogue() -> Mapping[str, WeightsCard]:
    """Return all cards by name, sorted.

    Raises:
        ConfigError: If a card has a field that is none, or lacks one.
    """
    folder = files("medzoo.conf") / "catalogue"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".yaml") and not entry.name.startswith("_"))
    return {name.removesuffix(".yaml"): read_card(name, (folder / name).read_text(encoding="utf-8")) for name in names}


def find_card(name: str) -> WeightsCard:
    """Return a card by its name, with `zoo:` before it or not; UnknownNameError with the nearest if there is none."""
    found = catalogue().get(name.removeprefix(PREFIX))
    if found is None:
        raise UnknownNameError("published weights", name, [f"{PREFIX}{known}" for known in catalogue()])
    return found


def read_card(file: str, text: str) -> WeightsCard:
    """Read a card from YAML.

    Args:
        file: Its name, which gives the card's.
        text: Its content.

    Raises:
        ConfigError: If a field is missing, none of a card's, or names a layout or a public set that does not exist.
    """
    found = yaml.safe_load(text)
    known = {entry.name for entry in fields(WeightsCard)} - {"name"}
    if not isinstance(found, dict) or (strange := sorted(set(found) - known)):
        raise ConfigError(
            f"catalogue/{file}: {', '.join(strange) if isinstance(found, dict) else text[:40]!r} is no field of a card"
        )
    lists = {key: tuple(value) for key, value in found.items() if isinstance(value, list)}
    try:
        card = WeightsCard(name=file.removesuffix(".yaml"), **{**found, **lists})
    except TypeError as error:
        raise ConfigError(f"catalogue/{file}: {error}") from error
    if card.layout not in LAYOUTS:
        raise UnknownNameError("layout", card.layout, LAYOUTS, where=f" in catalogue/{file}")
    for key in card.learnt_from:
        if key not in public_sets():
            raise UnknownNameError("public set", key, public_sets(), where=f" in catalogue/{file}")
    return card
