"""A user's own small tables and folders, written as others write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from medzoo.data.dataset import Dataset
from medzoo.data.registry import load_dataset


def write_images(folder: Path, names: Sequence[str]) -> None:
    """Write an 8 x 8 image of noise, one of its own, for each relative path."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 255, (8, 8), dtype=np.uint8)).save(path)


def frame(count: int = 12, **columns: Sequence[Any]) -> pd.DataFrame:
    """Return a table of images, two classes in turn and patients of two images, with other columns put in or over."""
    plain: Mapping[str, Sequence[Any]] = {
        "image": [f"i{n:02}.png" for n in range(count)],
        "label": [("benign", "malignant")[n % 2] for n in range(count)],
        "patient": [f"P{n // 2}" for n in range(count)],
    }
    return pd.DataFrame({**plain, **columns})


def load_table(file: Path, **options: Any) -> Dataset:
    """Load a table with its label and patient."""
    return load_dataset("table", **{"file": file, "target": "label", "group": "patient", **options})


def splits_of(dataset: Dataset, column: str = "group") -> dict[str, int]:
    """Return value → in how many splits it stands."""
    return dict(dataset.table.groupby(column)["split"].nunique())
