"""Rows of features in files: what a network of others has made of the tiles of a slide, the frames of a video.

A file holds one array (n, F), a row a tile: `.npy`, `.safetensors` (one tensor, or that called `features`) or `.parquet`
(columns of numbers, known by their names; an index of pandas is none of them). No pickle is read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ImageError
from medzoo.data.images.reader import Reader

SUFFIXES = (".npy", ".safetensors", ".parquet")
NAME = "features"
"""The tensor of a safetensors file that is read where it holds several."""


def read_rows(path: Path, names: Sequence[str] | None = None) -> NDArray[np.float32]:
    """Return the rows of a file, (n, F) float32.

    Args:
        path: The file.
        names: Of the features, in their order, for files that name their columns; None: as they stand.

    Raises:
        ImageError: If it is missing, damaged, of another kind or pickled, has other columns, holds no rows, or numbers that are
            not finite.
    """
    return as_rows(_guarded(path, lambda: _read(path, names)), str(path))


def row_names(path: Path) -> tuple[str, ...] | None:
    """Return the names of a file's features, in its order; None of a file that has none. Raises as `read_rows`."""
    if path.suffix.lower() != ".parquet":
        return None
    return tuple(_guarded(path, lambda: _features(_opened(path))))


def _guarded(path: Path, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except FileNotFoundError:
        raise ImageError(f"{path}: there is no such file") from None
    except ImageError:
        raise
    except Exception as error:  # each of the three formats has a family of errors of its own
        raise ImageError(f"{path}: cannot be read as rows of features ({' '.join(str(error).split())[:120]})") from error


def as_rows(array: Any, name: str) -> NDArray[np.float32]:
    """Return an array as (n, F) float32; ImageError, which begins with `name`, if it is no such array."""
    found = np.asarray(array)
    if found.ndim != 2 or found.dtype.kind not in "fiu":
        raise ImageError(f"{name}: has shape {list(found.shape)} of {found.dtype}, not numbers (members, features)")
    if 0 in found.shape:
        raise ImageError(f"{name}: holds no member (shape {list(found.shape)}); a bag has at least one")
    rows = np.ascontiguousarray(found, np.float32)
    if not np.isfinite(rows).all():
        wrong = int((~np.isfinite(rows)).any(axis=1).sum())
        raise ImageError(f"{name}: {wrong} of {len(rows)} members are not finite numbers; compute them anew, or leave them out")
    return rows


def case_rows(bag: Any, width: int, place: int, names: Sequence[str] | None = None) -> NDArray[np.float32]:
    """Return the rows of one bag, (n, F), of an (n, F) array, a file's path, or a list of either; ImageError if they do not fit.

    Args:
        bag: What was given.
        width: F.
        place: Of the bag among those given, for messages.
        names: Of the features; see `read_rows`.
    """
    several = isinstance(bag, list | tuple) and any(isinstance(part, str | Path) or np.ndim(part) == 2 for part in bag)
    parts = [
        read_rows(Path(part), names) if isinstance(part, str | Path) else as_rows(part, f"case {place}")
        for part in (bag if several else [bag])
    ]
    rows = np.concatenate(parts) if len({part.shape[1] for part in parts}) == 1 else parts[-1]
    if any(part.shape[1] != width for part in parts):
        raise ImageError(f"case {place} has members of {rows.shape[1]} features, the model takes {width}")
    return rows


def _opened(path: Path) -> Any:
    # Not above, as safetensors.
    from pyarrow import parquet

    return parquet.ParquetFile(path)


def _features(opened: Any) -> list[str]:
    """Return the columns of an open Parquet file, without those that pandas keeps its index in."""
    schema = opened.schema_arrow
    described = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))
    index = {name for name in described.get("index_columns", ()) if isinstance(name, str)}
    return [name for name in schema.names if name not in index]


def _in_order(path: Path, own: Sequence[str], names: Sequence[str]) -> Sequence[str]:
    """Return the names if a file has these columns and no others; ImageError else."""
    lacking, beside = [name for name in names if name not in own], [name for name in own if name not in names]
    if lacking or beside:
        said = [f"{what} {', '.join(map(repr, some[:3]))}" for what, some in (("lacks", lacking), ("has", beside)) if some]
        known = ", ".join(names[:4]) + ", ..." * (len(names) > 4)
        raise ImageError(f"{path}: {' and '.join(said)}, where the features are {known}; give every file the same columns")
    return names


def _read(path: Path, names: Sequence[str] | None) -> Any:
    kind = path.suffix.lower()
    if kind == ".npy":
        return np.load(path, allow_pickle=False)
    if kind == ".safetensors":
        # Not above: the runtime reads .npy with NumPy alone.
        from safetensors.numpy import load_file

        tensors = load_file(path)
        if len(tensors) > 1 and NAME not in tensors:
            raise ImageError(f"{path}: holds several tensors ({', '.join(sorted(tensors)[:4])}); call that of the rows {NAME!r}")
        return tensors.get(NAME, next(iter(tensors.values()), np.zeros((0, 0))))
    if kind == ".parquet":
        opened = _opened(path)
        own = _features(opened)
        table = opened.read()
        columns = [table.column(name).to_numpy() for name in (own if names is None else _in_order(path, own, names))]
        return np.stack(columns, axis=1) if columns else np.zeros((table.num_rows, 0))
    raise ImageError(f"{path}: not one of {', '.join(SUFFIXES)}")


@dataclass(frozen=True)
class RowsReader(Reader):
    """Reads the feature rows of one file below a root.

    Attributes:
        root: Folder that the paths of the table are relative to.
        row_width: Numbers a row has in every file, F.
        row_names: What they are called, in order, where files say so; None: they are known by their places.
        columns: The table column with the paths.
    """

    root: Path
    row_width: int
    row_names: tuple[str, ...] | None = None
    columns: tuple[str, ...] = ("path",)
    channels: int = 1

    def read(self, *values: Any) -> NDArray[np.float32]:
        """Return (1, n, F) rows of the file at one relative path; ImageError as `read_rows`, or if they are of another width."""
        rows = read_rows(path := self.root / str(values[0]), self.row_names)
        if rows.shape[1] != self.row_width:
            raise ImageError(
                f"{path}: its members have {rows.shape[1]} features, those of the first file {self.row_width}; make them alike"
            )
        return rows[None]

    def files(self, *values: Any) -> list[Path]:
        """Return the file at one relative path."""
        return [self.root / str(value) for value in values if isinstance(value, str)]

    def identity(self, *values: Any) -> str | None:
        """Return where the file lies; None where the path is missing."""
        return str((self.root / values[0]).resolve()) if isinstance(values[0], str) else None
