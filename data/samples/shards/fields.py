"""What stands beside a dataset's images, as fields of samples in shards, and the options that read them back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medzoo.data.dataset import Dataset, target_matrix
from medzoo.data.labels import LabelSpace
from medzoo.data.samples.preprocess import Preprocess

Members = dict[str, bytes]
"""Ending of a member → its bytes."""


def records(dataset: Dataset, places: NDArray[np.int64], names: Sequence[str] | None) -> Iterator[Members]:
    """Yield what stands beside each sample's image."""
    table, labels = dataset.table, dataset.labels
    codes = dataset.inputs.categories if dataset.inputs is not None else {}
    fields: dict[str, list[Any]] = {} if names is None else {"sample_id": [names[place] for place in places]}
    for column in _columns(dataset):
        values = table[column].iloc[places]
        words: tuple[str, ...] | None = None
        if column == "target" and labels is not None:
            words = labels.names
        elif column.startswith("input."):
            words = codes.get(column.removeprefix("input."))
        fields[column] = [_json_value(value, words) for value in values]
    captions = table["caption"].iloc[places] if "caption" in table else None
    for row, place in enumerate(places.tolist()):
        record = {name: values[row] for name, values in fields.items()}
        members = {"json": json.dumps(record, ensure_ascii=False, sort_keys=True).encode("utf-8")}
        if captions is not None and pd.notna(captions.iloc[row]):
            members["txt"] = str(captions.iloc[row]).encode("utf-8")
        if "target" in table and pd.notna(code := table["target"].iloc[place]):
            members["cls"] = str(int(code)).encode("ascii")
        yield members


def _columns(dataset: Dataset) -> list[str]:
    """Return the table's columns that are written as fields, in the table's order."""
    beside = ("group", "target", "sample_weight", *dataset.subgroups, *dataset.kept)
    prefixes = ("target.", "concept.", "input.")
    return [str(name) for name in dataset.table.columns if name in beside or str(name).startswith(prefixes)]


def _json_value(value: Any, words: tuple[str, ...] | None) -> Any:
    """Return a cell as JSON has it: missing as null, a code as its word, float32 by its shortest digits."""
    if pd.isna(value):
        return None
    if words is not None:
        return words[int(value)]
    if isinstance(value, np.float32):
        value = float(str(value))
    if isinstance(value, np.generic):
        value = value.item()
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def shard_options(dataset: Dataset, preprocess: Preprocess | None, *, named: bool, original: bool) -> dict[str, Any]:
    """Return the options of `data=shards` that read the fields back."""
    table, labels, reader = dataset.table, dataset.labels, dataset.reader
    options: dict[str, Any] = {"licence": dataset.info.licence, "modality": dataset.info.modality}
    options["channels"] = reader.channels or _channels(dataset) if preprocess is None else preprocess.channels
    options["deep"] = dataset.info.value_type != "uint8"
    if original and reader.window is not None:
        options["window"] = list(reader.window)
    if named:
        options["id"] = "sample_id"
    if labels is not None:
        exclusive = "target" in table
        options |= {"target": "target" if exclusive else [f"target.{name}" for name in labels.names]}
        options |= {"kind": labels.kind, "names": list(labels.names)}
        options |= {"units": list(labels.units)} if labels.units is not None else {}
        options |= {"soft": True} if not exclusive and labels.kind != "regression" and _has_shares(table, labels) else {}
    if dataset.concepts is not None:
        options |= {"concepts": [f"concept.{name}" for name in dataset.concepts.names], "graded": True}
        options["concept_groups"] = {group: list(names) for group, names in (dataset.concepts.groups or {}).items()}
    if dataset.inputs is not None:
        options["inputs"] = [f"input.{name}" for name in dataset.inputs.names]
        options["categories"] = {f"input.{name}": list(words) for name, words in dataset.inputs.categories.items()}
    if "sample_weight" in table:
        options["weight"] = "sample_weight"
    if "caption" in table:
        options["caption"] = ".txt"
    if not table["group"].equals(table["sample_id"]):
        options["group"] = "group"
    options["split_unit"] = dataset.info.split_unit
    options |= {name: list(of) for name, of in (("subgroups", dataset.subgroups), ("keep", dataset.kept)) if of}
    return {name: value for name, value in options.items() if value not in (None, {}, [])}


def not_written(dataset: Dataset) -> list[str]:
    """Return what a dataset knows of its samples and shards do not hold, a line each."""
    labels = dataset.labels
    lines = {
        "when samples were (data.time), so that data.horizon cannot ask of a later visit": dataset.visits is not None,
        "regions, which maps are held against": dataset.regions is not None,
        "the tree over the labels: give data.parents again": labels is not None and labels.parents is not None,
    }
    return [f"not in the shards: {line}" for line, there in lines.items() if there]


def _channels(dataset: Dataset) -> int:
    values = [dataset.table[column].iloc[0] for column in dataset.reader.columns]
    return int(dataset.reader.read(*values).shape[0])


def _has_shares(table: pd.DataFrame, labels: LabelSpace) -> bool:
    """Whether targets are shares, or findings that are neither there nor absent."""
    targets = target_matrix(table, labels)
    return labels.exclusive or bool(((targets > 0) & (targets < 1)).any())
