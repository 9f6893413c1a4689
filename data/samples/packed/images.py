"""Images decoded and resized once, kept in memory-mapped shards: what `medzoo prepare` writes and training reads.

A shard is a plain NumPy `.npy` file of a few dozen megabytes: fixed-shape pixels need no record format, any row is one seek
away (tar shards such as WebDataset's are read in order, which would tie the epoch's order to the files), every forked worker
shares the operating system's page cache, and any tool can read it. Beside each shard lies its SHA-256; a shard without one is
unfinished, so that a preparation that is killed goes on where it stopped.

    manifest.json      what was prepared, how, and from which images
    index.parquet      sample and view → position, which samples of one image share, and what it was made of
    images-00000.npy   (n, C, H, W) uint8 or float32, and images-00000.sha256
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medzoo.data.dataset import Dataset, Reader
from medzoo.data.download import file_checksum
from medzoo.data.errors import ConfigError, DatasetError
from medzoo.data.images.frames import Frames
from medzoo.data.images.planes.stack import Stack
from medzoo.data.samples.packed.sources import check_sources, describe_sources
from medzoo.data.samples.preprocess import Preprocess
from medzoo.data.samples.sample_dataset import SampleDataset

FORMAT = 1
MANIFEST, INDEX = "manifest.json", "index.parquet"
SHARD_BYTES = 64 * 2**20


@dataclass(frozen=True)
class PackedReader(Reader):
    """Reads prepared images by position.

    Attributes:
        root: Folder that `write_packed` filled.
        prepared: How the images were made; the model's own preprocessing must be the same.
        per_shard: Images a shard.
        columns: Table columns that hold positions: one, or one a view.
        views: Whether the columns are views of one case.
        window: (low, high) that became black and white when the files were read, or None.
        frames: What became of files of several frames when they were read.
        stack: Which images were their channels, where they were stacked of several.
        gray: Whether the files became gray when they were read.
    """

    root: Path
    prepared: Preprocess = field()
    per_shard: int
    columns: tuple[str, ...] = ("packed_position",)
    views: bool = False
    window: tuple[float, float] | None = None
    frames: Frames | None = None
    stack: Stack | None = None
    gray: bool = False
    _shards: dict[int, NDArray[Any]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The one shape of every image, channels first; None for several views."""
        return None if self.views else (self.prepared.channels, *self.prepared.size)

    @property
    def reads_gray(self) -> bool:
        """Whether the files became gray, for a model of three channels too."""
        return self.gray

    def read(self, *values: Any) -> NDArray[Any]:
        """Return a view of the image at one position; raises DatasetError if its shard is gone."""
        number, place = divmod(int(values[0]), self.per_shard)
        if number not in self._shards:
            path = self.root / shard_name(number)
            try:
                self._shards[number] = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                raise DatasetError(f"cannot read {path} ({error}); run medzoo prepare again") from None
        image: NDArray[Any] = self._shards[number][place]
        return image


