"""What a timing was taken on, and how much of it was somebody else's at the time. No host names, no paths."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from medzoo.export.runtime.cores import available_cores

LIBRARIES = ("medzoo", "torch", "timm", "open_clip_torch", "monai", "onnx", "onnxruntime", "onnxruntime-gpu", "openvino", "numpy")
FLAGS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8")
"""Instruction sets that decide whether int8 and bf16 are fast."""


def describe_machine(threads: int) -> dict[str, Any]:
    """Return processor, cores, `threads` (of the CPU, that engines got), instruction sets, GPU and versions, JSON-ready."""
    import torch

    flags = (_cpuinfo("flags") or "").split()
    described = {
        "processor": _cpuinfo("model name") or platform.processor() or platform.machine(),
        "cores": available_cores(),
        "threads": threads,
        "instructions": [name for name in FLAGS if name in flags],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: number for name in LIBRARIES if (number := installed(name)) is not None},
    }
    return {**described, "gpu": torch.cuda.get_device_name(0)} if torch.cuda.is_available() else described


def installed(name: str) -> str | None:
    """Return the version of a distribution; None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


class OtherLoad:
    """The share of the machine's processor time that other processes use, from the moment it is made (Linux)."""

    def __init__(self) -> None:
        self._start = _now()

    def share(self) -> float | None:
        """Return the share since then, 0..1; None where the system does not tell."""
        before, now = self._start, _now()
        if before is None or now is None:
            return None
        whole = (now[0] - before[0]) * (os.cpu_count() or 1)
        others = (now[1] - before[1]) - (now[2] - before[2])
        return min(1.0, max(0.0, others / whole)) if whole > 0 else 0.0


def _now() -> tuple[float, float, float] | None:
    """Return seconds of the clock, of all processes on all cores, and of this process."""
    try:
        user, nice, system = map(int, Path("/proc/stat").read_text(encoding="ascii").split()[1:4])
    except (OSError, ValueError):
        return None
    return time.perf_counter(), (user + nice + system) / os.sysconf("SC_CLK_TCK"), time.process_time()


def _cpuinfo(key: str) -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), None)
