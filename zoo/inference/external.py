"""Another dataset in a model's own terms: its classes, findings, quantities and concepts are found by name, never by place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medzoo.data.dataset import Dataset, concept_columns, concept_matrix, require_rows, target_columns, target_matrix
from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.labels import ConceptSpace, LabelSpace
from medzoo.data.splits.stratified import val_notes
from medzoo.data.visits.columns import carried_matrix, carried_names
from medzoo.store.reading import as_the_model_reads
from medzoo.store.spec import ModelSpec

Renamed = Mapping[str, str | None]
"""Their name → ours; None: it is left out."""


def in_terms_of(spec: ModelSpec, dataset: Dataset, renamed: Renamed, splits: Sequence[str] | None = None) -> Dataset:
    """Return a dataset's samples as one test set with a model's labels and concepts.

    Where several of its classes are one of the model's, that holds where any of them does. A class of the model that the dataset
    lacks is missing everywhere, and so is the label of a sample whose class is left out; the notes say both.

    Args:
        spec: The model's; it has labels.
        dataset: Another one, of the same kind of labels.
        renamed: What is called otherwise; other names must be the model's own.
        splits: Those of the dataset's splits that are taken; None: all its samples.

    Raises:
        ConfigError: If the dataset has no labels or ones of another kind, a name is none of the model's, units differ, or no
            sample is left; or its images have a window that is not the model's.
        UnknownNameError: If `renamed` names what is neither the dataset's nor the model's.
    """
    require_rows(spec.data, dataset)
    dataset = as_the_model_reads(spec, dataset, "on")
    own, theirs, name = spec.label_space, dataset.labels, dataset.info.name
    if dataset.targets:
        raise ConfigError(f"on.targets=[{', '.join(dataset.targets)}]: the model answers for one target; leave it out")
    if theirs is None:
        raise ConfigError(f"{name} has no labels to hold a model against; name their column (on.target=...)")
    if theirs.exclusive != own.exclusive or (not own.exclusive and theirs.kind != own.kind):
        raise ConfigError(f"the labels of {name} are {theirs.kind}, the model's {own.kind}: they cannot be compared")
    asked, shown = (options.get("horizon") for options in (spec.data.get("options", {}), dataset.options))
    if asked != shown:
        said = [f"horizon={one}" if one else "this visit's" for one in (asked, shown)]
        raise ConfigError(f"the model's target is {said[0]}, that of {name} {said[1]}: they are of other visits; see on.horizon")
    if theirs.parents is not None:
        raise ConfigError(
            "on.parents is a tree over the names of the other dataset; a run's own tree is data.parents in its training"
        )
    concepts = () if dataset.concepts is None or spec.concepts is None else dataset.concepts.names
    _check(renamed, (theirs.names, own.names), (concepts, spec.concepts.names if spec.concepts else ()))
    table = dataset.table if splits is None else dataset.table[dataset.table["split"].isin(list(splits))]
    if not len(table):
        raise ConfigError(f"{name} has no sample in {', '.join(splits or [])}; leave on_splits out to take all")
    places = _places("class" if own.exclusive else "label", theirs.names, own.names, renamed, name)
    if own.kind == "regression":
        _check_quantities(own, theirs, places)
    targets = target_matrix(table, theirs)
    merged = _classes(targets, places, own.width) if own.exclusive else _findings(targets, places, own.width)
    notes = [
        *_lacking("classes" if own.exclusive else "labels", own.names, places, name),
        *_left_out(targets, merged, places, theirs),
    ]
    if own.kind == "regression" and own.units is not None and theirs.units is None:
        notes.append(f"{name} names no units: its values are taken to be in the model's ({', '.join(own.units)})")
    columns = {c: table[c] for c in table.columns if c != "target" and not c.startswith(("target.", "concept.", "carried."))}
    columns["split"] = pd.Series("test", index=table.index)
    columns |= {c: pd.Series(merged[:, k], index=table.index) for k, c in enumerate(target_columns(own))}
    if (carried := carried_matrix(table, theirs)) is not None:
        carried = _classes(carried, places, own.width) if own.exclusive else _findings(carried, places, own.width)
        columns |= {c: pd.Series(carried[:, k], index=table.index) for k, c in enumerate(carried_names(own))}
    if dataset.concepts is not None and spec.concepts is not None:
        of_concepts = _places("concept", concepts, spec.concepts.names, renamed, name, further=True)
        known = _findings(concept_matrix(table, dataset.concepts), of_concepts, len(spec.concepts.names))
        columns |= {c: pd.Series(known[:, k], index=table.index) for k, c in enumerate(concept_columns(spec.concepts))}
        notes += _lacking("concepts", spec.concepts.names, of_concepts, name)
        if None in of_concepts:
            notes.append(f"{of_concepts.count(None)} of the {len(concepts)} concepts of {name} are none of the model's")
    return replace(
        dataset, table=pd.DataFrame(columns).reset_index(drop=True), labels=own,
        concepts=spec.concepts if dataset.concepts is not None else None,
        info=replace(dataset.info, notes=(*_of_samples(dataset), *notes)),
    )  # fmt: skip


def names_of(labels: LabelSpace | None, concepts: ConceptSpace | None) -> tuple[str, ...]:
    """Return the names that a map may be of."""
    return (*(labels.names if labels else ()), *(concepts.names if concepts else ()))


def _of_samples(dataset: Dataset) -> list[str]:
    """Return a dataset's notes but for those on its val split, which chooses nothing here."""
    about_val = val_notes(dataset.table, dataset.labels, dataset.targets)
    return [note for note in dataset.info.notes if note not in about_val]


