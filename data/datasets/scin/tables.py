"""SCIN's two CSV files: found, read as text and held against each other.

`scin_cases.csv` has what a contributor answered and the paths of up to three photographs, `scin_labels.csv` what
dermatologists and lay graders said, one row a case in both (dataset_schema.md of google-research-datasets/scin).
Everything stays text here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from medzoo.data.download import file_checksum
from medzoo.data.errors import DatasetError
from medzoo.data.info import RemoteFile
from medzoo.data.tables import TextTable

CASES, LABELS = "scin_cases.csv", "scin_labels.csv"
BUCKET = "gs://dx-scin-public-data"
URL = "https://storage.googleapis.com/dx-scin-public-data/dataset/"
# SHA-256 of release 1.0.0, taken from the bucket's files; the authors publish none.
RELEASE = (
    RemoteFile(CASES, URL + CASES, "sha256:7923ee9ba9775af413ca115c4587dc1bd32259d7936aa97fa80d88dd616ca3c3"),
    RemoteFile(LABELS, URL + LABELS, "sha256:616ad03c24c304f5f7ef01b4116e4d3274f1c71c9b19a0e3d5620698b081a9fe"),
)


def find_folder(root: str | Path) -> Path:
    """Return the folder of the CSV files: the root (`~` is understood) if it is a copy of the bucket's `dataset/`, or that below.

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


def read_tables(folder: Path, case_columns: Sequence[str], label_columns: Sequence[str]) -> tuple[TextTable, TextTable]:
    """Read both files, in the order of the cases.

    Args:
        folder: Where they lie; see `find_folder`.
        case_columns: Columns `scin_cases.csv` must have besides `case_id`.
        label_columns: Columns `scin_labels.csv` must have besides `case_id`.

    Returns:
        Cases and labels, row i of both the same case; text, empty where nothing was said.

    Raises:
        DatasetError: If a file cannot be read, lacks a column, repeats a case, or the two differ in their cases.
    """
    cases, labels = (
        TextTable.read(folder / name, ["case_id", *columns], dataset="scin", remedy=f"download it again from {BUCKET}/dataset")
        for name, columns in ((CASES, case_columns), (LABELS, label_columns))
    )
    for table in (cases, labels):
        table.refuse(table["case_id"] == "", "case_id")
        table.refuse_repeats(table["case_id"], "case", table.remedy)
    for one, other in ((cases, labels), (labels, cases)):
        alone = ~one["case_id"].isin(other["case_id"])
        one.refuse(alone, "case_id", f"which is not in {other.file}", "take both files from one release")
    order = pd.Series(labels.rows.index, index=labels["case_id"])[cases["case_id"]]
    return cases, replace(labels, rows=labels.rows.loc[order.to_numpy()])
