"""What the fields of samples in shards mean: the options that say so, as the user or the shards' own card gives them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medzoo.data.errors import ConfigError, DatasetError, UnknownNameError
from medzoo.data.options import choices, one_text, text_list, text_mapping
from medzoo.data.tables.columns import categories_option
from medzoo.data.tables.targets import Kind
from medzoo.data.tars.names import CARD_FORMAT

DESCRIBED = (
    "image", "id", "by_shard", "target", "kind", "names", "units", "separator", "left_out", "empty_words", "values", "soft",
    "weight", "concepts", "graded", "concept_groups", "caption", "group", "group_pattern", "split_unit", "split", "split_pattern",
    "subgroups", "keep", "inputs", "categories", "modality", "channels", "window", "deep", "licence",
)  # fmt: skip
"""Options that a card may give: what the samples are, never where they lie or what is done with them."""


@dataclass(frozen=True)
class Meanings:
    """Fields by what they mean; see `medzoo.data.datasets.shards.load.load`."""

    id: str | None = None
    by_shard: bool = False
    target: str | list[str] | None = None
    kind: Kind = "auto"
    names: list[str] | None = None
    units: list[str] | None = None
    separator: str | None = None
    left_out: list[str] = field(default_factory=list)
    empty_words: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    soft: bool = False
    weight: str | None = None
    concepts: list[str] | None = None
    graded: bool = False
    concept_groups: dict[str, list[str]] = field(default_factory=dict)
    caption: str | None = None
    group: str | None = None
    group_pattern: str | None = None
    split: str | None = None
    split_pattern: str | None = None
    subgroups: list[str] = field(default_factory=list)
    keep: list[str] = field(default_factory=list)
    inputs: list[str] | None = None
    categories: dict[str, list[str] | None] = field(default_factory=dict)

    @classmethod
    def read(cls, asked: Mapping[str, Any]) -> Meanings:
        """Return the meanings that options give, each of the form it must have.

        Raises:
            ConfigError: If one has another form.
            UnknownNameError: If a kind or an input is not known.
        """
        choices(kind=(asked["kind"], Kind))
        texts = ("id", "weight", "caption", "group", "group_pattern", "split", "split_pattern")
        several = ("left_out", "empty_words", "subgroups", "keep")
        target = asked["target"]
        inputs = text_list(asked["inputs"], "inputs")
        given: dict[str, Any] = {name: one_text(asked[name], name) for name in texts}
        given |= {name: text_list(asked[name], name) or [] for name in several}
        given |= {name: text_list(asked[name], name) for name in ("names", "units", "concepts")}
        return cls(
            target=target if target is None or isinstance(target, str) else text_list(target, "target"),
            values=text_mapping(asked["values"], "values"),
            categories=categories_option(asked["categories"], inputs or []),
            inputs=inputs,
            concept_groups=_groups(asked["concept_groups"]),
            separator=asked["separator"],
            **given,
            **{name: asked[name] for name in ("kind", "by_shard", "soft", "graded")},
        )

    @property
    def targets(self) -> list[str]:
        """The fields with targets."""
        return [self.target] if isinstance(self.target, str) else self.target or []

    @property
    def fields(self) -> list[str]:
        """All fields that are read, but for a caption that is a member."""
        beside = [*(self.concepts or []), *self.subgroups, *self.keep, *(self.inputs or [])]
        single = [self.id, self.weight, self.group, self.split, None if self.caption_is_mapped else self.caption]
        return [*self.targets, *beside, *(one for one in single if one is not None)]

    @property
    def caption_is_mapped(self) -> bool:
        """Whether captions are members that are taken as they are, without a column in memory."""
        return self.caption is not None and self.caption.startswith(".") and not self.empty_words


def read_card(name: str | None, folder: Path) -> dict[str, Any] | None:
    """Return what the card beside shards says; None where there is none.

    Args:
        name: The option `card`.
        folder: Of the shards.

    Raises:
        DatasetError: If it cannot be read, or names a shard that is not there.
        UnknownNameError: If it gives an option that no card may.
    """
    path = folder / name if name is not None else None
    if path is None or not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        number, options, shards = content["format"], dict(content["options"]), [str(one) for one in content.get("shards", [])]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DatasetError(f"{path} is no card of shards ({error.args[-1]}); leave it out with data.card=null") from None
    if number != CARD_FORMAT:
        raise DatasetError(f"{path} is of format {number!r}, which this medzoo does not read; update medzoo")
    for option in options:
        if option not in DESCRIBED:
            raise UnknownNameError("option", str(option), DESCRIBED, where=f" in {path}")
    return {"options": options, "shards": shards}


def with_card(
    asked: Mapping[str, Any], defaults: Mapping[str, Any], paths: Sequence[Path]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return options with those of the shards' own card where the user left them as they are, and a note.

    Args:
        asked: Every option.
        defaults: What each is where nobody says anything.
        paths: The shards.

    Raises:
        DatasetError: If all shards of a folder are meant, and its card names one that is not there; if cards of several folders
            say different things; and as `read_card`.
    """
    name = one_text(asked["card"], "card")
    folders = list(dict.fromkeys(path.parent for path in paths))
    cards = {folder: card for folder in folders if (card := read_card(name, folder)) is not None}
    if not cards:
        return dict(asked), ()
    first, card = next(iter(cards.items()))
    for folder, other in cards.items():
        if other["options"] != card["options"]:
            of, than = other["options"], card["options"]
            option = next(option for option in sorted({*of, *than}) if of.get(option) != than.get(option))
            raise DatasetError(
                f"{folder / str(name)} says {option}={of.get(option)} and {first / str(name)} {than.get(option)}: shards of one "
                "dataset mean the same; name those that belong together in data.urls, or say what fields mean yourself with "
                "data.card=null"
            )
        gone = sorted(set(other["shards"]) - {path.name for path in paths if path.parent == folder})
        if asked["urls"] is None and gone:
            raise DatasetError(
                f"{folder}: {len(gone)} of the {len(other['shards'])} shards that {name} names are not there, such as "
                f"{gone[0]}; complete the copy, or name those that are meant in data.urls"
            )
    given = card["options"]
    taken = [option for option in given if asked[option] == defaults[option] != given[option]]
    note = (f"what the fields mean is as {name} beside the shards says ({', '.join(taken)})",) if taken else ()
    return {**asked, **{option: given[option] for option in taken}}, note


def _groups(given: Any) -> dict[str, list[str]]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ConfigError(f"data.concept_groups={given} is no mapping of groups to their concepts")
    return {str(group): text_list(names, f"concept_groups.{group}") or [] for group, names in given.items()}


def plain_name(name: str, kind: str) -> str:
    """Return what a field calls a label, concept or input: `concept.mass` is the concept `mass`."""
    return name.removeprefix(f"{kind}.")


def plain_names(names: Sequence[str], kind: str) -> list[str]:
    """Return the plain names of several fields."""
    return [plain_name(name, kind) for name in names]
