"""A dataset as shards: tar files that WebDataset's readers take, and `data=shards` reads back to the same table and pixels.

One set of files a split, `train-000000.tar`, each written in one step and the same bytes every time. A sample is its image, a
JSON of what is known of it (what is missing is null), `.txt` with its caption and `.cls` with its class's number. Beside them
stand `shards.json`, which says what the fields mean, and `SHA256SUMS`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medzoo.data.dataset import SPLITS, Dataset
from medzoo.data.errors import ConfigError, ImageError
from medzoo.data.images.kinds import SUFFIXES, VOLUME_SUFFIXES
from medzoo.data.samples.preprocess import Preprocess
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.data.samples.shards.fields import Members, not_written, records, shard_options
from medzoo.data.tars.index import SUFFIX
from medzoo.data.tars.names import CARD, CARD_FORMAT, are_keys
from medzoo.data.tars.write import write_shard

SUMS = "SHA256SUMS"
_AHEAD = 64
"""Images that are decoded ahead of the one that is written."""


def write_webdataset(
    dataset: Dataset,
    folder: Path,
    *,
    shard_size: int,
    preprocess: Preprocess | None = None,
    original: bool = False,
    workers: int = 1,
    advance: Callable[[int], None] = lambda count: None,
) -> list[Path]:
    """Write a dataset as shards; a shard of the same samples that is there already is written anew.

    Args:
        dataset: Of one image a sample.
        folder: Where the shards go; it holds nothing else.
        shard_size: Most samples a shard.
        preprocess: Size, mode and channels that images are fitted to; None: they stay as they are.
        original: Take the files' own bytes, with all that they say of the patient; else the decoded pixels, without loss.
        workers: Threads that decode.
        advance: Called with the number of samples written since the last call.

    Returns:
        The shards.

    Raises:
        ConfigError: If the dataset has several images or targets a sample, texts beside them, or no images in files of their own,
            or the folder holds other things.
        ImageError: If an image cannot be read; names it.
    """
    _check(dataset, original, preprocess)
    names = [str(name) for name in dataset.table["sample_id"]]
    keys = names if are_keys(names) else [f"{place:08d}" for place in range(len(names))]
    plan = {split: np.flatnonzero((dataset.table["split"] == split).to_numpy()) for split in SPLITS}
    shards = {
        f"{split}-{start // shard_size:06d}.tar": (split, min(shard_size, len(places) - start))
        for split, places in plan.items()
        for start in range(0, len(places), shard_size)
    }
    info, options = dataset.info, shard_options(dataset, preprocess, named=keys is not names, original=original)
    about = {key: getattr(info, key) for key in ("name", "title", "citation", "homepage")}
    notes = [*info.notes, *not_written(dataset)]
    card = {"format": CARD_FORMAT, **about, "notes": notes, "shards": list(shards), "options": options}
    _claim(folder, card)
    with ThreadPoolExecutor(workers) as pool:
        samples = {
            split: _samples(pool, dataset, split, places, keys, names, preprocess, original) for split, places in plan.items()
        }
        for name, (split, size) in shards.items():
            write_shard(folder / name, islice(samples[split], size))
            advance(size)
    sums = [f"{_checksum(folder / name)}  {name}\n" for name in shards]
    (folder / SUMS).write_text("".join(sums), encoding="utf-8")
    return [folder / name for name in shards]


def _samples(
    pool: ThreadPoolExecutor, dataset: Dataset, split: str, places: NDArray[np.int64], keys: Sequence[str], names: Sequence[str],
    preprocess: Preprocess | None, original: bool
) -> Iterator[tuple[str, Members]]:  # fmt: skip
    """Yield key and members of each sample of a split."""
    fitted = None if preprocess is None else SampleDataset(dataset, split, preprocess)
    beside = records(dataset, places, None if keys is names else names)
    images = _images(pool, dataset, places, fitted, original)
    for place, image, record in zip(places.tolist(), images, beside, strict=True):
        yield keys[place], {**image, **record}


def _check(dataset: Dataset, original: bool, preprocess: Preprocess | None) -> None:
    name, reader = dataset.info.name, dataset.reader
    if dataset.modalities or reader.views or reader.bag or reader.row_width is not None:
        raise ConfigError(f"{name} has several images or rows of features a sample; shards are written of one image a sample")
    if dataset.targets or dataset.texts:
        what, option = ("several targets", "targets") if dataset.targets else ("texts beside the image", "texts")
        these = ", ".join(dataset.targets or dataset.texts)
        raise ConfigError(
            f"{name} has {what} ({these}), which shards do not hold: leave data.{option} out, or prepare the images alone "
            "(format=packed)"
        )
    if not original:
        return
    if preprocess is not None:
        raise ConfigError("images=original are the files as they are; leave size, mode, interpolation and channels out")
    values = [dataset.table[column].iloc[0] for column in reader.columns]
    if len(reader.files(*values)) != 1 or len(reader.columns) != 1 or reader.frames is not None:
        raise ConfigError(f"the images of {name} are not files of their own; use images=decoded")


def _claim(folder: Path, card: Mapping[str, Any]) -> None:
    """Make the folder, or take one that an earlier call filled: what its card names goes, anything else is not ours.

    The card is written first: it names the shards that are to come, and without all of them the folder is not read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        before = json.loads((folder / CARD).read_text(encoding="utf-8"))["shards"]
        known = {CARD, SUMS, *(name + more for name in map(str, before) for more in ("", ".part", SUFFIX))}
    except FileNotFoundError:
        known = set()
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(f"{folder / CARD} is not what prepare writes; choose another output=...") from None
    strange = next((path.name for path in sorted(folder.iterdir()) if path.name not in known), None)
    if strange is not None:
        raise ConfigError(f"{folder} holds {strange}, which prepare did not write; choose another output=...")
    for name in known:
        (folder / name).unlink(missing_ok=True)
    (folder / CARD).write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _images(
    pool: ThreadPoolExecutor, dataset: Dataset, places: NDArray[np.int64], fitted: SampleDataset | None, original: bool
) -> Iterator[Members]:
    """Yield each sample's image as a member, decoded ahead by threads."""
    columns = [dataset.table[column].to_numpy(dtype=object) for column in dataset.reader.columns]

    def make(job: tuple[int, int]) -> Members:
        row, place = job
        values = [column[place] for column in columns]
        if original:
            path = dataset.reader.files(*values)[0]
            return {_ending(path): path.read_bytes()}
        pixels = dataset.reader.read(*values) if fitted is None else fitted.fitted(row).numpy()
        return _encoded(np.ascontiguousarray(pixels))

    jobs = iter(enumerate(places.tolist()))
    waiting = [pool.submit(make, job) for job in islice(jobs, _AHEAD)]
    while waiting:
        done = waiting.pop(0)
        waiting += [pool.submit(make, job) for job in islice(jobs, 1)]
        try:
            yield done.result()
        except OSError as error:
            raise ImageError(f"{dataset.info.name}: cannot read an image ({error})") from None


def _encoded(pixels: NDArray[Any]) -> Members:
    """Return pixels without loss: 8 bits of one plane as PNG, all else as an array of numbers."""
    buffer = BytesIO()
    if pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[0] in (1, 3):
        plane = pixels[0] if pixels.shape[0] == 1 else np.moveaxis(pixels, 0, -1)
        Image.fromarray(np.ascontiguousarray(plane)).save(buffer, "PNG")
        return {"png": buffer.getvalue()}
    np.save(buffer, pixels, allow_pickle=False)
    return {"npy": buffer.getvalue()}


def _ending(path: Path) -> str:
    """Return the ending of an image file; ConfigError if its name says no image, so that nobody would find it."""
    name = path.name.lower()
    ending = next((suffix for suffix in (*VOLUME_SUFFIXES, *SUFFIXES) if name.endswith(suffix)), None)
    if ending is None:
        raise ConfigError(f"{path} has a name that says no image; use images=decoded")
    return ending[1:]


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
