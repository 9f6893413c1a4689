"""The licences of everything that a model comes from: code, data, earlier data, the weights it started from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import timm
import yaml

from medzoo.data.errors import ConfigError
from medzoo.models.trained import is_run
from medzoo.store.spec import ModelSpec

UNKNOWN = ("", "not stated", "your own", "unknown")
"""What a card says where no licence is known."""


@dataclass(frozen=True)
class Licence:
    """One link of the chain.

    Attributes:
        of: What it is of, in words.
        licence: As its card states it.
    """

    of: str
    licence: str

    @property
    def known(self) -> bool:
        """Whether anyone has stated it."""
        return self.licence.lower() not in UNKNOWN

    @property
    def forbids_derivatives(self) -> bool:
        """Whether what is made from it may not be given on (Creative Commons' ND)."""
        return bool(re.search(r"\bND\b", self.licence.upper()))

    @property
    def forbids_commerce(self) -> bool:
        """Whether it is for non-commercial or research use alone."""
        return bool(re.search(r"\bNC\b|non.?commercial|research", self.licence, re.IGNORECASE))

    def to_dict(self) -> dict[str, str]:
        """Return the JSON-ready form."""
        return asdict(self)


def chain(spec: ModelSpec, settings: Mapping[str, Any]) -> list[Licence]:
    """Return the licences of all that a model comes from, each once.

    Args:
        spec: Of the model.
        settings: The configuration of its run, which says what it started from.
    """
    return list(dict.fromkeys([Licence("medzoo, the code", "Apache-2.0"), *_of_data(spec.data), *_of_start(spec, settings)]))


def _of_start(spec: ModelSpec, settings: Mapping[str, Any]) -> Iterator[Licence]:
    """Yield the licences of the weights that training started from, and those of the runs before it, as far as they are there."""
    model = settings.get("model") or {}
    if (weights := spec.initial_weights) is not None:
        package = weights.get("package") or {}
        name = weights.get("name") or package.get("name") or weights.get("file", "a weights file")
        yield Licence(f"weights {name}", str(package.get("licence") or weights.get("licence") or "not stated"))
    elif model.get("pretrained"):
        config = timm.get_pretrained_cfg(spec.architecture) if timm.is_model(spec.architecture.partition(".")[0]) else None
        stated = (getattr(config, "license", None) if config is not None else None) or "not stated"
        yield Licence(f"weights {spec.architecture} ({model['pretrained']})", str(stated))
    backbone = str(model.get("backbone") or "")
    if is_run(backbone):
        earlier = Path(backbone).expanduser()
        described = earlier / "config.yaml"
        own = yaml.safe_load(described.read_text(encoding="utf-8")) if described.is_file() else {}
        yield from _of_start(ModelSpec.read(earlier / "spec.json"), own or {})
    elif "/" in backbone and not backbone.startswith(("hf-hub:", "local-dir:")):
        yield Licence(f"the run {Path(backbone).name}, which it started from and which is not there", "not stated")


def check_licence(links: list[Licence], licence: str | None, *, public: bool, checked: bool) -> None:
    """Refuse to share a model under a licence that something it comes from does not allow.

    Args:
        links: What it comes from.
        licence: Under which it is shared; None: none is named.
        public: Whether everyone will see it.
        checked: Whether the user has looked at what nobody stated.

    Raises:
        ConfigError: With the first link that is in the way.
    """
    open_to_commerce = licence is not None and not Licence("", licence).forbids_commerce and licence.lower() != "other"
    for link in links:
        if public and link.forbids_derivatives:
            raise ConfigError(
                f"{link.of} is under {link.licence}, which lets nobody share what is made from it: leave private=true"
            )
        if link.forbids_commerce and open_to_commerce:
            raise ConfigError(
                f"licence={licence} gives more than {link.of} allows ({link.licence}): take one as narrow, or other"
            )
    unknown = [link.of for link in links if not link.known]
    if public and unknown and not checked:
        raise ConfigError(
            f"nobody states the licence of {', '.join(unknown)}: find it out and say licences_checked=true, or leave private=true"
        )


def _of_data(card: Mapping[str, Any]) -> Iterator[Licence]:
    if "name" in card:
        what = f"weights {card['weights']}" if "weights" in card else f"data {card['name']}"
        yield Licence(what, str(card.get("licence") or "not stated"))
    for earlier in card.get("learnt_from") or ():
        yield from _of_data(earlier)
