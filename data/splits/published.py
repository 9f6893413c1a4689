"""Public sets that published weights have learnt from: named in every result of a model that starts from them.

What a run has learnt from is known sample by sample (`learnt_from`); of published weights only the names of sets are known, so
a dataset is held against them by its own names: of its card, its table and its folder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from medzoo.data.dataset import Dataset


@dataclass(frozen=True)
class PublicSet:
    """A public data set.

    Attributes:
        title: In the literature.
        words: By which a dataset of a user's is known to be it.
        made_of_it: Names of medzoo's own datasets whose images come from it.
    """

    title: str
    words: tuple[str, ...]
    made_of_it: tuple[str, ...] = ()


@cache
def public_sets() -> Mapping[str, PublicSet]:
    """Return the public sets that cards may name, by key."""
    text = (files("medzoo.conf") / "catalogue" / "_public_sets.yaml").read_text(encoding="utf-8")
    return {
        key: PublicSet(entry["title"], tuple(entry["words"]), tuple(entry.get("made_of_it", ())))
        for key, entry in yaml.safe_load(text).items()
    }


def name_published(dataset: Dataset, card: Mapping[str, Any]) -> Dataset:
    """Return a dataset with notes on the published weights that a model starts from; see `published_notes`."""
    notes = published_notes(card, dataset)
    return replace(dataset, info=replace(dataset.info, notes=(*dataset.info.notes, *notes))) if notes else dataset


def published_notes(card: Mapping[str, Any], dataset: Dataset) -> tuple[str, ...]:
    """Return what a result must say of the published weights that a model starts from, however many runs ago.

    Args:
        card: Of the model's data (`medzoo.data.dataset.data_card`).
        dataset: What the result is on.
    """
    by_weights: dict[str, list[Mapping[str, Any]]] = {}
    for entry in _entries(card):
        by_weights.setdefault(entry["weights"], []).append(entry)
    notes: list[str] = []
    for weights, entries in by_weights.items():
        named = [str(entry["name"]) for entry in entries]
        if not any(entry["set"] for entry in entries):
            notes.append(
                f"the weights of {weights}, which it starts from, have learnt from {named[0]}: no test set can be ruled out"
            )
            continue
        here = [str(entry["name"]) for entry in entries if entry["set"] and is_set(dataset, str(entry["set"]))]
        if here:
            notes.append(
                f"the weights of {weights}, which it starts from, have learnt from {' and '.join(here)}, perhaps from these very "
                "images: results are optimistic"
            )
        notes.append(f"the weights of {weights}, which it starts from, have learnt from the public sets {', '.join(named)}")
    return tuple(notes)


def is_set(dataset: Dataset, key: str) -> bool:
    """Whether a dataset is a public set, as far as its names tell."""
    wanted, info, options = public_sets()[key], dataset.info, dataset.options
    if any(info.name == own or info.name.startswith(f"{own}/") for own in wanted.made_of_it):
        return True
    named = [info.name, info.title, *(str(options.get(option) or "") for option in ("file", "root", "name"))]
    tokens = [f" {' '.join(_tokens(text))} " for text in named]
    return any(f" {' '.join(_tokens(word))} " in text for word in wanted.words for text in tokens)


def _tokens(text: str) -> list[str]:
    return re.findall(r"[a-z]+[0-9]*|[0-9]+", text.lower())


def _entries(card: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the entries of published weights in a data card and in those of the runs before it."""
    found: list[Mapping[str, Any]] = []
    for entry in card.get("learnt_from") or ():
        found += [entry] if "weights" in entry else _entries(entry)
    return found
