"""The contract of a dataset: a table, one row a sample, and a reader that turns a row into pixels.

Columns of the table:

- `sample_id`: unique, stable text; never a row number.
- `split`: `train`, `val` or `test`.
- `group`: text; the unit no split may cut (patient, case, source video).
- `target`: class codes (multiclass and ordinal; NaN where missing), or one float32 column `target.<name>` a label
  (multilabel, regression, and soft multiclass targets); NaN where missing.
- Of several targets a sample those of the first as above, of each other `targets.<target>` or `targets.<target>.<name>`.
- `sample_weight`: how much the sample counts in training, a positive number; without the column all count alike.
- `concept.<name>`: float32 in 0..1 or NaN. `caption`: text or missing.
- `input.<name>`: float32 tabular inputs, a category as the place of its word (`Dataset.inputs`); NaN where missing.
- `carried.<name>`: where the target is a later visit's, what it is at this one; float32, a column a label, NaN where missing.
- `member_view`: of bags what each member shows, a tuple of words, None where nobody says; a model of bags may read it.
- `text.<name>`: free text beside the images that a model may read (`Dataset.texts`); missing where nothing was written.
- Subgroup columns by plain name (`sex`, `age`, `skin_tone`), listed in `Dataset.subgroups`.
- Whatever the reader needs (`Reader.columns`), such as `path`; of several modalities whatever each reader needs, missing where a
  sample lacks that modality.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medzoo.data.columns import check_labels, check_targets, label_matrix, of_target, require, targets_matrix, within_zero_one
from medzoo.data.columns import target_columns as target_columns
from medzoo.data.errors import ConfigError, DatasetError, UnknownNameError
from medzoo.data.errors import UnknownColumnError as UnknownColumnError
from medzoo.data.images.bags import VIEW
from medzoo.data.images.modalities import ONE, check_modalities, check_presence, check_texts, presence, reading_card, text_columns
from medzoo.data.images.reader import ArrayReader as ArrayReader
from medzoo.data.images.reader import Reader as Reader
from medzoo.data.info import DatasetInfo
from medzoo.data.inputs import InputSpace
from medzoo.data.labels import ConceptSpace, LabelSpace
from medzoo.data.regions.marked import Regions
from medzoo.data.timing import Visits

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Dataset:
    """A table, its reader, and what the columns mean. Checked when made.

    Attributes:
        info: The dataset's card.
        table: One row a sample; see the module's text for its columns.
        reader: Turns a row into pixels.
        labels: The label space of the target columns; None without labels.
        concepts: The concept space of the concept columns; None without.
        subgroups: Subgroup columns that results are broken down by.
        kept: Columns that predictions carry besides, so that rows of one video or eye can answer together (`evaluation.by`).
        options: What the dataset was loaded with, so that a run can load it again.
        regions: Where labels or concepts lie in the images, where that is known; None: nobody marked any.
        modalities: Of a dataset of several images a sample, each by name with what reads it, the first of them `reader` itself; a
            sample may lack any. Empty: one image a sample, which is never missing.
        inputs: What the columns `input.<name>` mean; None where there are none. Columns that nobody describes are quantities.
        visits: Whose visit a row is and when it was, so that a target may be a later visit's (`data.horizon`); None: not known.
        targets: Of a dataset of several targets a sample, the label space of each by name, the first of them `labels` itself; a
            sample may lack any. Empty: one target a sample, or none.
        texts: Names of the free texts of a sample, each a modality in column `text.<name>`; a sample may lack any.

    Raises:
        DatasetError: If a column is missing, repeated, of the wrong type or out of range.
    """

    info: DatasetInfo
    table: pd.DataFrame
    reader: Reader
    labels: LabelSpace | None = None
    concepts: ConceptSpace | None = None
    subgroups: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    regions: Regions | None = None
    modalities: Mapping[str, Reader] = field(default_factory=dict)
    inputs: InputSpace | None = None
    texts: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    visits: Visits | None = None
    targets: Mapping[str, LabelSpace] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.inputs is None and (columns := input_columns(self.table)):
            object.__setattr__(self, "inputs", InputSpace(tuple(column.removeprefix("input.") for column in columns)))
        validate_table(self)

    def __len__(self) -> int:
        return len(self.table)

    def rows(self, split: str) -> pd.DataFrame:
        """Return the rows of one split, in table order.

        Raises:
            UnknownNameError: If `split` is not train, val or test.
        """
        if split not in SPLITS:
            raise UnknownNameError("split", split, SPLITS)
        there = np.flatnonzero((self.table["split"] == split).to_numpy())
        together = len(there) > 0 and there[-1] - there[0] == len(there) - 1  # nothing is copied then
        return self.table.iloc[slice(there[0], there[-1] + 1) if together else there]

    def with_table(self, table: pd.DataFrame) -> Dataset:
        """Return the same dataset over another table (re-checked)."""
        return replace(self, table=table)

    def of_target(self, name: str) -> Dataset:
        """Return the same dataset with one of its several targets as its only one; UnknownNameError if it has no such target."""
        table, labels = of_target(self.table, self.targets, name), self.targets[name]
        info, first = replace(self.info, labels=labels), next(iter(self.targets)) == name
        return replace(self, info=info, table=table, labels=labels, targets={}, regions=self.regions if first else None)


def each_target(dataset: Dataset) -> dict[str, Dataset]:
    """Return target → the dataset with it alone; of one target, or none, the dataset itself under an empty name."""
    return {name: dataset.of_target(name) for name in dataset.targets} or {"": dataset}


def readers_of(dataset: Dataset) -> dict[str, Reader]:
    """Return every image modality of a dataset by name; that of one image a sample is called `image`."""
    return dict(dataset.modalities) or {ONE: dataset.reader}


def concept_columns(concepts: ConceptSpace) -> list[str]:
    """Return the names of the concept columns, in index order."""
    return [f"concept.{name}" for name in concepts.names]


def target_matrix(table: pd.DataFrame, labels: LabelSpace) -> NDArray[np.float32]:
    """Return the targets of a table as vectors.

    Args:
        table: A table with either a `target` column of class codes or all `target.<name>` columns.
        labels: The label space.

    Returns:
        (N, K) float32: one-hot, soft, multi-hot or values; NaN where missing.
    """
    return label_matrix(table, labels)


def weight_vector(table: pd.DataFrame) -> NDArray[np.float32] | None:
    """Return (N,) how much each sample of a table counts in training; None: all alike."""
    return table["sample_weight"].to_numpy(dtype=np.float32) if "sample_weight" in table.columns else None


def concept_matrix(table: pd.DataFrame, concepts: ConceptSpace) -> NDArray[np.float32]:
    """Return the concepts of a table as (N, M) float32 in index order; 0, 1 or NaN."""
    return np.ascontiguousarray(table[concept_columns(concepts)].to_numpy(dtype=np.float32, na_value=np.nan))


def input_columns(table: pd.DataFrame) -> list[str]:
    """Return the tabular input columns in table order."""
    return [c for c in table.columns if c.startswith("input.")]


def input_matrix(table: pd.DataFrame, inputs: InputSpace) -> NDArray[np.float32]:
    """Return the tabular inputs of a table as (N, V) float32 in the order of their names, NaN where missing."""
    columns = [f"input.{name}" for name in inputs.names]
    return np.ascontiguousarray(table[columns].to_numpy(dtype=np.float32, na_value=np.nan))


def validate_table(dataset: Dataset) -> None:
    """Check a dataset's table against its contract.

    Raises:
        DatasetError: One line that names the column, the offending value and how many rows have it.
    """
    table, name = dataset.table, dataset.info.name
    if not isinstance(dataset.reader, Reader):
        kind = type(dataset.reader).__name__
        raise DatasetError(f"{name}: {kind} is not a Reader; derive it: class {kind}(medzoo.data.dataset.Reader)")
    named = [*dataset.subgroups, *dataset.kept, *(dataset.visits.columns if dataset.visits is not None else ())]
    require(name, table, ["sample_id", "split", "group", *dataset.reader.columns, *named])
    if not len(table):
        raise DatasetError(f"{name}: the table has no rows")
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise DatasetError(f"{name}: the table has two columns {str(twice[0])!r}; rename one")
    for column in ("sample_id", "split", "group"):
        if table[column].isna().any():
            raise DatasetError(f"{name}: column {column!r} has {int(table[column].isna().sum())} empty values")
    repeated = table["sample_id"].duplicated()
    if repeated.any():
        raise DatasetError(
            f"{name}: sample_id {table.loc[repeated, 'sample_id'].iloc[0]!r} is repeated ({int(repeated.sum())} such rows)"
        )
    strange = sorted(set(table["split"].unique()) - set(SPLITS))
    if strange:
        raise DatasetError(f"{name}: split {strange[0]!r} is not one of {', '.join(SPLITS)}")
    if "sample_weight" in table.columns:
        weights = table["sample_weight"].to_numpy(dtype=np.float64, na_value=np.nan)
        bad = ~(np.isfinite(weights) & (weights > 0))
        if bad.any():
            raise DatasetError(
                f"{name}: the weight of {table['sample_id'].iloc[int(bad.argmax())]!r} is {weights[bad][0]:g}, not a positive "
                f"number ({int(bad.sum())} such rows); leave rows out with data.where, or their label empty"
            )
    if dataset.labels is not None:
        check_labels(name, table, dataset.labels)
    check_targets(name, table, dataset.targets, dataset.labels)
    if dataset.concepts is not None:
        columns = concept_columns(dataset.concepts)
        require(name, table, columns)
        within_zero_one(name, table, columns)
    check_modalities(name, dataset.reader, dataset.modalities)
    require(name, table, [column for reader in dataset.modalities.values() for column in reader.columns])
    check_presence(name, table, dataset.modalities)
    require(name, table, text_columns(dataset.texts))
    check_texts(name, table, dataset.texts, dataset.modalities)
    if dataset.inputs is not None:
        require(name, table, [f"input.{one}" for one in dataset.inputs.names])
        dataset.inputs.check(name, table["sample_id"], input_matrix(table, dataset.inputs))
        if len(further := input_columns(table)) > dataset.inputs.width:
            raise DatasetError(
                f"{name}: of the columns {', '.join(further)} only {', '.join(dataset.inputs.names)} are described"
            )


SPLIT_WORDS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "validate": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


def table_checksum(dataset: Dataset, split: str | None = None) -> str:
    """Return a SHA-256 in hexadecimal of all that a model learns from and is scored by, beside the pixels; of one split, or all.

    That is the names of labels and concepts in their order, and of each row its name, split, group, targets, concepts, inputs,
    caption, texts, what members show, and of several modalities which it has. The order of rows does not count, nor where the
    files lie, nor a tree over the labels.
    """
    table = dataset.table if split is None else dataset.rows(split)
    table = table.iloc[np.argsort(table["sample_id"].to_numpy(dtype=str), kind="stable")]
    texts = [name for name in ("sample_id", "split", "group", "caption", VIEW) if name in table.columns]
    texts += text_columns(dataset.texts)
    numbers: dict[str, NDArray[np.float32]] = {"inputs": table[input_columns(table)].to_numpy(dtype=np.float32, na_value=np.nan)}
    names: dict[str, Any] = {"texts": texts, "inputs": input_columns(table)}
    # Of what was not there in earlier versions nothing is written: their tables have the same hash.
    if dataset.inputs is not None and dataset.inputs.categories:
        names["categories"] = {name: list(words) for name, words in dataset.inputs.categories.items()}
    if dataset.modalities:
        names["modalities"] = list(dataset.modalities)
        there = [presence(table, reader) for reader in dataset.modalities.values()]
        numbers["modalities"] = np.stack(there, axis=1).astype(np.float32)
    if (weights := weight_vector(table)) is not None:
        numbers["weight"] = weights
    if dataset.labels is not None:
        numbers["targets"] = target_matrix(table, dataset.labels)
        names["labels"] = replace(dataset.labels, parents=None).to_dict()
    if dataset.targets:
        numbers["several"] = targets_matrix(table, dataset.targets)
        names["several"] = {name: replace(labels, parents=None).to_dict() for name, labels in dataset.targets.items()}
    if dataset.concepts is not None:
        numbers["concepts"], names["concepts"] = concept_matrix(table, dataset.concepts), list(dataset.concepts.names)
    digest = hashlib.sha256(json.dumps(names, sort_keys=True).encode("utf-8"))
    for name in texts:
        said = table[name].map(str) if name == VIEW else table[name]
        digest.update("\x1e".join("\x1f" if pd.isna(value) else str(value) for value in said).encode("utf-8", "surrogatepass"))
    for name in sorted(numbers):
        values = np.where(np.isnan(numbers[name]), np.float32(np.nan), numbers[name])  # one NaN of the many there are
        digest.update(np.ascontiguousarray(values, dtype="<f4").tobytes())
    return digest.hexdigest()


def data_card(dataset: Dataset, learnt_from: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Return a dataset's card, its options, the size of each split and `table_checksum` (JSON-ready).

    Args:
        dataset: What the model is trained on.
        learnt_from: Cards of other data that its network has learnt from before; see `medzoo.data.splits.learnt_from`.
    """
    counts = dataset.table["split"].value_counts()
    modalities = {name: reading_card(reader) for name, reader in dataset.modalities.items()}
    card = {
        **dataset.info.to_dict(),
        "options": dict(dataset.options),
        "samples": {str(split): int(n) for split, n in sorted(counts.items())},
        "table": table_checksum(dataset),
        "subgroups": list(dataset.subgroups),
        # The values that became black and white in training: whoever reads a file for the model later needs them.
        "window": None if dataset.reader.window is None else [float(v) for v in dataset.reader.window],
        "views": len(dataset.reader.columns) if dataset.reader.views else 1,
        # As with the window; not written where nobody said it: cards from before there was an option have the same hash.
        **({} if dataset.reader.frames is None else {"frames": dataset.reader.frames}),
        **({} if dataset.reader.stack is None else {"stack": dataset.reader.stack.to_dict()}),
        # Rows of features instead of images, each of so many numbers.
        **({} if dataset.reader.row_width is None else {"row_width": dataset.reader.row_width}),
        **({} if dataset.reader.row_names is None else {"row_names": list(dataset.reader.row_names)}),
        # Colour files that were read as gray, for a network of three channels too.
        **({"channels": 1} if dataset.reader.reads_gray else {}),
        **({"modalities": modalities} if modalities else {}),
        **({} if dataset.inputs is None else {"inputs": dataset.inputs.to_dict()}),
        **({"targets": list(dataset.targets)} if dataset.targets else {}),
        **({"texts": list(dataset.texts)} if dataset.texts else {}),
    }
    earlier = [dict(other) for other in learnt_from if other]
    return {**card, "learnt_from": earlier} if earlier else card


def require_rows(card: Mapping[str, Any], dataset: Dataset) -> None:
    """Refuse images where a model takes rows of features, rows where it takes images, and rows of other features; ConfigError.

    Args:
        card: Of the data that the model was trained on; see `data_card`.
        dataset: What it is to take.
    """
    own, given = card.get("row_width"), dataset.reader.row_width
    if own != given:
        takes, has = (f"rows of {width} features" if width else "images" for width in (own, given))
        raise ConfigError(f"the model takes {takes}, {dataset.info.name} has {has}; give it what it was trained on")
    for place, (ours, theirs) in enumerate(zip(card.get("row_names") or (), dataset.reader.row_names or (), strict=False)):
        if ours != theirs:
            raise ConfigError(
                f"feature {place} of the model is {ours!r}, that of {dataset.info.name} {theirs!r}; give the first file of "
                "features the columns that the model was trained on, in their order"
            )
