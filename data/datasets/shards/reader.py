"""Images of samples in shards, read by their offsets."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.datasets.shards.fields import Shards
from medzoo.data.errors import DatasetError, ImageDependencyError, ImageError
from medzoo.data.images.decode import decode_image
from medzoo.data.images.files import SAVE_EACH
from medzoo.data.images.frames import CHANNELS, Frames
from medzoo.data.images.kinds import SUFFIXES, VOLUME_SUFFIXES
from medzoo.data.images.nifti import decode_nifti
from medzoo.data.images.pixels import PixelType
from medzoo.data.images.planes.read import read_planes
from medzoo.data.images.reader import Reader
from medzoo.data.tars.index import ShardIndex, open_index
from medzoo.data.tars.names import last_part
from medzoo.data.tars.scan import ABSENT

ARRAY = "npy"
"""Ending of an image that is an array of numbers, (C, H, W) or (C, D, H, W)."""
IMAGES = (*(suffix[1:] for suffix in (*SUFFIXES, *VOLUME_SUFFIXES)), ARRAY)


@dataclass(frozen=True)
class ShardReader(Reader):
    """Reads the image of the sample at one position.

    Attributes:
        paths: The tar files.
        endings: Of members that are images; a sample has one of them.
        channels: 1 or 3; with `frames=channels` the planes of a member.
        dtype: `uint8` or `float32`.
        window: (low, high) that become 0 and 1, for sources of more than 8 bits.
        columns: The table's column with positions.
        frames: `channels`: the planes of a member are its channels; None: gray or colour.
    """

    paths: tuple[Path, ...]
    endings: tuple[str, ...]
    channels: int = 3
    dtype: PixelType = "uint8"
    window: tuple[float, float] | None = None
    columns: tuple[str, ...] = ("position",)
    frames: Frames | None = None
    _opened: list[Shards] = field(default_factory=list, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is mapped: a process that gets the reader maps it itself."""
        return {**{name: value for name, value in self.__dict__.items() if name != "_folders"}, "_opened": []}

    @property
    def shards(self) -> Shards:
        """The samples, mapped when first asked for."""
        if not self._opened:
            self._opened.append(Shards(tuple(open_index(path) for path in self.paths)))
        return self._opened[0]

    def read(self, *values: Any) -> NDArray[Any]:
        """Return (C, H, W) pixels, or (C, D, H, W) voxels.

        Raises:
            ImageError: If the sample has no image, or it cannot be decoded; names the shard and the member.
        """
        index, row, ending = self._place(int(values[0]))
        if ending is None:
            raise ImageError(f"{self.shards.where(int(values[0]))} has no image (.{', .'.join(self.endings)})")
        name = f"{index.path}: {index.key(row)}.{ending}"
        try:
            data = index.read(row, ending)
        except DatasetError as error:
            raise ImageError(str(error)) from None
        try:
            return self._decoded(data, ending)
        except ImageError as error:
            kind = ImageDependencyError if isinstance(error, ImageDependencyError) else ImageError
            raise kind(str(error).replace(f"image bytes ({len(data)} bytes)", name)) from None

    def member(self, *values: Any) -> tuple[int, Callable[[], bytes]] | None:
        """Return how many bytes the image's member has, by the index, and what reads them; None of a sample without an image."""
        index, row, ending = self._place(int(values[0]))
        return None if ending is None else (int(index.sizes(ending)[row]), partial(index.read, row, ending))

    def called(self, *values: Any) -> str:
        """Return the sample's key, whichever shard it lies in."""
        index, row = self.shards.place(int(values[0]))
        return index.key(row)

    def _place(self, position: int) -> tuple[ShardIndex, int, str | None]:
        """Return the shard of a position, the row in it, and the ending of the image there."""
        index, row = self.shards.place(position)
        return index, row, next((one for one in self.endings if index.offsets(one)[row] != ABSENT), None)

    def identity(self, *values: Any) -> str | None:
        """Return where the shard lies, links followed, and the sample's key."""
        index, row = self.shards.place(int(values[0]))
        folder = index.path.parent
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        return f"{self._folders[folder]}/{index.path.name}/{index.key(row)}"

    @cached_property
    def _folders(self) -> dict[Path, str]:
        return {}

    def _decoded(self, data: bytes, ending: str) -> NDArray[Any]:
        if last_part(ending) == ARRAY:
            return _array(data, self.dtype, self.channels if self.frames == CHANNELS else None)
        if self.frames == CHANNELS:
            return np.moveaxis(read_planes(data, channels=self.channels, dtype=self.dtype, window=self.window), -1, 0)
        if ending.endswith(("nii", "nii.gz")):
            return decode_nifti(data, dtype=self.dtype, window=self.window)[None]
        pixels = decode_image(data, channels=self.channels, dtype=self.dtype, window=self.window, remedy=SAVE_EACH)
        return np.moveaxis(pixels, -1, 0)


def image_endings(shards: Shards, asked: Sequence[str] | None) -> tuple[tuple[str, ...], NDArray[np.bool_]]:
    """Return the endings of the samples' images, and (N,) which samples have one.

    Args:
        shards: The samples.
        asked: Endings that are images; None: those of image files.

    Raises:
        DatasetError: If no sample has one, or a sample has two.
    """
    known = list(dict.fromkeys(ending for index in shards.indexes for ending in index.endings))
    if asked is not None:
        endings = tuple(one for one in dict.fromkeys(asked) if one in known)
    else:
        endings = tuple(one for one in known if last_part(one) in IMAGES or one.endswith(VOLUME_SUFFIXES))
    if not endings:
        what = "images" if asked is None else f"members .{', .'.join(asked)}"
        raise DatasetError(
            f"{shards.title}: no sample has {what}; its members are .{', .'.join(known[:12])}: name images in data.image"
        )
    parts = []
    for index, start in zip(shards.indexes, shards.starts, strict=True):
        counts = np.sum([index.offsets(ending) != ABSENT for ending in endings], axis=0)
        if (counts > 1).any():
            row = int(np.argmax(counts > 1))
            held = [ending for ending in endings if index.offsets(ending)[row] != ABSENT]
            raise DatasetError(
                f"{shards.where(start + row)} has several images (.{', .'.join(held)}); name the one that is meant, "
                f"data.image={held[0]}"
            )
        parts.append(counts > 0)
    return endings, np.concatenate(parts)


def _array(data: bytes, dtype: str, channels: int | None) -> NDArray[Any]:
    """Return an array of pixels from the bytes of a .npy file; no pickle is read."""
    name = f"image bytes ({len(data)} bytes)"
    try:
        found = np.load(BytesIO(data), allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise ImageError(f"{name}: is no array of numbers ({error})") from None
    known = (1, 3) if channels is None else (channels,)
    if not isinstance(found, np.ndarray) or found.ndim not in (3, 4) or found.shape[0] not in known or 0 in found.shape:
        wanted = " or ".join(map(str, known))
        raise ImageError(f"{name}: has shape {list(getattr(found, 'shape', ()))}, not [{wanted}, height, width] or with a depth")
    if found.dtype != dtype:
        raise ImageError(f"{name}: holds {found.dtype}, and the images are {dtype} (data.deep)")
    if found.dtype == np.float32 and not (np.isfinite(found).all() and 0 <= found.min() <= found.max() <= 1):
        raise ImageError(f"{name}: holds numbers that are not within 0..1")
    return found
