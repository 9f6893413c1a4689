"""What medzoo makes of a GPU, beside the card's own ceilings and what careful code without medzoo makes of it.

    python -m benchmarks.gpu --output results/                       # everything: about a quarter of an hour
    python -m benchmarks.gpu --sections ceilings train --quick --minutes 8 --output results/
    python -m benchmarks.gpu --sections small --device cpu           # the one section that says something on a CPU as well

From the project's root; needs no network and no data, for images are drawn here. A section prints its table when it
is done and is merged into gpu.json and gpu.md of the output folder, so that sections may run one by one; each carries
the machine it ran on. What fails, or has no time left, is one line and exit status 1, and the rest goes on. With
--device cpu, --models tiny clip_tiny and small sizes the script itself is tried in a minute.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks import gpu_ceilings, gpu_export, gpu_small, gpu_train
from medzoo.export.runtime.providers import one_line

SECTIONS = {"ceilings": gpu_ceilings.run, "train": gpu_train.run, "small": gpu_small.run, "export": gpu_export.run}
QUICK = {"images": 1024, "epoch": 4096, "steps": 12, "rounds": 2, "small_epochs": 4, "min_seconds": 0.3}
"""What --quick changes, where it is not given itself: less of everything, and so a wider spread."""


@dataclass
class Call:
    """What one call was asked for, and where its results go.

    Attributes:
        options: Of the command line.
        ends: Value of `time.monotonic()` at which nothing new is begun.
        troubles: One line for each thing that failed or was left out.
    """

    options: argparse.Namespace
    ends: float
    troubles: list[str] = field(default_factory=list)
    _section: str = ""

    @property
    def device(self) -> torch.device:
        return torch.device(self.options.device)

    def has(self, seconds: float, what: str) -> bool:
        """Whether so many seconds are left; says in one line what is left out where they are not."""
        left = self.ends - time.monotonic()
        if left < seconds:
            self.trouble(f"{what} is left out: it takes about {seconds:.0f} s, and {max(0.0, left):.0f} s are left")
        return left >= seconds

    def over(self, what: str) -> bool:
        """Whether time is up in the middle of something; then says in one line what ends early."""
        if time.monotonic() < self.ends:
            return False
        self.trouble(f"{what} ends early: the time is up")
        return True

    def trouble(self, line: str) -> None:
        self.troubles.append(f"{self._section}: {line}")
        print(self.troubles[-1], flush=True)

    def attempt(self, what: str, run: Callable[[], Any]) -> Any:
        """Return what `run` returns; None if it fails, after one line that says why."""
        try:
            return run()
        except Exception as error:  # a card out of memory, an engine without a kernel: whatever it is, the others go on
            self.trouble(f"{what} failed: {type(error).__name__}: {one_line(error)}")
            if self.options.debug:
                raise
            return None

    def section(self, name: str) -> None:
        """Run one section, print its table and merge it into the results."""
        self._section = name
        start, before = time.monotonic(), len(self.troubles)

        def keep(markdown: str, values: Any) -> None:
            """Take what a section has so far: an hour's work is not lost at its end."""
            seconds = round(time.monotonic() - start, 1)
            found = {"machine": gpu_ceilings.machine(self.device), "seconds": seconds, "values": values, "markdown": markdown}
            merge(self.options.output, name, {**found, "troubles": self.troubles[before:]})

        print(f"## {name}", flush=True)
        markdown = self.attempt(name, lambda: SECTIONS[name](self, keep))
        if markdown:
            print(f"\n{markdown}\n\n{name}: {time.monotonic() - start:.0f} s\n", flush=True)


def merge(folder: Path | None, name: str, found: dict[str, Any]) -> None:
    """Put one section into gpu.json and gpu.md of a folder; the others there stay."""
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "gpu.json"
    results = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    results[name] = found
    file.write_text(json.dumps(results, indent=2), encoding="utf-8")
    parts = [
        f"## {section}\n\n{part['machine']['text']}; {part['seconds']:.0f} s\n\n{part['markdown']}\n"
        + "".join(f"\n- {line}" for line in part["troubles"])
        for section, part in results.items()
    ]
    (folder / "gpu.md").write_text("\n".join(parts), encoding="utf-8")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    add("--device", default="cuda", choices=["cuda", "cpu"])
    add("--output", type=Path, help="folder of gpu.json and gpu.md")
    add("--minutes", type=float, default=20.0, help="after which nothing new is begun")
    add("--quick", action="store_true", help=f"less of everything: {QUICK}")
    add("--compile", action="store_true", help="torch.compile too: a minute more for each model")
    add("--debug", action="store_true", help="stop at the first failure, with its traceback")
    train = parser.add_argument_group("train")
    train.add_argument("--models", nargs="+", choices=gpu_train.MODELS, default=gpu_train.DEFAULT)
    train.add_argument("--batch", type=int, nargs="+", help="samples a step; default: those a model is listed with")
    train.add_argument("--size", type=int, default=224, help="pixels a side, of models that take any")
    train.add_argument("--workers", type=int, nargs="+", default=[0, 8, 14], help="of the loader")
    train.add_argument("--images", type=int, default=2048, help="different images that are drawn")
    train.add_argument("--epoch", type=int, default=8192, help="samples an epoch")
    train.add_argument("--steps", type=int, default=30, help="of a round on ready tensors")
    train.add_argument("--rounds", type=int, default=3, help="timed epochs, and rounds on ready tensors")
    train.add_argument("--modality", default="skin", help="whose augmentation policy runs; none: none")
    train.add_argument("--precision", default="bf16", choices=["bf16", "no"])
    small = parser.add_argument_group("small")
    small.add_argument("--small-images", type=int, default=4708, help="of the training split")
    small.add_argument("--small-epochs", type=int, default=6)
    small.add_argument("--small-backbone", default="resnet18")
    small.add_argument("--small-batch", type=int, default=128)
    export = parser.add_argument_group("export")
    export.add_argument("--backbones", nargs="+", default=["resnet50", "vit_base_patch16_224"])
    export.add_argument("--providers", nargs="+", default=["cuda", "tensorrt"], help="of ONNX Runtime")
    export.add_argument("--batches", type=int, nargs="+", default=[1, 32])
    export.add_argument("--min-seconds", type=float, default=0.5, help="least length of a round of one engine")
    given = parser.parse_args(arguments)
    if given.quick:
        for name, value in QUICK.items():
            if getattr(given, name) == parser.get_default(name):
                setattr(given, name, value)
    return given


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        print("torch sees no GPU; --device cpu tries the script, and measures --sections small")
        return 1
    call = Call(options, time.monotonic() + 60 * options.minutes)
    print(gpu_ceilings.machine(call.device)["text"], flush=True)
    for name in options.sections:
        call.section(name)
    print("".join(f"{line}\n" for line in call.troubles) or "everything was measured")
    return 1 if call.troubles else 0


if __name__ == "__main__":
    sys.exit(main())
