"""MedMNIST v2 and MedMNIST+: 18 small sets with official splits, one .npz file a set and size.

Label order, splits, counts, URLs and MD5 sums are those of the medmnist package 3.0.2 (Zenodo record 10519652); Yang et
al. 2023, Scientific Data 10:41. The only identity the authors give an image is its position within its official split,
the same at every size; `sample_id` is that position, `retinamnist/train/00012`, whatever rows a table keeps.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medzoo.data.dataset import SPLITS, ArrayReader, Dataset, target_columns
from medzoo.data.datasets.medmnist.sets import OLD_RELEASES, SETS
from medzoo.data.download import fetch_file, verify_file
from medzoo.data.errors import ConfigError, DatasetError
from medzoo.data.info import DatasetInfo, RemoteFile
from medzoo.data.labels import LabelSpace
from medzoo.data.options import choice

DEFAULT_ROOT = "~/.medmnist"  # where the medmnist package keeps its files
_URL = "https://zenodo.org/records/10519652/files/{name}?download=1"
_CITATION = (
    "Yang J, Shi R, Wei D, et al. MedMNIST v2: a large-scale lightweight benchmark for 2D and 3D biomedical image "
    "classification. Scientific Data 10, 41 (2023). Also cite the set's source data."
)
_PER_IMAGE = "no patient identifiers are published: splits are the official ones and intervals are per image"


def infos() -> list[DatasetInfo]:
    """Return the cards of all 18 sets, in the authors' order."""
    return [_info(name) for name in SETS]


def load(
    set: str = "retinamnist",  # noqa: A002  the authors' word, and the option's name in YAML
    size: int = 28,
    root: str | Path = DEFAULT_ROOT,
    download: bool = False,
    verify: bool = True,
) -> Dataset:
    """Load one set at one size, whole, into memory.

    Args:
        set: One of the 18 flags, such as `retinamnist`; see `medzoo list datasets`.
        size: Pixels a side: 28, 64, 128 or 224; 28 or 64 for the 3D sets. 28 px is MedMNIST v2, the others MedMNIST+.
        root: Folder of the .npz files, named as the authors name them (`retinamnist.npz`, `retinamnist_64.npz`).
        download: Fetch the file when it is not there.
        verify: Compare the file's MD5 with the official one (about 2 s a GB).

    Returns:
        Images (C, H, W) or (1, D, H, W), uint8, held in one array (tissuemnist at 224 px: 12 GB, and 20 GB while
        it loads); official splits; each image its own group.

    Raises:
        UnknownNameError: If there is no such set.
        ConfigError: If the set does not come in this size.
        DatasetError: If the file is missing, damaged, of another release, or does not hold what it must.
    """
    choice("set", set, SETS)
    described = SETS[set]
    if size not in described.sizes:
        known = ", ".join(map(str, described.sizes))
        near = min(described.sizes, key=lambda s: abs(s - size)) if isinstance(size, int) else described.sizes[0]
        raise ConfigError(f"{set} comes in sizes {known}, not {size}; the nearest is {near}")
    info = _info(set)
    file = info.files[described.sizes.index(size)]
    folder = Path(root).expanduser()
    path = folder / file.name
    if not path.is_file():
        if not download:
            raise DatasetError(
                f"{path} is not there: load with data.download=true, set data.root to the folder that has it, or get "
                f"it from {file.url}"
            )
        fetch_file(file, folder)
    if verify:
        verify_file(path, file, OLD_RELEASES)
    images, labels = _read(path, set, size)
    counts = {split: len(labels[split]) for split in SPLITS}
    if counts != dict(info.counts):  # only without verification
        found, official = ("/".join(str(c[s]) for s in SPLITS) for c in (counts, info.counts))
        info = replace(info, notes=(*info.notes, f"not the official file: {found} images, officially {official}"))
    return _assemble(info, described.labels, images, labels)


