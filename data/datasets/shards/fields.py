"""What stands beside the images of samples in shards, as columns: fields of their JSON, and members of words."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from medzoo.data.dataset import UnknownColumnError
from medzoo.data.errors import DatasetError
from medzoo.data.tables import TextTable
from medzoo.data.tables.excel import cell_text
from medzoo.data.tables.json_record import json_fields
from medzoo.data.tables.text_table import LIST
from medzoo.data.tables.words import clean, unify
from medzoo.data.tars.index import ShardIndex
from medzoo.data.tars.names import JSON, TEXT, last_part

_STEP = 4096
"""Samples whose JSON is read at a time."""
_TEXT = pd.StringDtype("pyarrow", na_value=np.nan)


@dataclass(frozen=True)
class Shards:
    """The samples of several shards, one behind the other: a position counts them all from 0.

    Attributes:
        indexes: Of the shards.
        root: Folder that their names are relative to; None, or one that not all lie below: the folder they have in common.
        starts: Position of each shard's first sample.
    """

    indexes: tuple[ShardIndex, ...]
    root: Path | None = None
    starts: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "starts", tuple(accumulate((len(index) for index in self.indexes[:-1]), initial=0)))

    def __len__(self) -> int:
        return self.starts[-1] + len(self.indexes[-1])

    def place(self, position: int) -> tuple[ShardIndex, int]:
        """Return the shard of a position and the row in it."""
        number = bisect_right(self.starts, position) - 1
        return self.indexes[number], position - self.starts[number]

    def where(self, position: int) -> str:
        """Return what to call a sample in a message."""
        number = bisect_right(self.starts, position) - 1
        return f"{self.names[number]}: sample {self.indexes[number].key(position - self.starts[number])!r}"

    @property
    def folder(self) -> Path:
        """The folder that all shards have in common."""
        parents = {index.path.parent: None for index in self.indexes}
        return next(iter(parents)) if len(parents) == 1 else _common([_plain(index.path) for index in self.indexes])

    @cached_property
    def paths(self) -> list[str]:
        """Where each shard lies below the root, with forward slashes."""
        whole = [_plain(index.path) for index in self.indexes]
        root = None if self.root is None else _plain(self.root)
        base = root if root is not None and all(path.is_relative_to(root) for path in whole) else _common(whole)
        return [path.relative_to(base).as_posix() for path in whole]

    @cached_property
    def names(self) -> list[str]:
        """What to call each shard: its file's name, with the folders where two have one."""
        counts = Counter(index.path.name for index in self.indexes)
        return [
            index.path.name if counts[index.path.name] == 1 else path
            for index, path in zip(self.indexes, self.paths, strict=True)
        ]

    def keys(self) -> pd.Series:
        """Return the keys, as they are mapped."""
        return _series([index.columns.column("key") for index in self.indexes])

    def texts(self, ending: str) -> pd.Series:
        """Return the words of each sample's member of an ending, as they are mapped; missing where there is none.

        Raises:
            UnknownColumnError: If no sample has such a member.
        """
        known = sorted({one for index in self.indexes for one in index.endings if last_part(one) in TEXT})
        if ending not in known:
            raise UnknownColumnError(self.title, f".{ending}", [f".{one}" for one in known])
        return _series([index.texts(ending) for index in self.indexes])

    @property
    def title(self) -> str:
        """What to call all of it in a message."""
        first = self.names[0]
        return first if len(self.indexes) == 1 else f"{first} and {len(self.indexes) - 1} more"


@dataclass(frozen=True)
class SampleTable(TextTable):
    """Columns of words whose rows are samples of shards, and are refused by shard and key."""

    shards: Shards | None = None

    def error(self, label: Any, problem: str | Exception, column: str | None = None) -> DatasetError:
        """Return an error that names the shard and the sample of one entry of the index."""
        assert self.shards is not None
        return DatasetError(f"{self.shards.where(int(label))}: {problem}")


def read_fields(shards: Shards, names: Sequence[str]) -> SampleTable:
    """Return fields of samples as text, empty where one has none; their words are read by `clean`.

    Args:
        shards: The samples.
        names: Fields of the samples' JSON; with a dot before it (`.cls`, `.txt`) the words of the member of that ending.

    Raises:
        UnknownColumnError: If no sample has such a field or member.
        DatasetError: If a sample's JSON is none, or such a field of it is an object; names the sample.
    """
    wanted = list(dict.fromkeys(names))
    columns = {name: shards.texts(name[1:]).fillna("") for name in wanted if name.startswith(".")}
    of_json, lists = _of_json(shards, [name for name in wanted if not name.startswith(".")])
    columns |= of_json
    read = {name: unify(columns[name], clean)[0] for name in wanted}
    rows = pd.DataFrame(read, index=pd.RangeIndex(len(shards)))
    return SampleTable(shards.title, rows, unit="sample", shards=shards, nested=lists)


def _plain(path: Path) -> Path:
    """Return a path from the root of the disk, without `..`; links stay as they are named."""
    return Path(os.path.abspath(path))  # noqa: PTH100  # Path.absolute keeps `..`


def _common(paths: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([path.parent for path in paths]))


def _of_json(shards: Shards, names: Sequence[str]) -> tuple[dict[str, pd.Series], dict[str, pd.Series]]:
    """Return fields as text, and which cells of them are lists."""
    if not names:
        return {}, {}
    lists: dict[str, list[int]] = {}
    parts: dict[str, list[pa.Array]] = {name: [] for name in names}
    seen: dict[str, None] = {}
    for start, texts in _json_texts(shards):
        found: dict[str, list[str]] = {name: [] for name in names}
        for place, text in enumerate(texts, start=start):
            record = {} if text is None else json_fields(text, partial(_named, shards, place))
            seen |= dict.fromkeys(record)
            for name in names:
                value = record.get(name)
                if isinstance(value, dict):
                    raise DatasetError(f"{shards.where(place)}: field {name!r} is an object, not a word, a number or a list")
                if isinstance(value, list):
                    lists.setdefault(name, []).append(place)
                found[name].append(cell_text(value))
        for name in names:
            parts[name].append(pa.array(found[name], pa.large_string()))
    for name in names:
        if name not in seen:
            members = [f".{one}" for index in shards.indexes for one in index.endings if last_part(one) in TEXT]
            raise UnknownColumnError(shards.title, name, [*seen, *dict.fromkeys(members)])
    held = {name: pd.Series(LIST, index=places, dtype=object) for name, places in lists.items()}
    return {name: _series(parts[name]) for name in names}, held


def _named(shards: Shards, position: int) -> str:
    return f"{shards.where(position)}: its .json"


def _json_texts(shards: Shards) -> Iterator[tuple[int, list[str | None]]]:
    """Yield the JSON of the samples in pieces, each with the position of its first."""
    for index, start in zip(shards.indexes, shards.starts, strict=True):
        endings = [ending for ending in index.endings if ending in JSON]
        texts = index.texts(endings[0] if endings else JSON[0])
        for row in range(0, len(index), _STEP):
            yield start + row, texts.slice(row, _STEP).to_pylist()


def _series(parts: Sequence[pa.Array | pa.ChunkedArray]) -> pd.Series:
    chunks = [chunk for part in parts for chunk in (part.chunks if isinstance(part, pa.ChunkedArray) else [part])]
    return pd.Series(
        _TEXT.__from_arrow__(  # type: ignore[attr-defined]
            pa.chunked_array(chunks, pa.large_string())
        )
    )
