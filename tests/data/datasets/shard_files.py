"""Shards as WebDataset's own writer makes them."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from webdataset import TarWriter

SPLITS = {"train": 16, "val": 6, "test": 8}
Sample = dict[str, Any]


def picture(number: int, ending: str = "PNG") -> bytes:
    """Return an encoded gray image, another for each number."""
    buffer = io.BytesIO()
    rows = np.arange(14 * 12, dtype=np.int64).reshape(14, 12)
    Image.fromarray(((rows + 7 * number) % 251).astype(np.uint8)).save(buffer, ending)
    return buffer.getvalue()


def sample(split: str, number: int) -> Sample:
    """Return what a sample holds; some fields are missing, one patient has two samples."""
    fields: Sample = {
        "label": ["benign", "malignant"][number % 2],
        "patient": f"{split}-{number // 2}",
        "sex": "fm"[number // 2 % 2],
    }
    fields |= {"mass": number % 2, "size": number / 4 if number % 3 else None, "findings": ["mass"] * (number % 2)}
    if number % 5 == 4:
        fields["label"] = None
    image = picture(number + 20 * len(split))
    return {"__key__": f"{split}/s{number:03d}", "png": image, "json": fields, "txt": f"film {number} of {split}",
            "cls": number % 2}  # fmt: skip


def write(path: Path, samples: list[Mapping[str, Any]]) -> Path:
    """Write one shard."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with TarWriter(str(path)) as writer:
        for one in samples:
            writer.write(dict(one))
    return path


def write_splits(root: Path, make: Callable[[str, int], Sample] = sample) -> Path:
    """Write two shards of each split."""
    for split, count in SPLITS.items():
        for number in range(2):
            half = range(number * count // 2, (number + 1) * count // 2)
            write(root / f"{split}-{number:03d}.tar", [make(split, place) for place in half])
    return root
