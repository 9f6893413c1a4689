"""The contract of a dataset: a table, one row a sample, and a reader that turns a row into pixels.

Columns of the table:

- `sample_id`: unique, stable text; never a row number.
- `split`: `train`, `val` or `test`.
- `group`: text; the unit no split may cut (patient, case, source video).
- `target`: class codes (multiclass and ordinal; NaN where missing), or one float32 column `target.<name>` a label
  (multilabel, regression, and soft multiclass targets); NaN where missing.
- `concept.<name>`: float32 0, 1 or NaN. `input.<name>`: float32 tabular inputs. `caption`: text or missing.
- Subgroup columns by plain name (`sex`, `age`, `skin_tone`), listed in `Dataset.subgroups`.
- Whatever the reader needs (`Reader.columns`), such as `path`.
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

from medzoo.data.errors import DatasetError, UnknownNameError
from medzoo.data.images.reader import ArrayReader as ArrayReader
from medzoo.data.images.reader import Reader as Reader
from medzoo.data.info import DatasetInfo
from medzoo.data.labels import ConceptSpace, LabelSpace

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
        options: What the dataset was loaded with, so that a run can load it again.

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

    def __post_init__(self) -> None:
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
        return self.table[self.table["split"] == split]

    def with_table(self, table: pd.DataFrame) -> Dataset:
        """Return the same dataset over another table (re-checked)."""
        return replace(self, table=table)


def target_columns(labels: LabelSpace) -> list[str]:
    """Return the names of the vector target columns of a label space, in index order."""
    return [f"target.{name}" for name in labels.names]


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
    if "target" in table.columns:
        return labels.one_hot(table["target"].to_numpy(dtype=np.float64, na_value=np.nan))
    return np.ascontiguousarray(table[target_columns(labels)].to_numpy(dtype=np.float32, na_value=np.nan))


def concept_matrix(table: pd.DataFrame, concepts: ConceptSpace) -> NDArray[np.float32]:
    """Return the concepts of a table as (N, M) float32 in index order; 0, 1 or NaN."""
    return np.ascontiguousarray(table[concept_columns(concepts)].to_numpy(dtype=np.float32, na_value=np.nan))


def input_columns(table: pd.DataFrame) -> list[str]:
    """Return the tabular input columns in table order."""
    return [c for c in table.columns if c.startswith("input.")]


def validate_table(dataset: Dataset) -> None:
    """Check a dataset's table against its contract.

    Raises:
        DatasetError: One line that names the column, the offending value and how many rows have it.
    """
    table, name = dataset.table, dataset.info.name
    if not isinstance(dataset.reader, Reader):
        kind = type(dataset.reader).__name__
        raise DatasetError(f"{name}: {kind} is not a Reader; derive it: class {kind}(medzoo.data.dataset.Reader)")
    _require(name, table, ["sample_id", "split", "group", *dataset.reader.columns, *dataset.subgroups])
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
    if dataset.labels is not None:
        _validate_targets(name, table, dataset.labels)
    if dataset.concepts is not None:
        columns = concept_columns(dataset.concepts)
        _require(name, table, columns)
        _within_zero_one(name, table, columns)


def _validate_targets(name: str, table: pd.DataFrame, labels: LabelSpace) -> None:
    columns = target_columns(labels)
    if "target" in table.columns:
        if any(c in table.columns for c in columns):
            raise DatasetError(f"{name}: the table has both 'target' and 'target.<name>' columns; keep one form")
        if not labels.exclusive:
            raise DatasetError(f"{name}: {labels.kind} labels need 'target.<name>' columns, not one 'target' column")
        try:
            target_matrix(table, labels)
        except DatasetError as error:
            raise DatasetError(f"{name}: {error}") from None
        return
    _require(name, table, columns)
    if labels.kind == "regression":
        values = table[columns].to_numpy(dtype=np.float64, na_value=np.nan)
        if np.isinf(values).any():
            raise DatasetError(f"{name}: a regression target is infinite")
        return
    _within_zero_one(name, table, columns)
    if labels.exclusive:
        sums = target_matrix(table, labels).sum(axis=1, dtype=np.float64)
        off = ~np.isnan(sums) & (np.abs(sums - 1) > 1e-3)
        if off.any():
            raise DatasetError(
                f"{name}: soft targets of {table.loc[off, 'sample_id'].iloc[0]!r} sum to {sums[off][0]:.4f}, not 1 "
                f"({int(off.sum())} such rows)"
            )


def _require(name: str, table: pd.DataFrame, columns: Sequence[str]) -> None:
    for column in columns:
        if column not in table.columns:
            raise UnknownColumnError(name, column, [str(c) for c in table.columns])


def _within_zero_one(name: str, table: pd.DataFrame, columns: Sequence[str]) -> None:
    values = table[list(columns)].to_numpy(dtype=np.float64, na_value=np.nan)
    bad = ~np.isnan(values) & ((values < 0) | (values > 1))
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise DatasetError(
            f"{name}: {columns[column]!r} of {table['sample_id'].iloc[row]!r} is {values[row, column]:g}, not within 0..1"
        )


class UnknownColumnError(DatasetError):
    """A table lacks a column it must have; the message offers the nearest that it has.

    Args:
        dataset: Name that the message begins with.
        column: The column.
        columns: Those that there are.
        also: Other names it may have.
        remedy: Ends the message.
    """

    def __init__(self, dataset: str, column: str, columns: Sequence[str], also: Sequence[str] = (), remedy: str = "") -> None:
        hint = UnknownNameError("column", column, columns)
        near = f"the nearest is {hint.nearest[0]!r}" if hint.nearest else f"it has {', '.join(columns[:12]) or 'none'}"
        wanted = " or ".join(map(repr, (column, *also)))
        super().__init__(f"{dataset}: the table has no column {wanted}; {near}" + f"; {remedy}" * bool(remedy))


SPLIT_WORDS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val", "test": "test",
    "testing": "test",
}  # fmt: skip


def table_checksum(dataset: Dataset, split: str | None = None) -> str:
    """Return a SHA-256 in hexadecimal of all that a model learns from and is scored by, beside the pixels; of one split, or all.

    That is the names of labels and concepts in their order, and of each row its name, split, group, targets, concepts, inputs and
    caption. The order of rows does not count, nor where the files lie.
    """
    table = dataset.table if split is None else dataset.rows(split)
    table = table.iloc[np.argsort(table["sample_id"].to_numpy(dtype=str), kind="stable")]
    texts = [name for name in ("sample_id", "split", "group", "caption") if name in table.columns]
    numbers = {"inputs": table[input_columns(table)].to_numpy(dtype=np.float32, na_value=np.nan)}
    names: dict[str, Any] = {"texts": texts, "inputs": input_columns(table)}
    if dataset.labels is not None:
        numbers["targets"], names["labels"] = target_matrix(table, dataset.labels), dataset.labels.to_dict()
    if dataset.concepts is not None:
        numbers["concepts"], names["concepts"] = concept_matrix(table, dataset.concepts), list(dataset.concepts.names)
    digest = hashlib.sha256(json.dumps(names, sort_keys=True).encode("utf-8"))
    for name in texts:
        digest.update(
            "\x1e".join("\x1f" if pd.isna(value) else str(value) for value in table[name]).encode("utf-8", "surrogatepass")
        )
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
        # Colour files that were read as gray, for a network of three channels too.
        **({"channels": 1} if dataset.reader.channels == 1 and dataset.reader.shape is None else {}),
    }
    earlier = [dict(other) for other in learnt_from if other]
    return {**card, "learnt_from": earlier} if earlier else card
