"""Samples a second from image files and from a prepared folder, in one run.

    python benchmarks/packed_images.py [--images FOLDER] [--count 96] [--size 224] [--rounds 5]

Without --images it draws 1024×1024 8-bit gray PNGs of smooth shapes with film-like noise. Both sides read the same samples by
the same `SampleDataset` in one process: decode and resize, against a copy out of the memory-mapped shard.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from medzoo.data.registry import load_dataset
from medzoo.data.samples.packed.images import write_packed
from medzoo.data.samples.preprocess import Preprocess
from medzoo.data.samples.sample_dataset import SampleDataset


def draw(folder: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 230, (16, 16), dtype=np.uint8)).resize((1024, 1024), Image.Resampling.BICUBIC)
        noisy = np.clip(np.asarray(coarse, np.float32) + rng.normal(0, 2.5, (1024, 1024)), 0, 255)
        Image.fromarray(np.round(noisy).astype(np.uint8)).save(folder / f"{number:04d}.png")


def seconds(samples: SampleDataset) -> float:
    start = time.perf_counter()
    for index in range(len(samples)):
        samples[index]
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=Path)
    parser.add_argument("--count", type=int, default=96)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = given.images or folder / "images"
        if given.images is None:
            source.mkdir()
            draw(source, given.count)
        names = sorted(p.name for p in source.glob("*.png"))[: given.count]
        (folder / "t.csv").write_text("image,split\n" + "".join(f"{name},train\n" for name in names))
        common = {"file": folder / "t.csv", "root": source, "split": "split", "channels": 1, "val_fraction": 0.01}
        preprocess = Preprocess(size=(given.size,) * 2, channels=1, dtype="uint8", mean=(0.5,), std=(0.5,))
        start = time.perf_counter()
        write_packed(load_dataset("table", **common), preprocess, folder / "packed", workers=os.cpu_count() or 1)
        print(f"preparing {len(names)} images: {time.perf_counter() - start:.2f} s on {os.cpu_count()} threads")
        files = SampleDataset(load_dataset("table", **common), "train", preprocess)
        ready = SampleDataset(load_dataset("table", packed=str(folder / "packed"), **common), "train", preprocess)
        ratios = []
        for number in range(given.rounds):
            slow, fast = seconds(files), seconds(ready)
            ratios.append(slow / fast)
            print(
                f"round {number + 1}: files {len(files) / slow:.0f}/s, prepared {len(ready) / fast:.0f}/s, ratio {ratios[-1]:.1f}"
            )
    print(f"median ratio {statistics.median(ratios):.1f}")


if __name__ == "__main__":
    main()
