"""SCIN's two CSV files: found, read as text and held against each other.

`scin_cases.csv` has what a contributor answered and the paths of up to three photographs, `scin_labels.csv` what
dermatologists and lay graders said, one row a case in both (dataset_schema.md of google-research-datasets/scin).
Everything stays text here; the index of both tables is the line of the file, for messages.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd

from medzoo.data.download import file_checksum
from medzoo.data.errors import DatasetError, nearest
from medzoo.data.info import RemoteFile

CASES, LABELS = "scin_cases.csv", "scin_labels.csv"
BUCKET = "gs://dx-scin-public-data"
URL = "https://storage.googleapis.com/dx-scin-public-data/dataset/"
# SHA-256 of release 1.0.0, taken from the bucket's files; the authors publish none.
RELEASE = (
    RemoteFile(CASES, URL + CASES, "sha256:7923ee9ba9775af413ca115c4587dc1bd32259d7936aa97fa80d88dd616ca3c3"),
    RemoteFile(LABELS, URL + LABELS, "sha256:616ad03c24c304f5f7ef01b4116e4d3274f1c71c9b19a0e3d5620698b081a9fe"),
)


def find_folder(root: str | Path) -> Path:
    """Return the folder of the CSV files: `dataset/` below the root, or the root itself.

    Args:
        root: A copy of the authors' bucket, or of its `dataset/` folder; `~` is understood.

    Raises:
        DatasetError: If neither holds `scin_cases.csv`.
    """
    base = Path(root).expanduser()
    for folder in (base / "dataset", base):
        if (folder / CASES).is_file():
            return folder
    raise DatasetError(
        f"scin: no {CASES} in {base / 'dataset'} or {base}; set data.root to the folder that holds dataset/ (a copy of {BUCKET})"
    )


def release_note(folder: Path) -> tuple[str, ...]:
    """Return a note that names the files that are not those of release 1.0.0, if any are not."""
    other = [file.name for file in RELEASE if f"sha256:{file_checksum(folder / file.name, 'sha256')}" != file.checksum]
    return (f"not the files of release 1.0.0 (SHA-256 differs): {', '.join(other)}",) if other else ()


def read_tables(folder: Path, case_columns: Sequence[str], label_columns: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read both files, in the order of the cases.

    Args:
        folder: Where they lie; see `find_folder`.
        case_columns: Columns `scin_cases.csv` must have besides `case_id`.
        label_columns: Columns `scin_labels.csv` must have besides `case_id`.

    Returns:
        Cases and labels, row i of both the same case; text, empty where nothing was said; the index is each file's line.

    Raises:
        DatasetError: If a file cannot be read, lacks a column, repeats a case, or the two differ in their cases.
    """
    cases = _read(folder / CASES, case_columns)
    labels = _read(folder / LABELS, label_columns)
    for name, one, other, where in ((CASES, cases, labels, LABELS), (LABELS, labels, cases, CASES)):
        alone = ~one["case_id"].isin(other["case_id"])
        if alone.any():
            raise DatasetError(
                f"scin: case {one.loc[alone, 'case_id'].iloc[0]} (line {one.index[alone][0]} of {name}) is not in {where} "
                f"({int(alone.sum())} such cases); take both files from one release"
            )
    lines = pd.Series(labels.index, index=labels["case_id"])
    return cases, labels.loc[lines[cases["case_id"]].to_numpy()]


def check_values(column: pd.Series, known: Collection[str], file: str) -> None:
    """Refuse an answer that the authors do not list.

    Args:
        column: Text, indexed by the line of its file.
        known: What it may be, the empty text included where nothing may be said.
        file: Name for the message.

    Raises:
        DatasetError: Names the first such value and its line.
    """
    strange = ~column.isin(list(known))
    if strange.any():
        allowed = ", ".join(value or "nothing" for value in known)
        raise DatasetError(
            f"scin: line {column.index[strange][0]} of {file}: {column.name} is {column[strange].iloc[0]!r}, not one of "
            f"{allowed} ({int(strange.sum())} such rows); correct it, or download the file again"
        )


def _read(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    try:
        with warnings.catch_warnings():
            # Lines that end in a comma which the header lacks: without index_col their first cell would become the index.
            warnings.simplefilter("ignore", pd.errors.ParserWarning)
            # Blank lines are kept while lines are counted.
            table = pd.read_csv(
                path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skip_blank_lines=False, index_col=False
            )
    except FileNotFoundError:
        raise DatasetError(f"scin: {path} is not there; the authors serve it in {BUCKET}/dataset") from None
    except (OSError, ValueError) as error:  # pandas' own errors and undecodable text are ValueErrors
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DatasetError(f"scin: {path} cannot be read ({reason}); download it again") from None
    table = table.fillna("")
    for column in ("case_id", *columns):
        if column not in table.columns:
            near = nearest(column, table.columns, 1)
            hint = f"the nearest is {near[0]!r}" if near else f"it has {len(table.columns)}, the first {table.columns[0]!r}"
            raise DatasetError(f"scin: {path} has no column {column!r}; {hint}; is it the authors' file?")
    table.index = pd.RangeIndex(2, len(table) + 2, name="line")
    table = table[~table.isin([""]).all(axis=1)]
    if not len(table):
        raise DatasetError(f"scin: {path} has no rows; download it again")
    for wrong, what in (
        (table["case_id"] == "", "has no case_id"),
        (table["case_id"].duplicated(), "repeats an earlier case_id"),
    ):
        if wrong.any():
            raise DatasetError(f"scin: line {table.index[wrong][0]} of {path.name} {what} ({int(wrong.sum())} such rows)")
    return table
