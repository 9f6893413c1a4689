"""Images as decoding tells them apart, and what stands in several splits: groups, identical images, near-identical ones.

A patient who is in two splits under two names is found by what the images hold, not by what they are called.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medzoo.data.audit.greys import share_used
from medzoo.data.dataset import Dataset, readers_of
from medzoo.data.errors import MedzooError
from medzoo.data.seeding import stable_hash
from medzoo.data.splits.groups import shared_groups

NEAR_BITS = 3
"""Perceptual hashes (64 bits) that differ in at most so many count as near-identical. With 3, two hashes agree in at least one of
their four 16-bit quarters, so that comparing within quarters misses none."""
LISTED = 100
"""Longest list of offenders in a report; the count is always whole."""
ImageKey = tuple[str, tuple[Any, ...]]
"""A modality's name, and what its reader takes for one of its images."""


@dataclass(frozen=True)
class ImageFacts:
    """What decoding one image told.

    Attributes:
        digest: SHA-256 of its pixels, shape and type; files that differ in compression alone agree. Empty if unreadable.
        perceptual: 64-bit perceptual hash, or None if not asked for.
        error: Why it cannot be read; empty if it can.
        share: How much of the grey range it uses, 0..1.
        assumed: The range that was taken, if its file says none.
        held: How many frames its file holds.
    """

    digest: str
    perceptual: int | None = None
    error: str = ""
    share: float = 1.0
    assumed: str | None = None
    held: int = 1


def images_of(dataset: Dataset) -> list[list[ImageKey]]:
    """Return the images of each row: of every modality what its reader takes for them."""
    found: list[list[ImageKey]] = [[] for _ in range(len(dataset))]
    for name, reader in readers_of(dataset).items():
        columns = [dataset.table[column].to_numpy(dtype=object) for column in reader.columns]
        for row, values in enumerate(zip(*columns, strict=True)):
            found[row] += [(name, key) for key in reader.images(*values).values()]
    return found


def look_at_images(
    dataset: Dataset, limit: int | None, deep: bool, workers: int, advance: Callable[[int], None]
) -> tuple[dict[ImageKey, ImageFacts], dict[ImageKey, list[int]]]:
    """Decode each distinct image of every modality once; returns what was seen, and the rows of each image (`images_of`)."""
    readers = readers_of(dataset)
    places: dict[ImageKey, list[int]] = defaultdict(list)
    for row, keys in enumerate(images_of(dataset)):
        for key in keys:
            places[key].append(row)
    chosen = list(places)
    if limit is not None and limit < len(chosen):
        chosen = sorted(chosen, key=lambda key: stable_hash("\x1f".join(map(str, key[1]))))[:limit]
    facts: dict[ImageKey, ImageFacts] = {}
    counted: dict[tuple[str, tuple[Path, ...]], int] = {}

    def held_of(name: str, key: tuple[Any, ...]) -> int:
        files = (name, tuple(readers[name].files(*key)))
        if files not in counted:  # once for all frames of a file, which counting reads whole
            counted[files] = readers[name].held(*key)
        return counted[files]

    def look(image: ImageKey) -> ImageFacts:
        name, key = image
        reader = readers[name]
        try:
            pixels = reader.read(*key)
        except (MedzooError, OSError) as error:
            return ImageFacts("", error=str(error), held=held_of(name, key))
        described = f"{pixels.dtype}{pixels.shape}".encode()
        digest = hashlib.sha256(described + np.ascontiguousarray(pixels).tobytes()).hexdigest()
        hashed = _perceptual(pixels) if deep else None
        return ImageFacts(digest, hashed, share=share_used(pixels), assumed=reader.assumed(*key), held=held_of(name, key))

    with ThreadPoolExecutor(workers) as pool:
        for key, seen in zip(chosen, pool.map(look, chosen), strict=True):
            facts[key] = seen
            advance(1)
    return facts, dict(places)


