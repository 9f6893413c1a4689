"""Several rows of one image, a row for each of its readers → one sample of what they say together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medzoo.data.errors import ConfigError
from medzoo.data.labels import LabelSpace
from medzoo.data.tables import TextTable

Readers = Literal["any", "majority", "unanimous"]


def settle(
    rows: TextTable, paths: pd.DataFrame, targets: pd.DataFrame, space: LabelSpace | None, readers: Readers, same: Sequence[str],
    parts: pd.Series | None = None,
) -> tuple[TextTable, pd.DataFrame, pd.DataFrame, tuple[str, ...]]:  # fmt: skip
    """Keep the first row of each image, with the labels that its rows agree on.

    `majority`: what more than half of those say who say anything. `unanimous`: what all of them say. `any`: a finding holds if
    one says so, and does not if all deny it. What is not settled by that is missing.

    Args:
        rows: The table.
        paths: The image of each row.
        targets: Labels of each row.
        space: What they mean.
        readers: How they are settled.
        same: Columns in which the rows of an image must not differ.
        parts: What of its file an image is: the number of its frame, the series of a directory. None: all of it.

    Returns:
        Rows, paths and labels of one row an image, and a note.

    Raises:
        ConfigError: If there is nothing to settle, or not in this way.
        DatasetError: If two rows of an image differ in what they must not; names the line.
    """
    if space is None:
        raise ConfigError("data.readers settles labels of several rows of an image; name their column, data.target")
    if len(paths.columns) > 1:
        raise ConfigError("data.readers is for one image a row; of views of one case each row is a case")
    if space.kind == "regression" or (space.exclusive and readers == "any"):
        raise ConfigError(f"data.readers={readers} is no way to settle {space.kind} labels" + "; majority is" * space.exclusive)
    rows.refuse(paths.isna().all(axis=1), str(paths.columns[0]), remedy="every row needs its image")
    images, _ = pd.factorize(paths.iloc[:, 0])
    if parts is not None:
        within, _ = pd.factorize(parts, use_na_sentinel=False)
        images, _ = pd.factorize(images * (within.max() + 1) + within)
    first = ~pd.Series(images, index=rows.rows.index).duplicated()
    for column in dict.fromkeys(same):
        of_first = rows[column][first].to_numpy()[images]
        remedy = "an image is one sample; make them alike, or leave the column out"
        rows.refuse(rows[column].to_numpy() != of_first, column, "which another row of the image says otherwise", remedy)
    given = targets.to_numpy(dtype=np.float64)
    if space.exclusive:
        settled = _class(given[:, 0], images, space.width, readers)[:, None]
    else:
        settled = np.stack([_finding(column, images, readers) for column in given.T], axis=1)
    count = int(first.sum())
    open_ = int((np.isnan(settled) & (_counts(~np.isnan(given), images) > 0)).sum())
    by = f"a sample an image, its labels by data.readers={readers}"
    note = f"{len(rows)} rows of {count} images: {by}; {open_} of {settled.size} are not settled and missing"
    kept = pd.DataFrame(settled, index=rows.rows.index[first], columns=targets.columns).astype(targets.dtypes)
    return replace(rows, rows=rows.rows[first]), paths[first], kept, (note,)


def _counts(held: NDArray[np.bool_], images: NDArray[np.intp]) -> NDArray[np.int64]:
    """Return in how many of an image's rows each column holds: (images, columns)."""
    counts = np.zeros((images.max() + 1, held.shape[1]), dtype=np.int64)
    np.add.at(counts, images, held)
    return counts


def _finding(values: NDArray[np.float64], images: NDArray[np.intp], readers: Readers) -> NDArray[np.float64]:
    yes, no, silent = _counts(np.stack([values == 1, values == 0, np.isnan(values)], axis=1), images).T
    if readers == "any":
        return np.where(yes > 0, 1.0, np.where((no > 0) & (silent == 0), 0.0, np.nan))
    if readers == "majority":
        return np.where(yes > no, 1.0, np.where(no > yes, 0.0, np.nan))
    return np.where((yes > 0) & (no == 0), 1.0, np.where((no > 0) & (yes == 0), 0.0, np.nan))


def _class(codes: NDArray[np.float64], images: NDArray[np.intp], width: int, readers: Readers) -> NDArray[np.float64]:
    votes = _counts(codes[:, None] == np.arange(width), images)
    most, total = votes.max(axis=1), votes.sum(axis=1)
    settled = 2 * most > total if readers == "majority" else (most == total) & (total > 0)
    return np.where(settled, votes.argmax(axis=1).astype(np.float64), np.nan)
