"""MedMNIST in small: .npz files as the authors write them, of random images and labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from medzoo.data.datasets.medmnist.sets import SETS

COUNTS = {"train": 7, "val": 3, "test": 5}


def arrays(flag: str, size: int = 28, counts: Mapping[str, int] = COUNTS) -> dict[str, np.ndarray]:
    """Return the arrays of a set's file."""
    rng = np.random.default_rng(0)
    described = SETS[flag]
    side = (size,) * (3 if described.volume else 2) + (3,) * (described.channels == 3)
    made = {}
    for split, count in counts.items():
        made[f"{split}_images"] = rng.integers(0, 256, (count, *side), dtype=np.uint8)
        wide = not described.labels.exclusive
        labels = rng.integers(0, 2 if wide else described.labels.width, (count, described.labels.width if wide else 1))
        made[f"{split}_labels"] = labels.astype(np.uint8)
    return made


def save(folder: Path, flag: str, made: Mapping[str, np.ndarray], size: int = 28, order: list[str] | None = None) -> Path:
    """Write a set's file, its arrays in another order if told so."""
    path = folder / (f"{flag}.npz" if size == 28 else f"{flag}_{size}.npz")
    np.savez_compressed(path, **{key: made[key] for key in order or made})
    return path
