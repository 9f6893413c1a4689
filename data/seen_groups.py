"""Patients that a network has learnt from are not patients to test it on, whichever run it learnt in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from medzoo.data.dataset import Dataset
from medzoo.data.errors import DatasetError, MedzooError
from medzoo.data.registry import load_dataset

PLACES = ("root", "file")
"""Options that say where the files are: they may have moved since."""
WITHOUT_EFFECT = ("packed", "download", "allow_shared_groups")
"""Options on which no split depends."""


def refuse_seen_groups(dataset: Dataset, learnt_from: Sequence[Mapping[str, Any]]) -> Dataset:
    """Hold a dataset's val and test splits against what a network was trained on before.

    Only datasets of one population are compared (`DatasetInfo.population`): the same group name is then the same patient. A
    group that chose an epoch before (val) may choose one again, but not be tested on.

    Args:
        dataset: What the network is validated and tested on now.
        learnt_from: Cards of the data it has learnt from: `data` of a `medzoo.spec.ModelSpec`, each with its own `learnt_from`.

    Returns:
        The dataset; where `data.allow_shared_groups=true` allows shared groups, with a note that reports print.

    Raises:
        DatasetError: If a group was trained on before and that is not allowed, or earlier data cannot be read to tell.
    """
    for card in _every(learnt_from):
        if _population(card) != (dataset.info.population or dataset.options.get("name")):
            continue
        changed = _changed(card["options"], dataset.options)
        if not changed:
            continue
        for split, groups in seen_groups(dataset, _load(card["options"], dataset)).items():
            what = f"{len(groups)} {dataset.info.split_unit} groups of the {split} split (such as {groups[0]!r})"
            if not dataset.options.get("allow_shared_groups"):
                raise DatasetError(
                    f"{dataset.info.name}: the network has learnt from {what}: it was trained with {', '.join(changed)}; take "
                    "the same split options, or allow it by name with data.allow_shared_groups=true"
                )
            note = f"the network has learnt from {what} before: results are optimistic"
            dataset = replace(dataset, info=replace(dataset.info, notes=(*dataset.info.notes, note)))
    return dataset


def seen_groups(now: Dataset, before: Dataset) -> dict[str, list[str]]:
    """Return the groups that were learnt from before and are validated or tested on now.

    Returns:
        `val` → groups that were trained on; `test` → groups that were trained on or chose the epoch; sorted, without empty lists.
    """
    found = {}
    for split, earlier in (("val", ("train",)), ("test", ("train", "val"))):
        seen = before.table.loc[before.table["split"].isin(earlier), "group"]
        groups: pd.Series = now.table.loc[now.table["split"] == split, "group"]
        found[split] = sorted(set(groups) & set(seen))
    return {split: groups for split, groups in found.items() if groups}


def _every(cards: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for card in cards:
        if "options" in card:  # weights from elsewhere come without
            yield card
        yield from _every(card.get("learnt_from", ()))


def _population(card: Mapping[str, Any]) -> Any:
    return card.get("population") or card["options"].get("name")


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return options that differ, as they were before; a place that is no more has moved."""
    names = [name for name in {**before, **now} if name not in WITHOUT_EFFECT and before.get(name) != now.get(name)]
    names = [name for name in names if name not in PLACES or (_is_there(before.get(name)) and name in now)]
    return [f"no data.{name}" if before.get(name) is None else f"data.{name}={before[name]}" for name in names]


def _is_there(place: Any) -> bool:
    return place is not None and Path(place).expanduser().exists()


def _load(options: Mapping[str, Any], now: Dataset) -> Dataset:
    asked = {**options, "allow_shared_groups": True, "packed": now.options.get("packed")}
    for name in PLACES:
        if name in now.options and not _is_there(asked.get(name)):
            asked[name] = now.options[name]
    try:
        return load_dataset(**asked)
    except MedzooError as error:
        raise DatasetError(
            f"{now.info.name}: cannot tell which {now.info.split_unit} groups the network was trained on ({error}); take the "
            "same data options as then, or put its files back"
        ) from error
