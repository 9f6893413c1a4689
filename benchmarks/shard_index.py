"""Memory of a million sample keys in shards: pairs of an image and a caption in plain tar files, opened and drawn at random.

Run: python benchmarks/shard_index.py [--samples 10000 100000 1000000] [--shards 10] [--workers 2] [--batches 200]

Every number of samples is a process of its own. `anonymous` is memory that is the process's own (RssAnon), beside what imports
took: it is what a table in memory would fill, and what every worker would copy. `mapped` is what it has looked at of files
(RssFile, beside imports), which all processes share and the system takes back when it is short. The batches are drawn at random
by loading processes, image and caption read and decoded; `workers` is by how much their anonymous memory grew from the first
batch to the last. The index of the first shard is made by reading the shard (`index s`), those of the others, which differ by
their numbers alone, are written at once.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
from array import array
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.dataset_index import machine
from medzoo.data import load_dataset
from medzoo.data.samples.loader import EpochBatches, make_loader
from medzoo.data.samples.preprocess import Preprocess
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.data.tars.index import index_places, open_index, save_index, state_of
from medzoo.data.tars.scan import Contents

BLOCK, CAPTION = 512, b"a gray square that stands for a film of the chest, number %07d"


def header(ending: bytes, size: int) -> np.ndarray:
    """Return a plain tar header of a member `s0000000.<ending>`, its sum of bytes not filled in."""
    block = bytearray(BLOCK)
    block[:8], block[8 : 9 + len(ending)] = b"s0000000", b"." + ending
    block[100:136] = b"0000644\0" + b"0000000\0" + b"0000000\0" + b"%011o\0" % size
    block[136:148], block[148:156], block[156:157] = b"%011o\0" % 0, b" " * 8, b"0"
    block[257:265] = b"ustar\x0000"
    return np.frombuffer(bytes(block), np.uint8)


def write_tar(path: Path, first: int, count: int, picture: bytes) -> None:
    """Write samples `first` and on: an image, the same for all, and a caption of its own; as arrays, which takes no time."""
    texts = np.array([list(CAPTION % number) for number in range(first, first + count)], np.uint8)
    digits = texts[:, -7:]
    parts = []
    for ending, size in ((b"png", len(picture)), (b"txt", texts.shape[1])):
        blocks = np.tile(header(ending, size), (count, 1))
        blocks[:, 1:8] = digits
        sums = blocks.astype(np.int64).sum(axis=1)
        blocks[:, 148:156] = np.array([list(b"%06o\0 " % value) for value in sums.tolist()], np.uint8)
        content = np.zeros((count, -(-size // BLOCK) * BLOCK), np.uint8)
        content[:, :size] = np.frombuffer(picture, np.uint8) if ending == b"png" else texts
        parts += [blocks, content]
    path.write_bytes(np.concatenate(parts, axis=1).tobytes() + bytes(2 * BLOCK))


def write_index(path: Path, first: int, count: int, picture: bytes) -> None:
    """Write the index of such a tar file without reading it."""
    size = len(CAPTION % 0)
    step = 2 * BLOCK + -(-len(picture) // BLOCK) * BLOCK + -(-size // BLOCK) * BLOCK
    starts = np.arange(count, dtype=np.int64) * step
    offsets = {"png": starts + BLOCK, "txt": starts + step - -(-size // BLOCK) * BLOCK}
    found = Contents(
        [f"s{number:07d}" for number in range(first, first + count)],
        {ending: array("q", values.tobytes()) for ending, values in offsets.items()},
        {"png": array("q", [len(picture)]) * count, "txt": array("q", [size]) * count},
        {"txt": [(CAPTION % number).decode("ascii") for number in range(first, first + count)]},
    )
    save_index(path, found, state_of(path.stat()), index_places(path))


def memory(process: int | str = "self") -> dict[str, float]:
    """Return a process's resident memory in MB: `anonymous`, `mapped`."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    found = {line.partition(":")[0]: line.split()[1] for line in lines if line.startswith("Rss")}
    return {"anonymous": int(found["RssAnon"]) / 1024, "mapped": int(found["RssFile"]) / 1024}


def peak() -> float:
    """Return the most memory that this process has ever had, in MB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def measure(root: str, workers: int, batches: int) -> None:
    """Open the shards of a folder, draw batches, and print what it took as JSON."""
    load_dataset("phantom", patients=4)  # imports
    before, most = memory(), peak()
    start = time.perf_counter()
    dataset = load_dataset("shards", root=root, caption=".txt", channels=1)
    train = SampleDataset(dataset, "train", Preprocess(size=(8, 8), channels=1, mean=(0.5,), std=(0.5,)))
    seconds = time.perf_counter() - start
    opened, top = memory(), peak()
    order = EpochBatches(len(train), 128, seed=0, shuffle=True)
    loader = make_loader(train, order, workers=workers, pin_memory=False)
    grown, first = [], {}
    start = time.perf_counter()
    for number, batch in enumerate(loader):
        assert len(batch["text"]) == len(batch["sample_id"])
        if number in (8, batches):
            processes = [worker.pid for worker in loader._iterator._workers]  # type: ignore[union-attr]
            now = {process: memory(process)["anonymous"] for process in processes}
            grown, first = [now[process] - first.get(process, now[process]) for process in processes], now
        if number == batches:
            break
    rate = batches * 128 / (time.perf_counter() - start)
    after = memory()
    found = {
        "rows": len(dataset), "seconds": seconds, "anonymous": opened["anonymous"] - before["anonymous"],
        "mapped": after["mapped"] - before["mapped"], "peak": top - most,
        "epoch": after["anonymous"] - before["anonymous"], "workers": max(grown), "rate": rate,
    }  # fmt: skip
    print(json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--shards", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batches", type=int, default=200)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options.workers, options.batches)
        return
    buffer = io.BytesIO()
    Image.new("L", (8, 8), 90).save(buffer, "PNG")
    print(machine())
    print(f"{'samples':>9} {'index s':>8} {'open s':>7} {'anonymous MB':>13} {'with an order':>14} {'most while opening':>19} "
          f"{'mapped MB':>10} {'workers MB':>11} {'samples/s':>10}")  # fmt: skip
    for samples in options.samples:
        with tempfile.TemporaryDirectory() as folder:
            each = samples // options.shards
            for number in range(options.shards):
                split = ("train", "val", "test")[max(0, number - options.shards + 3)]
                write_tar(Path(folder) / f"{split}-{number:03d}.tar", number * each, each, buffer.getvalue())
            one = Path(folder) / "train-000.tar"
            start = time.perf_counter()
            made = open_index(one)
            indexed = time.perf_counter() - start
            for path in sorted(Path(folder).glob("*.tar")):
                write_index(path, int(path.stem[-3:]) * each, each, buffer.getvalue())
            assert open_index(one).columns.equals(made.columns)  # what reading finds
            command = [sys.executable, "-m", "benchmarks.shard_index", "--measure", folder]
            command += ["--workers", str(options.workers), "--batches", str(options.batches)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        print(f"{found['rows']:>9,} {indexed:>8.1f} {found['seconds']:>7.1f} {found['anonymous']:>13.1f} {found['epoch']:>14.1f} "
              f"{found['peak']:>19.1f} {found['mapped']:>10.1f} {found['workers']:>11.1f} {found['rate']:>10.0f}",
              flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
