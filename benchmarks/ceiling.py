"""How much faster than torch eager any float32 engine could be: the processor's peak, over what torch uses of it.

    python benchmarks/ceiling.py [--models resnet50 densenet121 efficientnet_b0] [--batch 32] [--threads N]

The peak is the best rate seen in products of large matrices and in a 3×3 convolution, each by ONNX Runtime and by
torch: both convolve directly, without an algorithm of fewer multiplications. What a network takes is counted by torch
(`torch.utils.flop_counter`: convolutions and matrix products alone, so that the ceiling is a little too high).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from medzoo.export.bench.machine import describe_machine
from medzoo.export.bench.subjects import smooth_images
from medzoo.export.runtime.cores import available_cores
from medzoo.tasks.setup.random import random_task

SIDE = 2048
"""Of the matrices."""
CHANNELS, PIXELS, IMAGES = 128, 28, 32
"""Of the convolution: a middle layer of ResNet-50 at batch 32."""


def seconds(run: Callable[[], object], rounds: int) -> list[float]:
    """Return the time of each call, after two that are not counted."""
    found = []
    for turn in range(rounds + 2):
        start = time.perf_counter()
        run()
        if turn >= 2:
            found.append(time.perf_counter() - start)
    return found


def session(operator: str, image: np.ndarray, weight: np.ndarray, threads: int) -> Callable[[], object]:
    """Return a run of one operator by ONNX Runtime."""
    attributes = {"pads": [1, 1, 1, 1]} if operator == "Conv" else {}
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", "w"], ["y"], **attributes)], operator,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, image.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "w")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    opened = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: opened.run(None, {"x": image})


def peak(threads: int, rounds: int) -> dict[str, float]:
    """Return the best GFLOP/s of each way."""
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(SIDE, SIDE)).astype(np.float32) for _ in range(2))
    x = rng.normal(size=(IMAGES, CHANNELS, PIXELS, PIXELS)).astype(np.float32)
    w = rng.normal(size=(CHANNELS, CHANNELS, 3, 3)).astype(np.float32)
    ta, tb, tx, tw = (torch.from_numpy(value) for value in (a, b, x, w))
    product, convolution = 2 * SIDE**3, 2 * IMAGES * PIXELS**2 * CHANNELS**2 * 9
    ways: dict[str, tuple[Callable[[], object], int]] = {
        "ONNX Runtime, product": (session("MatMul", a, b, threads), product),
        "torch, product": (lambda: ta @ tb, product),
        "ONNX Runtime, convolution": (session("Conv", x, w, threads), convolution),
        "torch, convolution": (lambda: functional.conv2d(tx, tw, padding=1), convolution),
    }
    with torch.inference_mode():
        return {name: work / min(seconds(run, rounds)) / 1e9 for name, (run, work) in ways.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["resnet50", "densenet121", "efficientnet_b0"])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=available_cores())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    machine = describe_machine(given.threads)
    print(f"{machine['processor']}, {machine['cores']} cores, {given.threads} threads; {', '.join(machine['instructions'])}")
    rates = peak(given.threads, 4 * given.rounds)
    for way, rate in rates.items():
        print(f"{way:<26} {rate:6.0f} GFLOP/s")
    best = max(rates.values())
    for name in given.models:
        graph = random_task(name, "cnn", 224, 3, seed=0).deploy().eval()
        images = torch.from_numpy(smooth_images((224, 224, 3), given.batch, seed=0))
        with torch.inference_mode():
            with FlopCounterMode(display=False) as counter:
                graph(images)
            rate = given.batch / median(seconds(lambda graph=graph, images=images: graph(images), given.rounds))  # type: ignore[misc]
        work = counter.get_total_flops() / given.batch / 1e9
        most = best / work
        print(f"{name:<16} {work:5.2f} GFLOP an image: at most {most:6.1f} images/s, {most / rate:.2f} times torch's {rate:.1f}")


if __name__ == "__main__":
    main()
