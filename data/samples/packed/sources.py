"""What prepared images were made of: the names, sizes and content of their files, compared when the images are used."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medzoo.data.dataset import Dataset, Reader
from medzoo.data.download import file_checksum
from medzoo.data.errors import DatasetError
from medzoo.data.images.files import FRAME

CHECKED = 64
"""How many source files are compared by size, and how many by content, when a folder is opened."""
SOURCE, BYTES, SHA256 = "source", "bytes", "sha256"
"""Columns of an index: what the dataset's table called the image, its size (-1: not known), and of some the content's sum."""


@dataclass(frozen=True)
class Source:
    """What one image is read from.

    Attributes:
        called: By the dataset's table, the same wherever the dataset lies; empty where the row has no such image.
        size: Bytes; -1 where they are not to be had.
        paths: Its files, or that which it is a member of; empty: nobody says.
        read: Reads a member's bytes; None of files of its own.
    """

    called: str
    size: int
    paths: Sequence[Path] = ()
    read: Callable[[], bytes] | None = None


def describe_sources(dataset: Dataset, positions: pd.DataFrame, order: Sequence[tuple[int, int]]) -> None:
    """Write into an index what each of its images is made of, and of some the content.

    Args:
        dataset: Of images in files.
        positions: Of each image `sample_id`, `view` and `position`; gets the columns above.
        order: Row and view of the dataset that each position is read from.
    """
    of_row, contents = positions["position"].tolist(), _Contents()
    cells = _cells(dataset)
    sources = [source_of(dataset.reader, cells[row], view) for row, view in order]
    positions[SOURCE] = [sources[position].called for position in of_row]
    positions[BYTES] = [sources[position].size for position in of_row]
    positions[SHA256] = ""
    if FRAME in dataset.reader.columns:
        positions[FRAME] = positions["sample_id"].map(dataset.table.set_index("sample_id")[FRAME])
    for at in range(0, len(positions), max(1, len(positions) // CHECKED)):
        source = sources[of_row[at]]
        positions.at[at, SHA256] = contents(source) if source.size >= 0 else ""


def check_sources(folder: Path, dataset: Dataset, index: pd.DataFrame, *, every: bool = False) -> None:
    """Compare all names and frames' numbers with those that were prepared, and of some files that are at hand the content.

    Args:
        folder: Of prepared images, for messages.
        dataset: That is to be read from them; its files need not be there.
        index: Of the images, as `describe_sources` filled it; folders of before lack some of its columns.
        every: Compare the sizes of all files.

    Raises:
        DatasetError: If an image is now another; names it.
    """
    remedy = "prepare again, with another output=..."
    if FRAME in index and FRAME in dataset.reader.columns:
        now = index["sample_id"].map(dataset.table.set_index("sample_id")[FRAME])
        if len(moved := index[now.notna() & (now != index[FRAME])]):
            raise DatasetError(
                f"{folder} was prepared with frame {moved[FRAME].iloc[0]} of its file for sample {moved['sample_id'].iloc[0]!r}, "
                f"which is now another; {remedy}"
            )
    rows, cells = {str(name): place for place, name in enumerate(dataset.table["sample_id"])}, _cells(dataset)
    known = index[index["sample_id"].isin(list(rows))].reset_index(drop=True)
    # Folders of before name no source, and some no content.
    empty = [""] * len(known)
    names, content = (known[column].tolist() if column in known else empty for column in (SOURCE, SHA256))
    sizes = known[BYTES].to_numpy()
    there = sizes >= 0
    some = (np.cumsum(there) - 1) % max(1, int(there.sum()) // CHECKED) == 0
    contents = _Contents()
    for sample, view, called, size, then, one in zip(
        known["sample_id"], known["view"], names, sizes.tolist(), content, some, strict=True
    ):
        sized = size >= 0 and bool(one or then or every)
        if not (sized or called):
            continue
        source = source_of(dataset.reader, cells[rows[sample]], view, sized=sized)
        if called and source.called and not _one_name(called, source.called):
            raise DatasetError(
                f"{folder} was prepared with {called!r} for sample {sample!r}, which is now {source.called!r}; {remedy}"
            )
        if size >= 0 and source.size >= 0 and (source.size != size or (then and then != contents(source))):
            what = source.paths[0] if source.read is None else f"those of {source.called!r}"
            raise DatasetError(f"{folder} was prepared from other images than {what}; {remedy}")


def source_of(reader: Reader, cells: Sequence[Any], view: int, *, sized: bool = True) -> Source:
    """Return what an image is read from, as far as its reader says.

    Args:
        reader: Of images in files.
        cells: Of its columns, in one row.
        view: Of the row.
        sized: Whether to ask for files' sizes, which takes a look at each; those of members stand in an index.
    """
    values = reader.images(*cells).get(view)
    if values is None:
        return Source("", -1)
    called = reader.called(*values)
    if (member := reader.member(*values)) is not None:
        return Source(called, member[0], (), member[1])
    if not sized:
        return Source(called, -1)
    paths = reader.files(*values)
    there = bool(paths) and all(path.is_file() for path in paths)
    return Source(called, sum(path.stat().st_size for path in paths) if there else -1, paths)


def _cells(dataset: Dataset) -> list[tuple[Any, ...]]:
    """Return the cells of the reader's columns, row by row."""
    return list(zip(*(dataset.table[column].to_numpy(dtype=object) for column in dataset.reader.columns), strict=True))


def _one_name(one: str, other: str) -> bool:
    """Whether two names may be of one file, below a folder and below one of its own folders."""
    return one == other or one.endswith(f"/{other}") or other.endswith(f"/{one}")


class _Contents:
    """One SHA-256 of an image's bytes, or of its files one after the other; each file is read once, whatever its frames."""

    def __init__(self) -> None:
        self._of: dict[Path, str] = {}

    def __call__(self, source: Source) -> str:
        if source.read is not None:
            return hashlib.sha256(source.read()).hexdigest()
        for path in source.paths:
            if path not in self._of:
                self._of[path] = file_checksum(path, "sha256")
        return hashlib.sha256("".join(self._of[path] for path in source.paths).encode("ascii")).hexdigest()
