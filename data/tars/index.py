"""The index of a tar file: where each sample's members begin, and what its words are, on disk beside it and mapped into memory.

It is an Arrow file, columns and nothing else (no pickle): a million keys cost no Python object each, and processes that read the
same index share its pages. It is made anew when the tar file's size or time has changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from medzoo.data.errors import DatasetError
from medzoo.data.tars.scan import ABSENT, Contents, scan

SUFFIX = ".index"
FORMAT = 1
_ABOUT = b"medzoo.shard"
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class ShardIndex:
    """One tar file's samples, mapped from its index.

    Attributes:
        path: The tar file.
        file: The index.
        about: What the index says of the tar file: `bytes`, `changed`, `strays`, `passed_over`, `sha256` where it was computed.
        columns: `key`, and by ending `offset.<ending>`, `size.<ending>`, `text.<ending>`.
    """

    path: Path
    file: Path
    about: dict[str, Any]
    columns: pa.Table
    _numbers: dict[str, Integers] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return int(self.columns.num_rows)

    @property
    def endings(self) -> tuple[str, ...]:
        """Endings of the members, in order of their first appearance."""
        return tuple(name.removeprefix("offset.") for name in self.columns.column_names if name.startswith("offset."))

    def key(self, row: int) -> str:
        """Return a sample's key."""
        return str(self.columns.column("key")[row].as_py())

    def offsets(self, ending: str) -> Integers:
        """Return (N,) where each sample's member begins, `ABSENT` where there is none."""
        return self._of(f"offset.{ending}")

    def sizes(self, ending: str) -> Integers:
        """Return (N,) bytes of each sample's member."""
        return self._of(f"size.{ending}")

    def texts(self, ending: str) -> pa.ChunkedArray:
        """Return (N,) words of each sample's member, null where there is none."""
        if f"text.{ending}" in self.columns.column_names:
            return self.columns.column(f"text.{ending}")
        return pa.chunked_array([pa.nulls(len(self), pa.large_string())])

    def read(self, row: int, ending: str) -> bytes:
        """Return a member's bytes.

        Raises:
            DatasetError: If the tar file is gone or has changed since the index was read.
        """
        try:
            with self.path.open("rb", buffering=0) as file:
                if state_of(os.fstat(file.fileno())) != {name: self.about[name] for name in ("bytes", "changed")}:
                    raise DatasetError(f"{self.path}: has changed since its index was read; start again")
                file.seek(int(self.offsets(ending)[row]))
                size = int(self.sizes(ending)[row])
                data = file.read(size)
        except OSError as error:
            raise DatasetError(f"{self.path}: cannot be read ({error.strerror or error})") from None
        if len(data) < size:
            raise DatasetError(f"{self.path}: is cut short within {self.key(row)!r}")
        return data

    def digest(self) -> str:
        """Return a SHA-256 of what the shard holds by name, size and words, wherever it lies."""
        digest = hashlib.sha256()
        for name in self.columns.column_names:
            if not name.startswith("offset."):
                digest.update(name.encode("utf-8"))
                for chunk in self.columns.column(name).chunks:
                    for buffer in chunk.buffers()[1:]:
                        digest.update(b"" if buffer is None else memoryview(buffer))
        return digest.hexdigest()

    def _of(self, name: str) -> Integers:
        if name not in self._numbers:
            if name not in self.columns.column_names:
                return np.full(len(self), ABSENT, np.int64)
            self._numbers[name] = self.columns.column(name).chunk(0).to_numpy(zero_copy_only=True)
        return self._numbers[name]


def open_index(path: Path, checksum: str | None = None) -> ShardIndex:
    """Return the index of a tar file, made if there is none or the file has changed.

    Args:
        path: The tar file.
        checksum: SHA-256 that the tar file must have, compared once for an index; None: not compared.

    Raises:
        DatasetError: If the tar file is not what it must be, has another checksum, or the index cannot be saved.
    """
    places = index_places(path)
    for place in places:
        index = read_index(path, place)
        if index is not None and (checksum is None or index.about.get("sha256") == checksum):
            return index
    return read_made(path, _make(path, places, checksum))


