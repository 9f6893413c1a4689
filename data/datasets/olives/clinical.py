"""All visits of OLIVES: `Clinical_Data_Images.xlsx` has acuity and thickness of every B-scan, the label file of some.

Columns `File_Path`, `BCVA`, `CST`, `Eye_ID` and `Patient_ID`, found by name as in the label file. A B-scan's place in its volume
is not told; it is the number in its file's name, from 0, as in all 9,408 rows of the label file.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from medzoo.data.dataset import UnknownColumnError
from medzoo.data.datasets.olives.labels import BIOMARKERS, in_time, match_columns, parse_places, refuse_shared_patients
from medzoo.data.errors import DatasetError
from medzoo.data.tables import TextTable, as_text, leaves_root
from medzoo.data.tables.excel import read_workbook
from medzoo.data.tables.words import identifier, is_empty_word

XLSX_NAME = "Clinical_Data_Images.xlsx"


def with_all_visits(table: pd.DataFrame, root: Path, present: Iterable[str]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Add the B-scans of visits that are not in the label file, without biomarkers.

    Args:
        table: The rows of `read_labels`.
        root: The dataset's folder.
        present: Paths of all files below it.

    Returns:
        The rows of the label file, then those of the other visits; `visit` counts all of an eye. Notes.

    Raises:
        DatasetError: If the workbook is not there, damaged, contradicts itself, or calls an eye otherwise than the label file.
    """
    found = sorted((p for p in present if p.rpartition("/")[2].lower() == XLSX_NAME.lower()), key=lambda p: (p.count("/"), p))
    if not found:
        raise DatasetError(
            f"olives: no {XLSX_NAME} below {root}, which has the visits that are not in the label file; unpack the labels of "
            "zenodo.org/records/7105232 there, or set data.visits=labelled"
        )
    rows = TextTable(XLSX_NAME, as_text(read_workbook(root / found[0])), "olives", "row")
    clinical = _read(rows)
    known = set(table["folder"])
    others = clinical[~clinical["folder"].isin(known)]
    both = clinical[clinical["folder"].isin(known)].drop_duplicates("folder").set_index("folder")[["bcva", "cst"]]
    labelled = table.drop_duplicates("folder").set_index("folder").loc[both.index, ["bcva", "cst"]]
    differ = int(((both != labelled) & ~(both.isna() & labelled.isna())).any(axis=1).sum())
    empty = pd.DataFrame(np.float32(np.nan), index=others.index, columns=list(BIOMARKERS))
    joined = pd.concat([table, pd.concat([others, empty], axis=1)], ignore_index=True)[list(table.columns)]
    _refuse_two_names(joined)
    refuse_shared_patients(XLSX_NAME, joined)
    visits, eyes = others["folder"].nunique(), joined["eye_id"].nunique()
    notes: tuple[str, ...] = (f"{visits} visits of {eyes} eyes are of {XLSX_NAME} and have no biomarkers",)
    if differ:
        notes += (f"{differ} visits have other values in {XLSX_NAME} than in the label file, whose values are taken",)
    return in_time(joined), notes


def _read(rows: TextTable) -> pd.DataFrame:
    """Return the workbook's B-scans with the columns of `read_labels` that it has."""
    columns = list(rows.rows.columns)
    path = next((c for c in columns if "path" in c.lower()), None)
    if path is None:
        raise UnknownColumnError(f"olives: {XLSX_NAME}", "File_Path", columns)
    names = match_columns(("Eye_ID", "BCVA", "CST", "Patient_ID"), columns, XLSX_NAME)
    places = parse_places(rows[path].str.strip())
    rows.refuse(places["folder"].isna(), path, "no path of OLIVES")
    rows.refuse(leaves_root(rows[path].str.strip().str.lstrip("/")), path, "which leaves the dataset's folder")
    table = pd.concat([rows[path].str.strip().str.lstrip("/").rename("path"), places], axis=1)
    fundus = places["file"].str.lower().str.contains("fundus", regex=False)
    number = pd.to_numeric(places["file"].str.extract(r"(\d+)\.[^.]*$")[0])
    rows.refuse(number.isna() & ~fundus, path, "whose name has no number, by which slices are in order")
    table["scan"] = number.fillna(-1).astype(np.int64) + 1
    for name, wanted in (("bcva", "BCVA"), ("cst", "CST")):
        column = names[wanted]
        table[name] = rows.numbers(column, rows[column].str.strip().str.lower().isin(["", "nan", "na"])).astype(np.float32)
    for name, wanted in (("eye_id", "Eye_ID"), ("patient", "Patient_ID")):
        table[name] = rows[names[wanted]].map(identifier)
        rows.refuse(table[name].map(is_empty_word) | (table[name] == ""), names[wanted], "which names nobody")
    table = table[~fundus]
    table = table[~table.duplicated(["key", "bcva", "cst", "eye_id", "patient"])]
    rows.refuse_repeats(table["key"], "scan", "keep one row a scan")
    return table


def _refuse_two_names(table: pd.DataFrame) -> None:
    """Refuse an eye's folder that has two eyes' or patients' numbers: which visits are whose could not be told."""
    eye = table["folder"].str.replace(r"/[^/]*(?=/[^/]*$)", "", regex=True)
    for column, called in (("eye_id", "Eye_ID"), ("patient", "Patient_ID")):
        several = table[column].groupby(eye).nunique()
        if (several > 1).any():
            folder = several.index[several > 1][0]
            numbers = ", ".join(sorted(table.loc[eye == folder, column].unique()))
            raise DatasetError(f"olives: the visits of {folder} have several {called} ({numbers}) in {XLSX_NAME} and the label "
                               "file; make them alike, or set data.visits=labelled")  # fmt: skip