def write_packed(
    dataset: Dataset,
    preprocess: Preprocess,
    folder: Path,
    *,
    workers: int = 1,
    advance: Callable[[int], None] = lambda count: None,
) -> dict[str, Any]:
    """Prepare every image of a dataset; what is there and undamaged is kept.

    Args:
        dataset: Of images in files.
        preprocess: Size, mode, interpolation, channels and type; mean and spread do not matter here.
        folder: Where the shards go.
        workers: Threads that decode.
        advance: Called with the number of images done since the last call.

    Returns:
        The manifest.

    Raises:
        ConfigError: If the images are in memory already, or the folder holds others.
        ImageError: If an image cannot be decoded; names it. What was done stands.
    """
    if dataset.modalities:
        raise ConfigError(
            f"{dataset.info.name} has several images a sample ({', '.join(dataset.modalities)}): they are not prepared"
        )
    if dataset.reader.shape is not None:
        raise ConfigError(f"{dataset.info.name} is held in memory; there is nothing to prepare")
    if dataset.reader.bag or dataset.reader.row_width is not None:
        raise ConfigError(f"{dataset.info.name} has bags, which are read as they are: they cannot be prepared")
    samples = SampleDataset(dataset.with_table(dataset.table.assign(split="train")), "train", preprocess)
    positions, order = _positions(dataset)
    listed = positions.to_csv(index=False, lineterminator="\n")
    describe_sources(dataset, positions, order)
    itemsize = 1 if preprocess.dtype == "uint8" else 4
    per_shard = max(1, SHARD_BYTES // (preprocess.channels * int(np.prod(preprocess.size)) * itemsize))
    manifest = {
        "format": FORMAT,
        "dataset": str(dataset.options.get("name", dataset.info.name)),
        "preprocess": preprocess.to_dict(),
        "images": len(order),
        "per_shard": per_shard,
        "reader": _reader_card(dataset),
        "index": hashlib.sha256(listed.encode("utf-8")).hexdigest(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, manifest)
    # What is there may be of files that have changed since, or of others of the same names: it is checked before it is kept.
    unfinished = folder / f"{INDEX}.unfinished"
    whole = {number for number in range(-(-len(order) // per_shard)) if _is_whole(folder / shard_name(number))}
    for kept in (folder / INDEX, unfinished):
        if kept.is_file():
            made = pd.read_parquet(kept)
            check_sources(folder, dataset, made[(made["position"] // per_shard).isin(whole)], every=True)
    if not (folder / INDEX).is_file():
        positions.to_parquet(unfinished, index=False)
    with ThreadPoolExecutor(workers) as pool:
        for number, start in enumerate(range(0, len(order), per_shard)):
            part = order[start : start + per_shard]
            if number not in whole:
                # In one list: a failed image must not leave a shard that looks finished.
                images = list(pool.map(lambda place: samples.fitted(*place).numpy(), part))
                _write_shard(folder / shard_name(number), np.stack(images))
            advance(len(part))
    positions.to_parquet(folder / INDEX, index=False)
    unfinished.unlink(missing_ok=True)
    return manifest


def open_packed(folder: Path, dataset: Dataset, *, skip_missing: bool = False) -> Dataset:
    """Return a dataset that reads prepared images instead of its files.

    Args:
        folder: What `write_packed` filled.
        dataset: The same dataset, loaded without looking for its files.
        skip_missing: Leave out samples that were not prepared, and say so, instead of refusing.

    Raises:
        DatasetError: If the folder is not complete, is of another dataset, or lacks images.
        ConfigError: If a sample has several images.
    """
    if dataset.modalities:
        raise ConfigError(f"data.packed is for one image a sample, and {dataset.info.name} has several; leave it out")
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        index = pd.read_parquet(folder / INDEX)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{folder} holds no prepared images ({error}); make them with medzoo prepare") from None
    name = str(dataset.options.get("name", dataset.info.name))
    if manifest.get("format") != FORMAT or manifest["dataset"] != name:
        raise DatasetError(f"{folder} was prepared from {manifest.get('dataset')!r}, not from {name!r}")
    if manifest["reader"] != _reader_card(dataset):
        raise DatasetError(
            f"{folder} was prepared with {manifest['reader']}, the dataset now reads {_reader_card(dataset)}; prepare again"
        )
    check_sources(folder, dataset, index)
    views, window = dataset.reader.views, dataset.reader.window
    count = len(dataset.reader.columns) if views else 1
    columns = tuple(f"packed_position_{view + 1}" for view in range(count)) if views else ("packed_position",)
    table = dataset.table.copy()
    for view, column in enumerate(columns):
        of_view = index[index["view"] == view]
        found = table["sample_id"].map(pd.Series(of_view["position"].to_numpy(), index=of_view["sample_id"]))
        table[column] = found.astype("Int64").astype(object).where(found.notna(), None)
    absent = table[list(columns)].isna().all(axis=1)
    notes = dataset.info.notes
    if absent.any():
        first = table.loc[absent, "sample_id"].iloc[0]
        if not skip_missing:
            raise DatasetError(
                f"{int(absent.sum())} of {len(table)} samples were not prepared in {folder} (such as {first!r}); run medzoo "
                "prepare again, or leave them out with data.missing=skip"
            )
        table = table[~absent].reset_index(drop=True)
        notes = (*notes, f"{int(absent.sum())} samples were not prepared and are left out")
    if not views:
        table[columns[0]] = table[columns[0]].astype(np.int64)
    reader = PackedReader(
        folder, Preprocess.from_dict(manifest["preprocess"]), manifest["per_shard"], columns, views, window,
        dataset.reader.frames, dataset.reader.stack, dataset.reader.reads_gray,
    )  # fmt: skip
    return replace(dataset, table=table, reader=reader, info=replace(dataset.info, notes=notes))


def shard_name(number: int) -> str:
    """Return the file name of a shard."""
    return f"images-{number:05d}.npy"


def _positions(dataset: Dataset) -> tuple[pd.DataFrame, list[tuple[int, int]]]:
    """Return `sample_id, view, position` of every image, and the (row, view) that each position is read from."""
    columns = [dataset.table[c].to_numpy(dtype=object) for c in dataset.reader.columns]
    ids = dataset.table["sample_id"].to_numpy(dtype=object)
    seen: dict[Any, int] = {}
    order: list[tuple[int, int]] = []
    rows = []
    for row, values in enumerate(zip(*columns, strict=True)):
        for view, key in dataset.reader.images(*values).items():
            if key not in seen:
                seen[key] = len(order)
                order.append((row, view))
            rows.append((str(ids[row]), view, seen[key]))
    frame = pd.DataFrame(rows, columns=["sample_id", "view", "position"])
    return frame.astype({"view": np.int64, "position": np.int64}), order


def _reader_card(dataset: Dataset) -> dict[str, Any]:
    """Return what decides the pixels a file becomes, beside the file."""
    window = dataset.reader.window
    return {
        "kind": type(dataset.reader).__name__,
        "channels": dataset.reader.channels,
        "type": dataset.info.value_type,
        "window": None if window is None else [float(v) for v in window],
        **({} if dataset.reader.frames is None else {"frames": dataset.reader.frames}),
        **({} if dataset.reader.stack is None else {"stack": dataset.reader.stack.to_dict()}),
    }


def _claim(folder: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest of a new folder, or check that an old one is of the same preparation."""
    path = folder / MANIFEST
    if not path.exists():
        if any(folder.iterdir()):
            raise ConfigError(f"{folder} is not empty and holds no prepared images; choose another output=...")
        path.write_text(json.dumps(manifest, indent=2), encoding="utf-8")
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise DatasetError(f"{path} is damaged; remove the folder and prepare anew") from None
    for key, value in manifest.items():
        if before.get(key) != value:
            raise ConfigError(f"{folder} holds another preparation ({key} differs); choose another output=..., or remove it")


def _write_shard(path: Path, images: NDArray[Any]) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        np.save(file, images, allow_pickle=False)
    temporary.replace(path)
    path.with_suffix(".sha256").write_text(file_checksum(path, "sha256"), encoding="ascii")


def _is_whole(path: Path) -> bool:
    checksum = path.with_suffix(".sha256")
    return path.is_file() and checksum.is_file() and checksum.read_text(encoding="ascii").strip() == file_checksum(path, "sha256")
