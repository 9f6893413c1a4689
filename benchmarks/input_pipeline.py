"""Samples a second of the input pipeline: 28-px images in memory, 256-px JPEG files decoded from memory, 64-px images of phantom.

Run as `python benchmarks/input_pipeline.py`; prints every round, because one number of a busy machine says little. The
first round of a loader with workers includes starting them, and the first of phantom drawing the images (about 0.4 ms each).
Each line ends with the share of the machine that other processes used meanwhile (Linux): where it is not near 0, the figures
for workers are the neighbours', not the loader's.
"""

from __future__ import annotations

import argparse
import io
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from medzoo.data.dataset import ArrayReader, Dataset, Reader
from medzoo.data.images.decode import decode_image
from medzoo.data.info import DatasetInfo
from medzoo.data.registry import load_dataset
from medzoo.data.samples.augment import Augment
from medzoo.data.samples.loader import EpochBatches, make_loader
from medzoo.data.samples.policies import POLICIES
from medzoo.data.samples.preprocess import Preprocess
from medzoo.data.samples.sample_dataset import SampleDataset


@dataclass
class JpegReader(Reader):
    """Decodes JPEG bytes: all that reading a file costs but the disk."""

    files: list[bytes]
    columns: tuple[str, ...] = ("array_index",)
    shape: tuple[int, ...] | None = field(default=None)

    def read(self, *values: Any) -> NDArray[Any]:
        return np.moveaxis(decode_image(self.files[int(values[0])], channels=3, dtype="uint8"), -1, 0)


def make_dataset(reader: Reader, samples: int) -> Dataset:
    names = [f"sample{i}" for i in range(samples)]
    table = pd.DataFrame({"sample_id": names, "split": "train", "group": names, "array_index": np.arange(samples)})
    return Dataset(DatasetInfo("benchmark", "Benchmark", "skin", "none", "none", "none", None), table, reader)


def make_jpegs(samples: int) -> list[bytes]:
    """Return JPEG files of 256 px: smooth shapes, so that they are of a photograph's size on disk."""
    generator = np.random.default_rng(0)
    files = []
    for _ in range(samples):
        coarse = Image.fromarray(generator.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        data = io.BytesIO()
        coarse.resize((256, 256), Image.Resampling.BICUBIC).save(data, "JPEG", quality=90)
        files.append(data.getvalue())
    return files


def machine_seconds() -> float:
    """Return the processor seconds that all processes of the machine have used; 0 where the system does not tell."""
    try:
        user, nice, system = map(int, Path("/proc/stat").read_text().split()[1:4])
    except OSError:
        return 0.0
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def our_seconds() -> float:
    """Return the processor seconds of this process and its ended workers."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def measure(title: str, dataset: Dataset, policy: str, workers: int, rounds: int) -> None:
    preprocess = Preprocess((224, 224))
    augment = Augment(POLICIES[policy], preprocess)
    samples = SampleDataset(dataset, "train", preprocess, augment=None if policy == "none" else augment)
    batches = EpochBatches(len(samples), 64, seed=0, shuffle=True)
    loader = make_loader(samples, batches, workers=workers, pin_memory=False)
    speeds = []
    begin, machine, ours = time.perf_counter(), machine_seconds(), our_seconds()
    for epoch in range(rounds):
        batches.set_epoch(epoch)
        start = time.perf_counter()
        count = sum(len(batch["index"]) for batch in loader)
        speeds.append(count / (time.perf_counter() - start))
    del loader  # ends its workers, whose time counts from then on
    available = (time.perf_counter() - begin) * (os.cpu_count() or 1)
    others = max(0.0, machine_seconds() - machine - (our_seconds() - ours)) / available
    print(
        f"{title:>10}  {policy:<6} workers={workers}  " + "  ".join(f"{s:8,.0f}" for s in speeds),
        f" samples/s  others {others:.0%}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--arrays", type=int, default=6400, help="28-px images an epoch")
    parser.add_argument("--files", type=int, default=640, help="256-px files an epoch")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    options = parser.parse_args()
    pixels = np.random.default_rng(0).integers(0, 256, (options.arrays, 3, 28, 28), dtype=np.uint8)
    arrays = make_dataset(ArrayReader(pixels), options.arrays)
    files = make_dataset(JpegReader(make_jpegs(options.files)), options.files)
    for title, dataset in (("28 array", arrays), ("256 file", files)):
        for policy in ("none", "xray", "skin"):
            for workers in options.workers:
                measure(title, dataset, policy, workers, options.rounds)
    for workers in options.workers:
        drawn = load_dataset("phantom", channels=3, patients=max(4, options.files // 4))
        measure("64 drawn", drawn, "none", workers, options.rounds)


if __name__ == "__main__":
    main()
