"""OLIVES as the authors' parquet shards (Hugging Face, gOLIVES/OLIVES_Dataset, configuration `disease_classification`).

A row is a B-scan with its image bytes, but without its path: visit, arm and side are unknown. About 78% of the 78,822 rows
have no biomarkers, and their `Scan (n/49)` is empty too. Labels are read without the images; an image is read from its
row group when it is asked for. The other configuration, `biomarker_detection`, has columns B1..B6 instead of names and is
left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from medzoo.data.dataset import Reader, UnknownColumnError
from medzoo.data.datasets.olives.labels import BIOMARKERS, LABELS, OTHER_COLUMNS, match_columns, read_values
from medzoo.data.errors import ConfigError, DatasetError, ImageError
from medzoo.data.images.decode import decode_image
from medzoo.data.images.files import list_files
from medzoo.data.tables import TextTable, as_text

DISEASE = "Disease Label"
_KEPT_GROUPS = 4  # row groups held in memory by each process; one of 100 B-scans is some 12 MB


@dataclass(frozen=True)
class ParquetReader(Reader):
    """Reads an image from its shard, row group and row.

    A row group is the least that can be read of a shard: the last few are kept.

    Attributes:
        root: Folder that the shards' paths are relative to.
        image: Name of the image column, a struct with `bytes`.
        channels: 1 for gray sources, 3 for colour.
    """

    root: Path
    image: str = "Image"
    channels: Literal[1, 3] = 1
    columns: tuple[str, ...] = ("shard", "row_group", "row")

    def read(self, *values: Any) -> NDArray[Any]:
        """Return (C, H, W) uint8 pixels of the image in one row of a row group of a shard.

        Raises:
            ImageError: If it cannot be read or decoded; names the shard and the row.
        """
        shard, group, row = str(values[0]), int(values[1]), int(values[2])
        where = f"{self.root / shard} row group {group} row {row}"
        try:
            data = _row_group(self.root / shard, group, self.image)[row].as_py()
        except (OSError, ValueError, IndexError) as error:  # arrow's errors are both
            raise ImageError(f"{where}: cannot be read ({str(error).splitlines()[0]})") from None
        if not data:
            raise ImageError(f"{where}: has no image bytes")
        try:
            return np.moveaxis(decode_image(data, channels=self.channels, dtype="uint8"), -1, 0)
        except ImageError as error:
            raise ImageError(f"{where}: {error}") from None

    def files(self, *values: Any) -> list[Path]:
        """Return the shard."""
        return [self.root / str(values[0])] if values else []

    def contents(self, table: pd.DataFrame) -> Iterator[tuple[int, bytes | None]]:
        """Yield the position in a table and the image bytes of each of its rows, row group by row group; None without bytes."""
        places = table[["shard", "row_group", "row"]].reset_index(drop=True)
        for (shard, group), members in places.groupby(["shard", "row_group"], sort=True):
            images = _row_group(self.root / str(shard), int(str(group)), self.image)
            for position, row in members["row"].items():
                yield int(str(position)), images[int(row)].as_py() or None


def read_shards(root: Path, disease_names: Mapping[Any, str] | None) -> tuple[pd.DataFrame, str, tuple[str, ...]]:
    """Read the labels of all shards below a folder.

    Args:
        root: The dataset's folder.
        disease_names: `Disease Label` → DR or DME; None leaves the disease unknown.

    Returns:
        One row a B-scan in order of shard and row, with `sample_id` (the shard's name and the position within it, the only
        identity the authors give), `shard`, `row_group`, `row`, `scan` (NaN where unknown), `patient`, `eye_id`, the
        16 biomarkers, `bcva`, `cst`, `disease_label` (text, or missing), and with `disease_names` `disease`; the name of the
        image column; notes.

    Raises:
        DatasetError: If there is no shard, or one is damaged or holds what it must not.
        ConfigError: If `disease_names` is not a mapping of numbers to DR and DME, or lacks one.
    """
    names = _disease_names(disease_names)
    shards = list_files(root, (".parquet",), once=True)
    if not shards:
        raise DatasetError(f"olives: no .parquet file below {root}; get gOLIVES/OLIVES_Dataset there, or set data.root")
    tables, left_out, image = [], [], "Image"
    for shard in shards:
        try:
            with pq.ParquetFile(root / shard) as file:
                schema = file.schema_arrow
                try:
                    columns = match_columns((*OTHER_COLUMNS, *BIOMARKERS, DISEASE, "Image"), schema.names, shard)
                except UnknownColumnError:
                    left_out.append(shard)
                    continue
                image = columns.pop("Image")
                kind = schema.field(image).type
                if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
                    raise DatasetError(f"{root / shard}: column {image!r} is {kind}, not a struct with bytes and path")
                sizes = [file.metadata.row_group(k).num_rows for k in range(file.metadata.num_row_groups)]
                labels = file.read(columns=list(columns.values())).to_pandas()
        except (OSError, ValueError) as error:  # arrow's errors are ValueErrors
            raise DatasetError(f"{root / shard} cannot be read ({str(error).splitlines()[0]}); download it again") from None
        tables.append(_rows(labels, columns, shard, sizes))
    if not tables:
        raise DatasetError(f"olives: none of the {len(shards)} parquet files below {root} has the columns of the configuration "
                           f"disease_classification (16 biomarkers by name, {DISEASE!r}, Image)")  # fmt: skip
    table = pd.concat(tables, ignore_index=True)
    notes = ["the parquet form has no paths: visit, week, arm and side are unknown",
             "sample_id is the shard's name and the position within it, the only identity the authors give",
             "a third party found 21% of all rows to be byte-identical copies, none across patients; data.audit=true "
             "counts them, none is removed"]  # fmt: skip
    if left_out:
        notes.append(f"{len(left_out)} parquet files are ignored: they lack columns of disease_classification ({left_out[0]})")
    if names is not None:
        strange = sorted(set(table["disease_label"].dropna()) - set(names))
        if strange:
            raise ConfigError(f"olives: data.disease_names says nothing of {DISEASE} {strange[0]}, which the files have")
        table["disease"] = table["disease_label"].map(names)
    both = int((table.groupby("patient")["disease_label"].nunique() > 1).sum())
    if both:
        notes.append(f"{both} patients have both disease labels; each stays one group")
    return table, image, tuple(notes)


def _rows(labels: pd.DataFrame, columns: Mapping[str, str], shard: str, sizes: list[int]) -> pd.DataFrame:
    counts = np.array(sizes, dtype=np.int64)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    stem = shard.rpartition("/")[2].removesuffix(".parquet")
    positions = np.arange(len(labels))
    rows = TextTable(shard, as_text(labels), "olives", "row", remedy="download it again")
    table = read_values(rows, columns)
    table.insert(0, "sample_id", [f"{stem}/{position:05d}" for position in positions])
    disease = rows[columns[DISEASE]].str.removesuffix(".0")
    row_groups = np.repeat(np.arange(len(counts)), counts)
    return table.assign(
        shard=shard, row_group=row_groups, row=positions - starts, disease_label=disease.where(disease != "", None)
    )


def _disease_names(given: Mapping[Any, str] | None) -> dict[str, str] | None:
    if given is None:
        return None
    known = LABELS["disease"].names
    if not isinstance(given, Mapping) or sorted(given.values()) != sorted(known):
        raise ConfigError(f"olives: data.disease_names={given!r} does not name DR and DME once each; such as {{0:DR,1:DME}}")
    return {str(number): name for number, name in given.items()}


@lru_cache(maxsize=_KEPT_GROUPS)
def _row_group(file: Path, group: int, image: str) -> Any:
    with pq.ParquetFile(file) as opened:
        column = opened.read_row_group(group, columns=[f"{image}.bytes"]).column(0)
    return pc.struct_field(column, "bytes")
