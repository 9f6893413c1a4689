"""What human readers said of the samples: read from a table, or carried as columns of the predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyarrow import ArrowException, parquet

from medzoo.data.errors import ConfigError, EvaluationError, UnknownNameError
from medzoo.data.labels import LabelSpace
from medzoo.data.tables import TextTable, as_text
from medzoo.data.tables.excel import SUFFIXES
from medzoo.data.tables.words import identifier
from medzoo.evaluation.predictions import Predictions

PARQUET = ".parquet"
TABLES = (".csv", ".tsv", ".txt", ".gz", ".bz2", ".xz", ".zip", PARQUET)
OTHERS = (*SUFFIXES, ".xls", ".xlsb", ".ods", ".json", ".jsonl")
"""Endings of tables that are not read here: what ends so is no column of the predictions either."""
SAMPLE = "sample_id"


@dataclass(frozen=True)
class Reader:
    """One reader's answers.

    Attributes:
        name: As the table calls them.
        said: (N, K) 1 where the reader said the class or finding, else 0.
        read: (N, K) whether the reader said anything.
    """

    name: str
    said: NDArray[np.bool_]
    read: NDArray[np.bool_]


def find_readers(words: Sequence[str], predictions: Predictions) -> tuple[list[Reader], list[str]]:
    """Find readers by what `--readers` names: a table, alone or with some of its readers, or columns of the predictions.

    Args:
        words: A file and, behind it, readers of it; or subgroup columns that the predictions carry.
        predictions: What the readers are compared with, row by row.

    Returns:
        The readers, and what was left out, in words.

    Raises:
        ConfigError: If a reader is not there.
        DatasetError: If the table cannot be read, a sample stands twice, or an answer is none of the labels.
        EvaluationError: If a reader has read none of the samples, or labels are quantities.
    """
    labels = predictions.labels
    if labels.kind == "regression":
        raise EvaluationError("--readers compares answers; labels here are quantities, whose readers medzoo does not compare")
    path = Path(words[0]).expanduser()
    if path.suffix.lower() in OTHERS:
        raise EvaluationError(f"--readers {words[0]}: save the readers' table as .csv or {PARQUET}; it is read from nothing else")
    if path.suffix.lower() in TABLES:
        table, names = _read(path), list(words[1:])
        table.refuse(table[SAMPLE] == "", SAMPLE, remedy="every row says which sample it is of")
        table.refuse_repeats(table[SAMPLE], "sample", "one row a sample, one column a reader")
    else:
        carried = predictions.subgroups.rename(columns=str)
        table = TextTable("the predictions", as_text(carried), unit="row")
        names = list(words)
    found: dict[str, list[str]] = {}
    for name in names or _readers(table, labels):
        found[name] = _columns(table, name, labels)
    samples = pd.Index([str(sample) for sample in predictions.sample_id])
    rows, notes = table.rows, []
    if SAMPLE in rows:
        others = int((~rows[SAMPLE].isin(samples)).sum())
        notes += [f"{others} rows of {table.file} are of no sample compared here and were left out"] if others else []
    readers = []
    for name, columns in found.items():
        said, read = _answers(table, columns, labels)
        if SAMPLE in rows:
            place = pd.Index(rows[SAMPLE]).get_indexer(samples)
            said, read = said[place], read[place] & (place >= 0)[:, None]
        if not read.any():
            raise EvaluationError(f"{name} of {table.file} has read none of the {len(samples)} samples compared; check {SAMPLE}")
        missing = int((~read.any(axis=1)).sum())
        notes += [f"{name} has not read {missing} of {len(samples)} samples: compared on those read"] if missing else []
        readers.append(Reader(name, said, read))
    return readers, notes


def _read(path: Path) -> TextTable:
    if path.suffix.lower() != PARQUET:
        return TextTable.read(path, remedy=f"--readers takes a table with {SAMPLE} and a column a reader")
    try:
        frame = parquet.ParquetFile(path).read().to_pandas().reset_index(drop=True)
    except (ArrowException, OSError) as error:
        raise EvaluationError(f"{path} cannot be read ({type(error).__name__}); --readers takes a table of answers") from error
    return TextTable(path.name, as_text(frame.rename(columns=str)), unit="row")


def _readers(table: TextTable, labels: LabelSpace) -> list[str]:
    """Return the readers of a table: what its columns are called, without the finding behind the last point."""
    names = [str(column) for column in table.rows.columns if column != SAMPLE]
    ends = [f".{finding}" for finding in labels.names] if labels.kind == "multilabel" else []
    found = []
    for name in names:
        end = next((end for end in ends if name.endswith(end) and name != end), "")
        found.append(name.removesuffix(end))
    return list(dict.fromkeys(found))


def _columns(table: TextTable, name: str, labels: LabelSpace) -> list[str]:
    """Return a reader's columns: one of classes; of findings one each, or one where there is one finding."""
    known = [str(column) for column in table.rows.columns]
    if labels.exclusive or (labels.width == 1 and name in known):
        if name not in known or name == SAMPLE:
            raise UnknownNameError("reader", name, [n for n in known if n != SAMPLE], where=f" in {table.file}")
        return [name]
    columns = [f"{name}.{finding}" for finding in labels.names]
    if not set(columns) & set(known):
        raise ConfigError(f"{table.file} has no reader {name}: answers to findings are columns such as {columns[0]}, 0 or 1")
    return [column if column in known else "" for column in columns]


def _answers(table: TextTable, columns: Sequence[str], labels: LabelSpace) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return (rows, K) what was said, and whether anything was."""
    if labels.exclusive:
        # Words as in a dataset's table: blanks do not count, and a grade that an empty cell made 3.0 is 3.
        known = {identifier(name): place for place, name in enumerate(labels.names)}
        text = table[columns[0]].map(identifier)
        table.refuse(~text.isin([*known, ""]), columns[0], f"not one of {', '.join([*labels.names, 'nothing'])}")
        place = text.map(known).fillna(-1).to_numpy(dtype=np.int64)
        said = place[:, None] == np.arange(labels.width)
        return said, np.repeat((place >= 0)[:, None], labels.width, axis=1)
    said = np.zeros((len(table), labels.width), bool)
    read = np.zeros_like(said)
    for k, column in enumerate(columns):
        if not column:
            continue
        values = table.numbers(column)
        table.refuse(values.notna() & ~values.isin([0, 1]), column, "not 0, 1 or empty")
        said[:, k], read[:, k] = values == 1, values.notna()
    return said, read