def _check(renamed: Renamed, *kinds: tuple[Sequence[str], Sequence[str]]) -> None:
    """Hold a map's names against the labels (theirs, ours) and the concepts (theirs, ours)."""
    for name, to in renamed.items():
        of_kind = [ours for theirs, ours in kinds if name in theirs]
        if not of_kind:
            raise UnknownNameError(
                "name", name, [n for theirs, _ in kinds for n in theirs], where=" in map, of the other dataset"
            )
        if to is not None and not any(to in ours for ours in of_kind):
            raise UnknownNameError("name", to, [n for ours in of_kind for n in ours], where=" in map, of the model")


def _places(
    what: str, theirs: Sequence[str], ours: Sequence[str], renamed: Renamed, dataset: str, *, further: bool = False
) -> list[int | None]:
    """Return where each of their names is among ours; None of those left out. `further` ones that we lack are left out, too."""
    found: list[int | None] = []
    for name in theirs:
        to = renamed.get(name, name)
        if to is None or (further and to not in ours):
            found.append(None)
        elif to in ours:
            found.append(ours.index(to))
        else:
            shown = ", ".join(ours[:6]) + (", ..." if len(ours) > 6 else "")
            raise ConfigError(
                f"the {what} {name!r} of {dataset} is none of the model's ({shown}); say which it is, "
                f"map={{{name}: {ours[0]}}}, or leave it out, map={{{name}: null}}"
            )
    return found


def _classes(targets: NDArray[np.float32], places: Sequence[int | None], width: int) -> NDArray[np.float32]:
    """Return (N, width) distributions over our classes; NaN where any of the mass is on a class that is left out."""
    merged = np.zeros((len(targets), width), dtype=np.float32)
    for column, place in enumerate(places):
        if place is None:
            merged[targets[:, column] > 0] = np.nan
        else:
            merged[:, place] += targets[:, column]
    merged[np.isnan(targets).any(axis=1)] = np.nan
    merged[np.isnan(merged).any(axis=1)] = np.nan
    return merged


def _findings(values: NDArray[np.float32], places: Sequence[int | None], width: int) -> NDArray[np.float32]:
    """Return (N, width): of several columns that are one of ours the largest; NaN where none is 1 and one is missing."""
    merged = np.full((len(values), width), np.nan, dtype=np.float32)
    for place in range(width):
        mine = values[:, [column for column, found in enumerate(places) if found == place]]
        if mine.shape[1] == 1:
            merged[:, place] = mine[:, 0]
        elif mine.shape[1]:
            largest = np.where(np.isnan(mine), -np.inf, mine).max(axis=1)
            merged[:, place] = np.where(np.isnan(mine).any(axis=1) & (largest < 1), np.nan, largest)
    return merged


def _check_quantities(own: LabelSpace, theirs: LabelSpace, places: Sequence[int | None]) -> None:
    taken = [place for place in places if place is not None]
    if len(set(taken)) < len(taken):
        raise ConfigError("two quantities of the other dataset cannot be one of the model's; leave one out, map={NAME: null}")
    for name, column, place in zip(theirs.names, range(theirs.width), places, strict=True):
        if place is None or own.units is None or theirs.units is None:
            continue
        if theirs.units[column] != own.units[place]:
            raise ConfigError(
                f"{name} is in {theirs.units[column]}, the model's {own.names[place]} in {own.units[place]}; convert the table"
            )


def _lacking(what: str, ours: Sequence[str], places: Sequence[int | None], dataset: str) -> list[str]:
    """Say which of our names the other dataset has nothing of."""
    lacking = [name for place, name in enumerate(ours) if place not in places]
    return [f"{dataset} lacks {what} of the model, whose figures are undefined here: {', '.join(lacking)}"] if lacking else []


def _left_out(
    targets: NDArray[np.float32], merged: NDArray[np.float32], places: Sequence[int | None], theirs: LabelSpace
) -> list[str]:
    """Say what was left out, and how many samples have no label for it."""
    names = [name for name, place in zip(theirs.names, places, strict=True) if place is None]
    if not names:
        return []
    lost = int((np.isnan(merged).all(axis=1) & ~np.isnan(targets).all(axis=1)).sum())
    return [f"left out (map): {', '.join(names)}; {lost} samples are without a label for it"]
