"""The official label file of OLIVES, `Biomarker_Clinical_Data_Images.csv`: one row a B-scan, and what its path says.

Columns are found by name, never by position: one copy of the file has 22 columns with 16 biomarkers, another form 26 with
20, and the authors' own loaders, which count columns, then read one biomarker as another. A path is
`/Prime_FULL/<subject>/W<week>/<OD|OS>/<file>` or `/TREX DME/<arm>/<subject>/V<n>/<OD|OS>/<file>`; the folder of the
trial may be nested in itself, and its case and the file's extension may differ on disk (olivesgatech/OLIVES_Dataset).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medzoo.data.dataset import UnknownColumnError
from medzoo.data.errors import DatasetError
from medzoo.data.labels import ConceptSpace, LabelSpace
from medzoo.data.tables import TextTable, leaves_root
from medzoo.data.tables.words import identifier, is_empty_word

# In the order of the file's columns.
BIOMARKERS = (
    "Atrophy / thinning of retinal layers", "Disruption of EZ", "DRIL", "IR hemorrhages", "IR HRF",
    "Partially attached vitreous face", "Fully attached vitreous face", "Preretinal tissue/hemorrhage", "Vitreous debris", "VMT",
    "DRT/ME", "Fluid (IRF)", "Fluid (SRF)", "Disruption of RPE", "PED (serous)", "SHRM",
)  # fmt: skip
CONCEPTS = ConceptSpace(BIOMARKERS)
LABELS = {
    "biomarkers": LabelSpace("multilabel", BIOMARKERS),
    "disease": LabelSpace("multiclass", ("DR", "DME")),
    "clinical": LabelSpace("regression", ("BCVA", "CST"), ("letters", "um")),
}
CSV_NAME = "Biomarker_Clinical_Data_Images.csv"
OTHER_COLUMNS = ("Scan (n/49)", "Eye_ID", "BCVA", "CST", "Patient_ID")
SLICES = 49  # B-scans of one eye at one visit (the column's own name, `Scan (n/49)`)

_PLACE = re.compile(
    r"(?:^|/)(?:(?P<prime>Prime_FULL)|(?P<trex>TREX[ _]DME)/(?P<arm>[^/]+))"
    r"/(?P<subject>[^/]+)/(?P<visit>[WV]\d+)/(?P<laterality>O[DS])/(?P<file>[^/]+)$",
    re.IGNORECASE,
)
_FOLDER_LABELS = ("full_labels", "ml_centric_labels")  # folders of the labels' archive that hold the CSV


def locate_csv(root: Path, present: Iterable[str]) -> Path:
    """Return where the label file lies: in the root, in one of the labels' folders, or anywhere among the files below.

    Raises:
        DatasetError: If it is not there, or two different files have its name.
    """
    found = [p for p in present if p.rpartition("/")[2].lower() == CSV_NAME.lower()]
    if not found:
        raise DatasetError(
            f"olives: no {CSV_NAME} below {root}; unpack the labels of zenodo.org/records/7105232 there, or set data.root"
        )
    found.sort(key=lambda p: (p.count("/") > 0, not any(f"{f}/" in p.lower() for f in _FOLDER_LABELS), p))
    contents = {(root / p).read_bytes() for p in found}
    if len(contents) > 1:
        raise DatasetError(f"olives: {CSV_NAME} lies in {len(found)} places with different contents "
                           f"({', '.join(found[:3])}); remove all but one")  # fmt: skip
    return root / found[0]


def parse_places(paths: pd.Series) -> pd.DataFrame:
    """Return what relative or absolute paths of OLIVES say.

    Args:
        paths: (N,) paths with forward slashes.

    Returns:
        (N) rows, all missing where a path is none of OLIVES: `trial` (PRIME or TREX), `arm` (missing for PRIME), `subject`,
        `visit_name` (W52, V3), `number` (of the week or visit), `laterality` (OD or OS), `file`; `folder`, lower-case, the
        same for every spelling of one folder; `key`, that and the file's name without its extension, in lower case.
    """
    parts = paths.astype(str).str.extract(_PLACE)
    known = parts["subject"].notna()
    prime = parts["prime"].notna()
    trial = pd.Series(np.where(prime, "PRIME", "TREX"), index=paths.index, dtype=object).where(known, None)
    visit = parts["visit"].str.upper()
    middle = ("/" + parts["arm"].fillna("")).where(~prime, "")
    folder = (trial + middle + "/" + parts["subject"] + "/" + visit + "/" + parts["laterality"]).str.lower()
    return pd.DataFrame(
        {
            "trial": trial,
            "arm": parts["arm"],
            "subject": parts["subject"],
            "visit_name": visit,
            "number": pd.to_numeric(visit.str.slice(1)),
            "laterality": parts["laterality"].str.upper(),
            "file": parts["file"],
            "folder": folder,
            "key": folder + "/" + parts["file"].str.replace(r"\.[^.]*$", "", regex=True).str.lower(),
        },
        index=paths.index,
    )


def match_columns(wanted: Sequence[str], columns: Sequence[str], file: str) -> dict[str, str]:
    """Return wanted name → the file's own column, whatever case and spaces; raises a DatasetError that offers the nearest."""
    places = {_plain(str(c)): str(c) for c in reversed(columns)}
    for name in wanted:
        if _plain(name) not in places:
            raise UnknownColumnError(f"olives: {file}", name, [str(c) for c in columns])
    return {name: places[_plain(name)] for name in wanted}


