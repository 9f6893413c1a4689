"""Rows of features in files: what a network of others has made of the tiles of a slide, the frames of a video.

A file holds one array (n, F), a row a tile: `.npy`, `.safetensors` (one tensor, or that called `features`) or `.parquet`
(columns of numbers). No pickle is read.
"""

from __future__ import annotations

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


def read_rows(path: Path) -> NDArray[np.float32]:
    """Return the rows of a file, (n, F) float32.

    Raises:
        ImageError: If it is missing, damaged, of another kind or pickled, holds no rows, or numbers that are not finite.
    """
    try:
        found = _read(path)
    except FileNotFoundError:
        raise ImageError(f"{path}: there is no such file") from None
    except ImageError:
        raise
    except Exception as error:  # each of the three formats has a family of errors of its own
        raise ImageError(f"{path}: cannot be read as rows of features ({' '.join(str(error).split())[:120]})") from error
    return as_rows(found, str(path))


def as_rows(array: Any, name: str) -> NDArray[np.float32]:
    """Return an array as (n, F) float32; ImageError, which begins with `name`, if it is no such array."""
    found = np.asarray(array)
    if found.ndim != 2 or found.dtype.kind not in "fiu":
        raise ImageError(f"{name}: has shape {list(found.shape)} of {found.dtype}, not numbers (members, features)")
    if 0 in found.shape:
        raise ImageError(f"{name}: holds no member (shape {list(found.shape)}); a bag has at least one")
    rows = np.ascontiguousarray(found, np.float32)
    if not np.isfinite(rows).all():
        raise ImageError(f"{name}: {int((~np.isfinite(rows)).any(axis=1).sum())} of {len(rows)} members are not finite numbers")
    return rows


def case_rows(bag: Any, width: int, place: int) -> NDArray[np.float32]:
    """Return the rows of one bag, (n, F), of an (n, F) array, a file's path, or a list of either; ImageError if they do not fit.

    Args:
        bag: What was given.
        width: F.
        place: Of the bag among those given, for messages.
    """
    several = isinstance(bag, list | tuple) and any(isinstance(part, str | Path) or np.ndim(part) == 2 for part in bag)
    parts = [
        read_rows(Path(part)) if isinstance(part, str | Path) else as_rows(part, f"case {place}")
        for part in (bag if several else [bag])
    ]
    rows = np.concatenate(parts) if len({part.shape[1] for part in parts}) == 1 else parts[-1]
    if any(part.shape[1] != width for part in parts):
        raise ImageError(f"case {place} has members of {rows.shape[1]} features, the model takes {width}")
    return rows


def _read(path: Path) -> Any:
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
        # Not above, as safetensors.
        from pyarrow import parquet

        table = parquet.ParquetFile(path).read()
        columns = [table.column(name).to_numpy() for name in table.column_names]
        return np.stack(columns, axis=1) if columns else np.zeros((table.num_rows, 0))
    raise ImageError(f"{path}: not one of {', '.join(SUFFIXES)}")


@dataclass(frozen=True)
class RowsReader(Reader):
    """Reads the feature rows of one file below a root.

    Attributes:
        root: Folder that the paths of the table are relative to.
        row_width: Numbers a row has in every file, F.
        columns: The table column with the paths.
    """

    root: Path
    row_width: int
    columns: tuple[str, ...] = ("path",)
    channels: int = 1

    def read(self, *values: Any) -> NDArray[np.float32]:
        """Return (1, n, F) rows of the file at one relative path; ImageError as `read_rows`, or if they are of another width."""
        rows = read_rows(path := self.root / str(values[0]))
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
