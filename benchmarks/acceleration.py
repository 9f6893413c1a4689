"""How much faster ONNX Runtime runs medzoo's graphs than torch does, and OpenVINO on the same files: issue 7's list, one command.

    python benchmarks/acceleration.py --output results/        # all of it: an hour on 2 cores
    python benchmarks/acceleration.py --models resnet50 vit_s --batches 1 --no-int8

Random weights, fixed seeds; the timing is `medzoo bench`'s own: 5 interleaved rounds, every one printed and kept. OpenVINO takes
part if it is importable (pip install openvino). Run it on a machine that does nothing else, and look at what others used.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medzoo.data.errors import MedzooError
from medzoo.export.bench.report import markdown_table, plot_ratios
from medzoo.export.commands.bench import bench
from medzoo.export.settings import BenchConfig


@dataclass(frozen=True)
class Entry:
    """A row of the list: a backbone, how it is fed, and the batch sizes that are asked for."""

    backbone: str
    family: str
    batches: tuple[int, ...]
    size: Any = None
    channels: int = 3


MODELS = {
    "resnet50": Entry("resnet50", "cnn", (1, 32), 224),
    "densenet121": Entry("densenet121", "cnn", (1, 32), 224),
    "efficientnet_b0": Entry("efficientnet_b0", "cnn", (1, 32), 224),
    "vit_s": Entry("vit_small_patch16_224", "vit", (1, 32)),
    "swin_t": Entry("swin_tiny_patch4_window7_224", "vit", (1, 32)),
    "clip_b32": Entry("ViT-B-32", "clip", (1, 32)),
    "convnext_t": Entry("convnext_tiny", "cnn", (1, 32), 224),
    "densenet121_3d": Entry("densenet121_3d", "cnn3d", (1, 4), [64, 64, 64], 1),
}


def measure(name: str, given: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a report for each graph of a model, or none if it cannot be measured; says why."""
    entry = MODELS[name]
    engines = ["torch", *(["compile"] if given.compile else []), "onnxruntime", "openvino"]
    config = BenchConfig(
        backbone=entry.backbone, family=entry.family, size=entry.size, channels=entry.channels, engines=engines,
        precisions=["fp32", *(["int8"] if given.int8 else [])], batch_sizes=[b for b in entry.batches if b in given.batches],
        rounds=given.rounds, min_seconds=given.min_seconds, threads=given.threads, provider=given.provider,
        whole_batches=given.whole, parts=["image"] if entry.family == "clip" else None,
    )  # fmt: skip
    if not config.batch_sizes:
        return []
    try:
        report = bench(config, echo=True)
    except MedzooError as error:
        print(f"{name}: not measured: {error}")
        return []
    given.machine = report["machine"]
    found: list[dict[str, Any]] = report["subjects"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 32], help="of those a model is listed with")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--min-seconds", type=float, default=2.0, help="least length of a round of one engine")
    parser.add_argument("--threads", type=int, help="of every engine; default: one a core")
    parser.add_argument("--provider", default="cpu", help="of ONNX Runtime: cpu, cuda, tensorrt")
    parser.add_argument("--compile", action="store_true", help="torch.compile too, minutes of compiling for each model and batch")
    parser.add_argument("--whole", action="store_true", help="show ONNX Runtime and OpenVINO with whole batches too")
    parser.add_argument("--no-int8", dest="int8", action="store_false")
    parser.add_argument("--output", type=Path, help="folder of acceleration.md, .json and .png")
    given = parser.parse_args()
    reports = []
    for name in given.models:
        reports += measure(name, given)
        if given.output is not None and reports:  # after each model: an hour's work is not lost at the end
            given.output.mkdir(parents=True, exist_ok=True)
            content = {"machine": given.machine, "subjects": reports}
            (given.output / "acceleration.json").write_text(json.dumps(content, indent=2), encoding="utf-8")
            (given.output / "acceleration.md").write_text(markdown_table(reports), encoding="utf-8")
            plot_ratios(given.output / "acceleration.png", reports)
    if reports:
        print(markdown_table(reports, rounds=False))


if __name__ == "__main__":
    main()
