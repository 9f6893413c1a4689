"""From the label file's B-scans to samples with files: B-scans, volumes of 49, and near-IR fundus images.

The files on disk are looked up by folder and name in lower case, without the extension: the label file and the published
folders do not agree on either, nor on how deep `Prime_FULL` is nested.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from medzoo.data.datasets.olives.labels import BIOMARKERS, SLICES, parse_places
from medzoo.data.errors import DatasetError
from medzoo.data.images.decode import SUFFIXES
from medzoo.data.images.files import Missing, with_files
from medzoo.data.splits.groups import merge_groups

Notes = tuple[str, ...]
_PREFERRED = (".png", ".tif", ".jpg")  # where the label file's own extension is not there


def scan_samples(table: pd.DataFrame, present: list[str], missing: Missing) -> tuple[pd.DataFrame, Notes]:
    """Give every labelled B-scan its file.

    Args:
        table: The rows of `read_labels`.
        present: Paths of all files below the root.
        missing: See `medzoo.data.images.files.with_files`.

    Returns:
        The table with `sample_id` (the label file's path) and `path` as it is on disk; notes.

    Raises:
        DatasetError: If files are missing, or one lies in two places.
    """
    paths, notes = scan_paths(table, present)
    table = table.assign(sample_id=table["path"], path=paths)
    table, more = with_files(table, present, ["path"], missing, "olives")
    return table, (*notes, *more)


def scan_paths(table: pd.DataFrame, present: list[str]) -> tuple[pd.Series, Notes]:
    """Return the path of every labelled B-scan as it is on disk, or the label file's where it is not there; notes."""
    files = known_files(present)
    exact = files["path"].set_axis(files["key"] + files["suffix"])
    best = files.drop_duplicates("key").set_index("key")["path"]
    suffix = table["path"].str.extract(r"(\.[^./]*)$")[0].str.lower().fillna("")
    same = (table["key"] + suffix).map(exact).astype(object)
    found = same.where(same.notna(), table["key"].map(best).astype(object))
    other = int((same.isna() & found.notna()).sum())
    notes: Notes = (f"{other} files have another extension than in the label file",) if other else ()
    return found.where(found.notna(), table["path"]), notes


def volume_samples(table: pd.DataFrame, present: list[str], missing: Missing) -> tuple[pd.DataFrame, Notes]:
    """Join the B-scans of each visit of an eye to one volume.

    Returns:
        One row a visit, with `sample_id` (its folder) and `paths`, its slices in order of `Scan (n/49)` joined by `|`. A
        biomarker is 1 if any slice has it, NaN if none has and one is unknown, else 0. Notes.

    Raises:
        DatasetError: If files are missing, or the scans of a visit contradict each other.
    """
    whole = table.groupby("folder", sort=False).size()
    scans, notes = scan_samples(table, present, missing)
    kept = scans.groupby("folder", sort=False).size()
    partial = kept.index[kept < whole.loc[kept.index]]
    gone = len(whole) - len(kept) + len(partial)
    if gone:  # a volume without some of its slices would have another depth
        notes = (*notes, f"{gone} of {len(whole)} visits left out: a volume needs the files of all its slices")
        scans = scans[~scans["folder"].isin(partial)]
        if not len(scans):
            raise DatasetError(f"olives: none of its {len(whole)} visits has the files of all its slices; set data.root")
    visits = visits_of(scans)
    visits["paths"], more = volume_paths(scans, visits)
    return visits, (*notes, *more)


def volume_paths(scans: pd.DataFrame, visits: pd.DataFrame) -> tuple[pd.Series, Notes]:
    """Return the paths of each visit's slices in order of `Scan (n/49)`, joined by `|`; notes.

    Args:
        scans: All slices of the visits, with `sample_id` (the label file's path) and `path`.
        visits: One row a visit.

    Raises:
        DatasetError: If a slice is there twice.
    """
    scans = scans.sort_values("scan", kind="stable")
    twice = scans.duplicated(["folder", "scan"])
    if twice.any():
        first = scans[twice].iloc[0]
        raise DatasetError(f"olives: scan {first['scan']} of {first['sample_id'].rpartition('/')[0]!r} is there twice; which "
                           "slice is which cannot be told")  # fmt: skip
    odd = int((scans.groupby("folder").size() != SLICES).sum())
    notes: Notes = (f"{odd} volumes have not {SLICES} slices in the label file",) if odd else ()
    return visits["folder"].map(scans.groupby("folder")["path"].agg("|".join)), notes


def fundus_samples(table: pd.DataFrame, present: list[str], missing: Missing) -> tuple[pd.DataFrame, Notes]:
    """Give each labelled visit of an eye its near-IR fundus image: the file in its folder with `fundus` in the name.

    Returns:
        One row a visit, with `sample_id` (its folder) and `path`; labels as of a volume. Notes.

    Raises:
        DatasetError: If files are missing, or the scans of a visit contradict each other.
    """
    visits = visits_of(table)
    visits["path"], notes = fundus_paths(visits, present)
    visits, more = with_files(visits, present, ["path"], missing, "olives")
    return visits, (*notes, *more)


def fundus_paths(visits: pd.DataFrame, present: list[str]) -> tuple[pd.Series, Notes]:
    """Return the path of each visit's fundus image, or the one it should have where there is none; notes."""
    files = known_files(present)
    files = files[files["file"].str.lower().str.contains("fundus", regex=False)].sort_values("key", kind="stable")
    stems = files[files["folder"].isin(visits["folder"])].groupby("folder")["key"].nunique()
    several = int((stems > 1).sum())
    notes: Notes = (f"{several} visits have several fundus files; the first by name is taken",) if several else ()
    found = visits["folder"].map(files.drop_duplicates("folder").set_index("folder")["path"]).astype(object)
    # Where there is none, the name it should have (olivesgatech/OLIVES_Dataset), for the message.
    expected = visits["sample_id"] + "/fundus_" + visits["laterality"] + "_" + visits["visit_name"] + ".tif"
    return found.where(found.notna(), expected), notes


def file_contents(root: Path, paths: pd.Series) -> Iterator[tuple[int, bytes | None]]:
    """Yield each row and the bytes of its files below the root (joined by `|`, or missing), None of one that is not there."""
    for row, joined in enumerate(paths):
        if pd.isna(joined):
            continue
        for path in str(joined).split("|"):
            yield row, (root / path).read_bytes() if (root / path).is_file() else None


def join_identical(groups: pd.Series, contents: Iterable[tuple[int, bytes | None]]) -> tuple[list[str], Notes]:
    """Merge groups that share a byte-identical image, and say how many images are copies of others.

    Args:
        groups: (N,) group names.
        contents: The row, from 0, and the bytes of every image; None of one that cannot be read.

    Returns:
        (N,) group names after merging; notes.
    """
    hashed = [(row, None if data is None else hashlib.sha256(data).hexdigest()) for row, data in contents]
    files = pd.DataFrame(hashed, columns=["row", "digest"]).dropna()
    gone = len(hashed) - len(files)
    files["group"] = groups.to_numpy()[files["row"].to_numpy()]
    sizes = files.groupby("digest").agg(images=("row", "size"), groups=("group", "nunique"))
    sets = sizes[sizes["images"] > 1]
    across = sizes.index[sizes["groups"] > 1]
    shared: Iterable[list[int]] = files[files["digest"].isin(across)].groupby("digest")["row"].agg(list)
    merged = merge_groups(groups.astype(str).tolist(), shared)
    note = (
        f"audit: of {len(files)} images {len(files) - len(sizes)} are byte-identical copies of others ({len(sets)} sets); "
        f"{len(across)} sets lie in several patients, so {groups.nunique()} patients were merged to {len(set(merged))} groups"
    )
    return merged, (note,) + ((f"audit: {gone} images are not there and were not compared",) if gone else ())


def visits_of(scans: pd.DataFrame) -> pd.DataFrame:
    """One row a folder, in order of first appearance."""
    grouped = scans.groupby("folder", sort=False)
    for column in ("bcva", "cst", "patient"):
        differing = grouped[column].nunique(dropna=False)
        if (differing > 1).any():
            raise DatasetError(f"olives: the scans of {differing.index[differing > 1][0]!r} have different values of {column}; "
                               "one visit of an eye has one")  # fmt: skip
    visits = scans.drop_duplicates("folder").reset_index(drop=True)
    visits["sample_id"] = visits["sample_id" if "sample_id" in visits else "path"].str.rpartition("/")[0]
    names = list(BIOMARKERS)
    highest = grouped[names].max()  # NaN is passed over
    unknown = scans[names].isna().groupby(scans["folder"], sort=False).any()
    visits[names] = highest.where((highest == 1) | ~unknown).loc[visits["folder"]].to_numpy(dtype=np.float32)
    return visits.drop(columns=["path", "scan", "key", "file"])


def known_files(present: list[str]) -> pd.DataFrame:
    """The image files of OLIVES that are there, the preferred extension of each name first."""
    paths = pd.Series([p for p in present if p.lower().endswith(SUFFIXES)], dtype=object)
    files = pd.concat([paths.rename("path"), parse_places(paths)], axis=1).dropna(subset=["key"])
    files["suffix"] = files["path"].str.extract(r"(\.[^./]*)$")[0].str.lower()
    files["rank"] = files["suffix"].map({s: k for k, s in enumerate(_PREFERRED)}).fillna(len(_PREFERRED))
    twice = files.duplicated(["key", "suffix"], keep=False)
    if twice.any():
        one, other = files.loc[twice & (files["key"] == files.loc[twice, "key"].iloc[0]), "path"].iloc[:2]
        raise DatasetError(f"olives: one scan lies in two places ({one} and {other}); remove one")
    return files.sort_values(["rank", "suffix", "path"], kind="stable")