def index_places(path: Path) -> tuple[Path, Path]:
    """Return where a tar file's index lies: beside it, or where that folder cannot be written in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    named = hashlib.sha256(os.path.realpath(path).encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return path.with_name(path.name + SUFFIX), cache / "medzoo" / "shards" / f"{named}{SUFFIX}"


def read_index(path: Path, file: Path) -> ShardIndex | None:
    """Return a tar file's index from a file; None if there is none, it is damaged, or of another state of the tar file."""
    try:
        with pa.memory_map(str(file)) as mapped:  # closing it leaves what was mapped
            columns = pa.ipc.open_file(mapped).read_all()
        about = json.loads(columns.schema.metadata[_ABOUT])
        if about["format"] != FORMAT or {n: about[n] for n in ("bytes", "changed")} != state_of(path.stat()):
            return None
        columns.validate(full=True)
        index = ShardIndex(path, file, about, columns)
        return index if _within(index, about["bytes"]) else None
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError):
        return None


def read_made(path: Path, file: Path) -> ShardIndex:
    """Return an index that was made just now; DatasetError if the tar file has changed meanwhile."""
    index = read_index(path, file)
    if index is None:
        raise DatasetError(f"{path}: changes while it is read; wait until it is written")
    return index


def _make(path: Path, places: tuple[Path, Path], checksum: str | None) -> Path:
    try:
        state = state_of(path.stat())
    except OSError:
        state = {}  # scanning says what is wrong
    digest = None
    if checksum is not None and state:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != checksum:
            raise DatasetError(f"{path}: its SHA-256 is {digest}, not {checksum} (data.checksums); fetch or write it again")
    return save_index(path, scan(path), state, places, digest)


def save_index(path: Path, found: Contents, state: Mapping[str, int], places: Sequence[Path], digest: str | None = None) -> Path:
    """Write what a tar file holds as its index; returns where.

    Args:
        path: The tar file.
        found: What it holds.
        state: Its size and time, before it was read.
        places: Where the index may lie; the first that can be written is taken.
        digest: SHA-256 of the tar file, if it was computed.

    Raises:
        DatasetError: If it can be saved in none of the places.
    """
    about = {"format": FORMAT, **state, "strays": found.strays, "passed_over": found.passed_over}
    about |= {} if digest is None else {"sha256": digest}
    columns: dict[str, Any] = {"key": pa.array(found.keys, pa.large_string())}
    for ending, offsets in found.offsets.items():
        columns[f"offset.{ending}"] = pa.array(np.frombuffer(offsets, np.int64))
        columns[f"size.{ending}"] = pa.array(np.frombuffer(found.sizes[ending], np.int64))
    for ending, texts in found.texts.items():
        columns[f"text.{ending}"] = pa.array(texts, pa.large_string())
    table = pa.table(columns).replace_schema_metadata({_ABOUT: json.dumps(about)})
    problem = ""
    for place in places:
        try:
            _save(table, place)
            return place
        except OSError as error:
            problem = problem or f"{place}: {error.strerror or error}"
    raise DatasetError(
        f"{path}: its index cannot be saved ({problem}, nor in {places[-1].parent}); free space or set XDG_CACHE_HOME"
    )


def _save(table: pa.Table, place: Path) -> None:
    """Write an index in one step: another process finds the whole of it, or none."""
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f".{place.name}.{secrets.token_hex(4)}.part")
    try:
        with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        part.replace(place)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _within(index: ShardIndex, size: int) -> bool:
    """Whether an index has the columns it must have, of one piece, and every member lies within the tar file."""
    columns = index.columns
    if not len(index) or columns.schema.field("key").type != pa.large_string():
        return False
    for name in columns.column_names:
        wanted = pa.int64() if name.startswith(("offset.", "size.")) else pa.large_string()
        column = columns.column(name)
        if column.type != wanted or column.num_chunks != 1 or (wanted == pa.int64() and column.null_count):
            return False
    for ending in index.endings:
        starts, sizes = index.offsets(ending), index.sizes(ending)
        there = starts != ABSENT
        if ((starts < 0) & there).any() or ((sizes < 0) != ~there).any() or (sizes > size - starts)[there].any():
            return False
    return True


def state_of(status: os.stat_result) -> dict[str, int]:
    """Return a tar file's size and time, by which its index is known to be its own."""
    return {"bytes": status.st_size, "changed": status.st_mtime_ns}