def _perceptual(pixels: NDArray[Any]) -> int:
    """Return the 64-bit DCT hash (Zauner 2010) of the gray image, of a volume its middle slice."""
    import imagehash

    flat = pixels[:, pixels.shape[1] // 2] if pixels.ndim == 4 else pixels
    gray = flat.astype(np.float64).mean(axis=0) * (255 if flat.dtype == np.float32 else 1)
    return int(str(imagehash.phash(Image.fromarray(np.round(gray).astype(np.uint8)))), 16)


def leakage(
    dataset: Dataset, facts: Mapping[ImageKey, ImageFacts], places: Mapping[ImageKey, list[int]], deep: bool
) -> dict[str, Any]:
    """Return what stands in several splits: groups, identical images and, if asked for (`deep`), near-identical ones."""
    splits, ids = dataset.table["split"].to_numpy(), dataset.table["sample_id"].to_numpy()
    groups = dataset.table["group"].to_numpy()
    by_digest: dict[str, list[int]] = defaultdict(list)
    for key, seen in facts.items():
        if seen.digest:
            by_digest[seen.digest] += places[key]
    across, between_groups = [], 0
    for rows in by_digest.values():
        found = sorted({str(splits[row]) for row in rows})
        if len(found) > 1:
            across.append({"splits": found, "sample_ids": [str(ids[row]) for row in rows][:10]})
        elif len({groups[row] for row in rows}) > 1:
            between_groups += 1
    shared = shared_groups(dataset.table)
    result: dict[str, Any] = {
        "groups": len(shared),
        "groups_listed": dict(list(shared.items())[:LISTED]),
        "identical": len(across),
        "identical_listed": across[:LISTED],
        "identical_between_groups_of_a_split": between_groups,
    }
    if deep:
        near = near_pairs(facts, places, splits)
        result["near"] = len(near)
        result["near_listed"] = [{"sample_ids": [str(ids[a]), str(ids[b])], "bits": bits} for a, b, bits in near[:LISTED]]
    return result


def near_pairs(
    facts: Mapping[Any, ImageFacts], places: Mapping[Any, list[int]], splits: NDArray[Any]
) -> list[tuple[int, int, int]]:
    """Return (row, row, differing bits) of near-identical, not identical, images whose splits differ."""
    seen = [(places[key][0], fact) for key, fact in facts.items() if fact.perceptual is not None]
    if not seen:
        return []
    rows = np.array([row for row, _ in seen])
    hashes = np.array([fact.perceptual for _, fact in seen], dtype=np.uint64)
    digests = np.array([fact.digest for _, fact in seen])
    pairs: dict[tuple[int, int], int] = {}
    for quarter in range(4):
        part = (hashes >> np.uint64(16 * quarter)) & np.uint64(0xFFFF)
        order = np.argsort(part, kind="stable")
        for bucket in np.split(order, np.flatnonzero(np.diff(part[order])) + 1):
            for place, one in enumerate(bucket):
                others = bucket[place + 1 :]
                bits = np.bitwise_count(hashes[others] ^ hashes[one])
                near = (bits <= NEAR_BITS) & (splits[rows[others]] != splits[rows[one]]) & (digests[others] != digests[one])
                for other, count in zip(others[near], bits[near], strict=True):
                    pairs[tuple(sorted((int(rows[one]), int(rows[other]))))] = int(count)  # type: ignore[index]
    return sorted(((a, b, bits) for (a, b), bits in pairs.items()), key=lambda pair: (pair[2], pair[:2]))


def image_leakage(dataset: Dataset, workers: int = 1) -> dict[str, Any]:
    """Decode every image and return which stand, identical, in several splits: `identical` and `identical_listed` of `leakage`.

    Args:
        dataset: With all of its splits.
        workers: Threads that decode.
    """
    facts, places = look_at_images(dataset, None, False, workers, lambda count: None)
    found = leakage(dataset, facts, places, False)
    return {name: found[name] for name in ("identical", "identical_listed")}
