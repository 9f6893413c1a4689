"""ResNet-50 on 256×256 8-bit PNG files: bytes to probabilities through `OnnxModel`, against the bare session on ready arrays.

    python benchmarks/serving.py [--images 128] [--batch 32] [--rounds 5] [--threads N]

All run the same file at the same batch size, in turns. `predict` and `stream` get encoded bytes and decode them; the bare
session gets uint8 batches that are decoded already, so that the ratio is what reading, batching and answering in order cost.
It runs them as `OnnxModel` does, in pieces side by side; the same session with all threads on each batch is shown beside.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from medzoo.data.samples.preprocess import Preprocess
from medzoo.export.bench.machine import OtherLoad, describe_machine
from medzoo.export.bench.rounds import interleave, speedups
from medzoo.export.bench.subjects import smooth_images
from medzoo.export.graph.onnx_file import export_onnx
from medzoo.export.runtime.batch_session import BatchSession, images_per_piece
from medzoo.export.runtime.cores import available_cores
from medzoo.export.runtime.model import OnnxModel
from medzoo.export.runtime.providers import SessionSettings
from medzoo.tasks.setup.random import random_task

BARE = "bare session"
PLAIN = "the same, uncut"


def draw(count: int, side: int) -> list[bytes]:
    """Return PNG files of soft shapes under sensor noise; without it they would be too small, and too fast to decode."""
    rng = np.random.default_rng(0)
    files = []
    for image in smooth_images((side, side, 3), count, seed=0):
        noisy = np.clip(image + rng.normal(0, 2.5, image.shape), 0, 255).astype(np.uint8)
        data = io.BytesIO()
        Image.fromarray(noisy).save(data, "PNG")
        files.append(data.getvalue())
    return files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--size", type=int, default=224, help="of the model's input")
    parser.add_argument("--side", type=int, default=256, help="pixels of the files")
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=available_cores())
    given = parser.parse_args()
    files = draw(given.images, given.side)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        task = random_task(given.backbone, "cnn", given.size, 3, seed=0)
        assert task.spec.preprocess == Preprocess((given.size, given.size))
        export_onnx(task, path, list(smooth_images((given.side, given.side, 3), 7, seed=1)))
        model = OnnxModel(path, threads=given.threads)
        session = BatchSession(path, SessionSettings(threads=given.threads))
        piece = images_per_piece((given.size, given.size))
        pixels = np.stack([model.read(data) for data in files])
        batches = [pixels[start : start + given.batch] for start in range(0, len(pixels), given.batch)]

        def bare() -> np.ndarray:
            found = (session.run(["probabilities"], {"image": batch}, ["image"], piece) for batch in batches)
            return np.concatenate([batch["probabilities"] for batch in found])

        def plain() -> np.ndarray:
            return np.concatenate([session.session.run(["probabilities"], {"image": batch})[0] for batch in batches])

        def predict() -> np.ndarray:
            return model.predict(files, batch_size=given.batch)["probabilities"]

        def stream() -> np.ndarray:
            return np.stack([found.outputs["probabilities"] for found in model.stream(files, batch_size=given.batch)])

        contestants = {BARE: bare, PLAIN: plain, "OnnxModel.predict": predict, "OnnxModel.stream": stream}
        for name, run in contestants.items():
            np.testing.assert_allclose(run(), bare(), atol=1e-5, err_msg=name)
        load = OtherLoad()
        seconds = interleave(contestants, given.rounds, min_seconds=0)
        others = load.share()
    machine = describe_machine(given.threads)
    print(f"{machine['processor']}, {machine['cores']} cores, {given.threads} threads; others used {others or 0:.0%}")
    kilobytes = sum(map(len, files)) / len(files) / 1e3
    print(f"{given.backbone}, {len(files)} PNG files of {given.side} px ({kilobytes:.0f} kB), batches of {given.batch}")
    for name, ratio in speedups(seconds, BARE).items():
        rounds = "  ".join(f"{len(files) / value:.1f}" for value in seconds[name])
        print(f"{name:<18} takes {1 / ratio:.3f} of the bare session's time; images/s by round: {rounds}")


if __name__ == "__main__":
    main()