def read_labels(file: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read the label file.

    Args:
        file: The CSV, with 16 biomarkers or more.

    Returns:
        The rows in file order, with `path` (relative, no leading slash), the columns of `parse_places`, `scan` (1..49), the
        16 biomarkers by name (float32; 0, 1, NaN where the cell is empty), `eye_id`, `patient` (text), `bcva` (letters) and
        `cst` (um) in float32, `disease` (DR or DME), `week` (NaN for TREX, whose visits are only counted) and `visit` (0, 1,
        ... within the eye, by week or visit number); and notes on what was ignored.

    Raises:
        DatasetError: If the file is damaged, lacks a column, or a row holds what it must not; names the line.
    """
    rows = TextTable.read(file, dataset="olives", remedy="download it again from zenodo.org/records/7105232")
    columns = list(rows.rows.columns)
    path_column = next((c for c in columns if _plain(c).startswith("path")), None)
    if path_column is None:
        raise UnknownColumnError(f"olives: {file.name}", "Path (Trial/Arm/Folder/Visit/Eye/Image Name)", columns)
    names = match_columns((*OTHER_COLUMNS, *BIOMARKERS), columns, file.name)
    text = rows[path_column].str.strip()
    places = parse_places(text)
    rows.refuse(places["folder"].isna(), path_column, "not .../Prime_FULL/<subject>/W<week>/<OD|OS>/<file> or "
                ".../TREX DME/<arm>/<subject>/V<n>/<OD|OS>/<file>")  # fmt: skip
    rows.refuse_repeats(places["key"], "scan", "keep one line a scan")
    table = pd.concat([text.str.lstrip("/").rename("path"), places, read_values(rows, names)], axis=1)
    rows.refuse(leaves_root(table["path"]), path_column, "which leaves the dataset's folder", "paths must lie below it")
    scan = names["Scan (n/49)"]
    rows.refuse(~(table["scan"] >= 1) | (table["scan"] % 1 != 0), scan, "not a whole number")
    table["scan"] = table["scan"].astype(np.int64)
    table = in_time(table)
    refuse_shared_patients(file.name, table)
    used = {path_column, *names.values()}
    others = [c for c in columns if c not in used]
    notes = (f"{len(others)} other columns of {file.name} are ignored: {', '.join(others)}",) if others else ()
    return table.reset_index(drop=True), notes


def read_values(rows: TextTable, names: Mapping[str, str]) -> pd.DataFrame:
    """Read what the label file and the parquet shards both hold.

    Args:
        rows: Text.
        names: Name → the file's own column, of `OTHER_COLUMNS` and `BIOMARKERS`.

    Returns:
        `scan`, the 16 biomarkers by name (0, 1 or NaN), `bcva` and `cst`, float32, NaN where the cell is empty; `eye_id` and
        `patient`, text.

    Raises:
        DatasetError: If a cell holds what it must not; names its place.
    """
    values: dict[str, pd.Series] = {}
    for name, wanted in (("scan", "Scan (n/49)"), *((name, name) for name in BIOMARKERS), ("bcva", "BCVA"), ("cst", "CST")):
        column = names[wanted]
        numbers = rows.numbers(column, rows[column].str.strip().str.lower().isin(["", "nan", "na"]))
        if name in BIOMARKERS:
            rows.refuse(~(numbers.isna() | numbers.isin([0, 1])), column, "not 0, 1 or empty")
        values[name] = numbers.astype(np.float32)
    for name, wanted in (("eye_id", "Eye_ID"), ("patient", "Patient_ID")):
        values[name] = rows[names[wanted]].map(identifier)
        rows.refuse(values[name].map(is_empty_word), names[wanted], "which names nobody")
    return pd.DataFrame(values)


def in_time(table: pd.DataFrame) -> pd.DataFrame:
    """Return rows of scans with `disease`, `week` and `visit`, as `read_labels` tells them."""
    eye = table["folder"].str.replace(r"/[^/]*(?=/[^/]*$)", "", regex=True)  # the folder without its visit
    return table.assign(
        disease=table["trial"].map({"PRIME": "DR", "TREX": "DME"}),  # README of olivesgatech/OLIVES_Dataset
        week=table["number"].where(table["trial"] == "PRIME").astype(np.float32),
        visit=table.groupby(eye)["number"].rank(method="dense").astype(np.int64) - 1,
    )


def refuse_shared_patients(file: str, table: pd.DataFrame) -> None:
    """The file numbers the patients of both trials in one series; a number in both would make two people one."""
    trials = table.groupby("patient")["trial"].nunique()
    shared = trials.index[trials > 1]
    if len(shared):
        raise DatasetError(f"olives: {file}: Patient_ID {shared[0]} stands in both Prime_FULL and TREX DME "
                           f"({len(shared)} such); give the patients of the two trials different numbers")  # fmt: skip


def _plain(name: str) -> str:
    return re.sub(r"\s+", "", name).casefold()