def _assemble(info: DatasetInfo, space: LabelSpace, images: NDArray[np.uint8], labels: dict[str, NDArray[np.int64]]) -> Dataset:
    flag = info.name.removeprefix("medmnist/")
    ids = [f"{flag}/{split}/{position:05d}" for split in SPLITS for position in range(len(labels[split]))]
    columns: dict[str, object] = {
        "sample_id": ids,
        "split": [split for split in SPLITS for _ in range(len(labels[split]))],
        "group": ids,
        "array_index": np.arange(len(ids)),
    }
    codes = np.concatenate([labels[split] for split in SPLITS])
    if space.exclusive:
        columns["target"] = codes[:, 0]
    else:
        columns |= {name: codes[:, k].astype(np.float32) for k, name in enumerate(target_columns(space))}
    return Dataset(info=info, table=pd.DataFrame(columns), reader=ArrayReader(images), labels=space)


def _read(path: Path, flag: str, size: int) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.int64]]]:
    """Return all images in the order of `SPLITS`, channels first, and (N, L) labels by split."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            # By key, for files differ in the order of their arrays.
            for key in (f"{split}_{kind}" for split in SPLITS for kind in ("images", "labels")):
                if key not in archive.files:
                    present = ", ".join(archive.files) or "nothing"
                    raise DatasetError(f"{path} has no array {key!r} (it has {present}): not a MedMNIST file")
            labels = {split: _codes(path, f"{split}_labels", archive[f"{split}_labels"], flag) for split in SPLITS}
            starts = [0, *accumulate(len(labels[split]) for split in SPLITS)]
            images = np.empty((starts[-1], *_shape(flag, size)), dtype=np.uint8)
            # Every access decompresses the whole array: once each, and one at a time, for some fill the memory.
            for start, stop, split in zip(starts, starts[1:], SPLITS, strict=False):
                pixels = archive[f"{split}_images"]
                _check_images(path, f"{split}_images", pixels, flag, size, stop - start)
                images[start:stop] = np.moveaxis(pixels, -1, 1) if SETS[flag].channels == 3 else pixels[:, None]
    except PermissionError:
        raise DatasetError(f"{path} cannot be read: permission denied") from None
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, AttributeError, TypeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DatasetError(f"{path} cannot be read ({reason}): truncated or not an .npz file; download it again") from None
    return images, labels


def _shape(flag: str, size: int) -> tuple[int, ...]:
    """Return one image's shape, channels first."""
    return (SETS[flag].channels,) + (size,) * (3 if SETS[flag].volume else 2)


def _check_images(path: Path, key: str, array: NDArray[np.generic], flag: str, size: int, count: int) -> None:
    channels, *side = _shape(flag, size)
    stored = (count, *side, channels) if channels == 3 else (count, *side)
    if array.dtype != np.uint8 or array.shape != stored:
        found = f"{array.dtype} {list(array.shape)}"
        raise DatasetError(f"{path}: {key} is {found}, not uint8 {list(stored)} as {flag} at {size} px with its labels is")


def _codes(path: Path, key: str, array: NDArray[np.generic], flag: str) -> NDArray[np.int64]:
    space = SETS[flag].labels
    width = 1 if space.exclusive else space.width
    if array.ndim != 2 or array.shape[1] != width or array.dtype.kind not in "iuf":
        raise DatasetError(f"{path}: {key} is {array.dtype} {list(array.shape)}, not [N, {width}] numbers")
    values = array.astype(np.float64)
    top = space.width - 1 if space.exclusive else 1
    bad = ~((values >= 0) & (values <= top) & (values == np.floor(values)))
    if bad.any():
        raise DatasetError(
            f"{path}: {key} holds {values[bad][0]:g} at row {int(np.argwhere(bad)[0][0])}; {flag}'s labels are 0..{top}"
        )
    return values.astype(np.int64)


def _info(flag: str) -> DatasetInfo:
    described = SETS[flag]
    files = tuple(
        RemoteFile(name, _URL.format(name=name), f"md5:{md5}")
        for size, md5 in described.md5.items()
        for name in [f"{flag}.npz" if size == 28 else f"{flag}_{size}.npz"]
    )
    return DatasetInfo(
        name=f"medmnist/{flag}",
        title=described.title,
        modality=described.modality,
        licence=described.licence,
        citation=_CITATION,
        homepage="https://medmnist.com",
        labels=described.labels,
        split_unit="image",
        counts=dict(zip(SPLITS, described.counts, strict=True)),
        files=files,
        notes=(_PER_IMAGE, "not intended for clinical use (the authors)", *described.notes),
    )
