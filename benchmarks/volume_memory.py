"""Peak memory of one training step on one volume, against its slices, with and without `trainer.checkpoint_activations`.

    python -m benchmarks.volume_memory [--backbone resnet18] [--slices 1 7 13 25 49] [--size 224] [--chunk 8]

Each figure is of a process of its own: a network of `model=slices` from random weights, one step of AdamW on one volume of noise.
What is printed is the most resident memory that the process has held, Python, torch and the network included, and the processor
seconds of the step on one thread. `kept` is without the setting; `recomputed` with it; `chunks` with it and with
`model.arguments.chunk`. On Linux.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time

import torch

from medzoo.models.backbones.recompute import recompute_activations
from medzoo.models.registry import create_model

MODES = ("kept", "recomputed", "chunks")


def step(backbone: str, slices: int, size: int, chunk: int, mode: str) -> tuple[float, float]:
    """Take one step; returns peak memory in MB and processor seconds."""
    torch.set_num_threads(1)
    volume = torch.randn(1, 1, slices, size, size, generator=torch.Generator().manual_seed(0))
    arguments = {"chunk": chunk} if mode == "chunks" else {}
    network = create_model(
        backbone, family="slices", outputs=4, channels=1, size=(slices, size, size), arguments=arguments
    ).train()
    if mode != "kept":
        recompute_activations(network)
    optimizer = torch.optim.AdamW(network.parameters())
    start = time.process_time()
    torch.nn.functional.cross_entropy(network(volume), torch.tensor([1])).backward()
    optimizer.step()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return peak, time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--slices", type=int, nargs="+", default=[1, 7, 13, 25, 49])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--chunk", type=int, default=8)
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    given = parser.parse_args()
    print(f"{given.backbone}, {given.size}x{given.size} pixels, one volume, chunks of {given.chunk}: peak MB (processor seconds)")
    print("slices  " + "  ".join(f"{mode:>16}" for mode in given.modes))
    fresh = multiprocessing.get_context("fork")  # torch is imported once, and has computed nothing yet
    for slices in given.slices:
        cells = []
        for mode in given.modes:
            with fresh.Pool(1) as process:
                peak, seconds = process.apply(step, (given.backbone, slices, given.size, given.chunk, mode))
            cells.append(f"{peak:8.0f} ({seconds:5.1f})")
        print(f"{slices:6d}  " + "  ".join(f"{cell:>16}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
