"""Images for timing, drawn here: PNG files with classes and captions that `medzoo prepare` packs, and a MedMNIST file."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from medzoo.cli import main as medzoo

CLASSES = ("naevus", "melanoma", "keratosis", "eczema")
WORDS = (
    "an irregular border",
    "a pale halo",
    "fine scale",
    "dark spots",
    "a raised rim",
    "no ulcer",
    "a pink base",
    "two colours",
)
VAL = 64
"""Validation images: a training wants some, and nothing here looks at them."""


def draw(path: Path, number: int, size: int) -> None:
    """Write a photograph-like PNG: soft blobs tinted by its class, with pixel noise, so that it compresses as photographs do."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 200, (7, 7, 3), dtype=np.uint8)).resize((size, size), Image.Resampling.BICUBIC)
    noisy = np.asarray(coarse, np.int16) + rng.integers(-6, 7, (size, size, 3), dtype=np.int16)
    noisy[..., number % 3] += 12 * (number % len(CLASSES))
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(path, compress_level=1)


def prepared_table(folder: Path, *, images: int, rows: int, size: int, modality: str) -> list[str]:
    """Draw images, write a table of `rows` training samples over them, pack them, and return the settings that name it all.

    An epoch may be longer than there are images: each then comes several times, as itself.
    """
    (folder / "images").mkdir(parents=True)
    names = [f"images/{number:05d}.png" for number in range(images + VAL)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda number: draw(folder / names[number], number, size), range(len(names))))
    rng = np.random.default_rng(0)
    shown = [*(row % images for row in range(rows)), *range(images, images + VAL)]
    table = pd.DataFrame(
        {
            "name": [f"sample-{row:06d}" for row in range(len(shown))],
            "image": [names[number] for number in shown],
            "class": [CLASSES[number % len(CLASSES)] for number in shown],
            "caption": [
                f"photograph {n} of {CLASSES[n % len(CLASSES)]} with {' and '.join(rng.choice(WORDS, 3, replace=False))}"
                for n in shown
            ],
            "split": ["train"] * rows + ["val"] * VAL,
        }
    )
    table.to_csv(folder / "table.csv", index=False)
    data = ["data=table", f"data.file={folder / 'table.csv'}", "data.id=name", "data.target=class", "data.caption=caption"]
    data += ["data.split=split", f"data.modality={modality}", f"data.names=[{','.join(CLASSES)}]"]
    packed = folder / "packed"
    if medzoo(["prepare", *data, f"size={size}", "channels=3", f"output={packed}", f"workers={os.cpu_count()}"]) != 0:
        raise RuntimeError("medzoo prepare did not take the drawn images")
    return [*data, f"data.packed={packed}", f"model.preprocess.size=[{size},{size}]", "model.preprocess.channels=3"]


def medmnist_file(folder: Path, train: int) -> Path:
    """Write a file of PneumoniaMNIST's form (and size, at 4708 training images): noise and a patch whose place tells the class.

    One label in twenty is wrong, so that the loss has a floor and the curve to it can be compared.
    """
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in {"train": train, "val": max(64, train * 524 // 4708), "test": max(64, train * 624 // 4708)}.items():
        truth = rng.integers(0, 2, count)
        pixels = rng.normal(128, 40, (count, 28, 28))
        for image, label in zip(pixels, truth, strict=True):
            top, left = rng.integers(2, 8), rng.integers(2, 16)
            image[top + 10 * label : top + 10 * label + 8, left : left + 8] += 30
        wrong = rng.random(count) < 0.05
        arrays[f"{split}_images"] = np.clip(pixels, 0, 255).astype(np.uint8)
        arrays[f"{split}_labels"] = np.where(wrong, 1 - truth, truth).astype(np.uint8)[:, None]
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "pneumoniamnist.npz", **arrays)
    return folder / "pneumoniamnist.npz"
