"""`medzoo doctor`: what is installed, which providers truly work, and the remedy for what does not; needs no torch."""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medzoo.data.errors import MedzooError
from medzoo.data.extras import brought_by
from medzoo.export.bench.machine import installed
from medzoo.export.runtime.cores import available_cores
from medzoo.export.runtime.nvidia import missing_driver
from medzoo.export.runtime.providers import PACKAGES, PROVIDERS, onnxruntime, prove, run_probe

PACKAGES_SHOWN = (
    "medzoo", "numpy", "pillow", "onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "torch", "torchvision", "timm",
    "open_clip_torch", "transformers", "monai", "onnx", "onnxscript", "openvino", "tensorrt-cu13", "nvidia-cudnn-cu13",
)  # fmt: skip
"""Distributions whose versions matter to results or speed."""

RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml", "onnxruntime-qnn")
"""Distributions that share the folder `onnxruntime`: of two, the last installed wins, and removing either breaks the other."""

EXTRAS = {
    "dicom": "DICOM files", "nifti": "NIfTI volumes", "tiff": "further kinds of TIFF", "excel": "tables as .xlsx",
    "text": "prompts without torch", "train": "training and export", "clip": "image–text models", "volumes": "3D networks",
    "augment": "augmentation in albumentations' words", "trackers": "TensorBoard",
    "corruptions": "motion and ghosting of volumes",
    "pretrained": "ImageNet weights without a network",
    "serve": "a service of exported files", "hub": "sharing runs", "sign": "signatures of what is shared",
    "sr": "answers as DICOM structured reports",
    "tune": "medzoo tune: settings searched",
}  # fmt: skip
"""Optional extra → what it is for; what it brings is asked of the package's own metadata."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns 0, or 1 if not even the CPU works."""
    parser = argparse.ArgumentParser(
        prog="medzoo doctor", description="What is installed, which accelerators truly work, and the remedy for what does not."
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    given = parser.parse_args(list(arguments))
    report = examine()
    print(json.dumps(report, indent=2, ensure_ascii=False) if given.json else "\n".join(describe(report)))
    return 0 if report["providers"].get("cpu", {}).get("works") else 1


def examine() -> dict[str, Any]:
    """Look at this machine: run a graph on every provider, ask packages for their versions without importing them.

    Returns:
        JSON-ready: `python`, `platform`, `cores`, `packages` (name → version or None), `extras` (name → for, missing),
        `seen` (the devices that ONNX Runtime finds by itself: provider, kind, vendor), `providers` (our name, else ONNX
        Runtime's → works, reason), `gpu` (driver, devices, nvidia_smi), `torch_cuda` (None
        without torch), `warnings`.
    """
    packages = {name: installed(name) for name in PACKAGES_SHOWN}
    extras = {
        extra: {"for": purpose, "missing": [name for name in brought_by(extra) if installed(name) is None]}
        for extra, purpose in EXTRAS.items()
    }
    runtimes = [name for name in RUNTIMES if installed(name) is not None]
    warnings = []
    if len(runtimes) > 1:
        keep = "gpu" if "onnxruntime-gpu" in runtimes else "cpu"
        warnings.append(
            f"{' and '.join(runtimes)} are installed over one another, the last one wins: pip uninstall -y {' '.join(runtimes)}, "
            f"then pip install 'medzoo[{keep}]'"
        )
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": available_cores(),
        "packages": packages,
        "extras": extras,
        "seen": _seen(),
        "providers": _providers(),
        "gpu": {
            "driver": missing_driver() if sys.platform == "linux" else None,
            "devices": sorted(str(path) for path in Path("/dev").glob("nvidia[0-9]*")),
            "nvidia_smi": _nvidia_smi(),
        },
        "torch_cuda": None if packages["torch"] is None else _torch_cuda(),
        "warnings": warnings,
    }


def describe(report: dict[str, Any]) -> list[str]:
    """Return a report as lines for a terminal."""
    width = max(map(len, [*report["packages"], *report["providers"]])) + 2  # ONNX Runtime's own names are long

    def row(name: str, said: object) -> str:
        return f"  {name:<{width}}{said}"

    lines = [f"python {report['python']}, {report['platform']}, {report['cores']} cores", "", "packages"]
    lines += [row(name, found) for name, found in report["packages"].items() if found is not None]
    for extra, state in report["extras"].items():
        if state["missing"]:
            names = ", ".join(state["missing"][:6]) + (", ..." if len(state["missing"]) > 6 else "")
            lines.append(f"  not installed: {names} ({state['for']}): pip install 'medzoo[{extra}]'")
    lines += ["", "devices that ONNX Runtime finds"]
    lines += [f"  {one['kind']} of {one['vendor'] or 'no named maker'}, by {one['provider']}" for one in report["seen"]] or [
        "  none"
    ]
    lines += ["", "providers (a convolution was run on each)"]
    for name, state in report["providers"].items():
        lines.append(row(name, "works" if state["works"] else "does not work: " + state["reason"]))
    gpu = report["gpu"]
    lines += ["", "GPU", row("driver", gpu["driver"] or "loads"), row("devices", ", ".join(gpu["devices"]) or "none")]
    lines.append(row("nvidia-smi", gpu["nvidia_smi"] or "not found"))
    if report["torch_cuda"] is not None:
        lines.append(row("torch.cuda", report["torch_cuda"]))
    return [*lines, "", *(f"warning: {warning}" for warning in report["warnings"])] if report["warnings"] else lines


def _seen() -> list[dict[str, str]]:
    """Return what ONNX Runtime lists by itself, before anything is tried: a device here may still not run."""
    try:
        devices = list(onnxruntime().get_ep_devices())
    except (MedzooError, ImportError, AttributeError):  # older ones, and broken ones, have no such list
        return []
    return [
        {"provider": one.ep_name, "kind": one.device.type.name, "vendor": one.device.vendor.split("\0")[0]} for one in devices
    ]


def _providers() -> dict[str, dict[str, Any]]:
    try:
        listed = list(onnxruntime().get_available_providers())
    except MedzooError as error:
        return {"cpu": {"works": False, "reason": str(error)}}
    except ImportError as error:  # a library that onnxruntime itself needs
        return {"cpu": {"works": False, "reason": f"onnxruntime cannot be imported: {' '.join(str(error).split())}"}}
    ours = {theirs: name for name, theirs in PROVIDERS.items()}
    found: dict[str, dict[str, Any]] = {}
    for theirs in sorted(listed, key=lambda name: (name != PROVIDERS["cpu"], name)):
        name = ours.get(theirs, theirs)
        try:
            if name in PROVIDERS:
                prove(name)
            else:
                run_probe(name, theirs, [(theirs, {})])
            found[name] = {"works": True, "reason": None}
        except MedzooError as error:
            found[name] = {"works": False, "reason": _reason(str(error), name)}
    for name, package in PACKAGES.items():
        reason = f"this onnxruntime is built without it (install {package} in its place)"
        found.setdefault(name, {"works": False, "reason": reason})
    return found


def _reason(message: str, name: str) -> str:
    """Return an error without the words that a line about this provider says already."""
    here, _, what = message.partition(" does not run here: ")
    message = what if what and here.startswith(f"provider={name}") else message.removeprefix(f"provider={name}").lstrip(": ")
    return message.removesuffix("; or use provider=cpu").removesuffix("; medzoo doctor says more")


def _nvidia_smi() -> str | None:
    """Return the GPUs that the driver's own tool lists, in one line; None if there is no such tool."""
    tool, asked = shutil.which("nvidia-smi"), ("--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")
    return None if tool is None else _said([tool, *asked]) or "lists no GPU"


def _torch_cuda() -> str:
    """Ask torch in a process of its own: its CUDA libraries must not lend themselves to the providers tried here."""
    program = (
        "import torch; a = torch.cuda.is_available(); "
        "print(f'available, CUDA {torch.version.cuda}, {torch.cuda.get_device_name(0)}' if a else "
        "f'not available (torch is built for CUDA {torch.version.cuda})')"
    )
    return _said([sys.executable, "-W", "ignore", "-c", program]) or "torch is installed and cannot be imported"


def _said(command: list[str]) -> str:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode == 0:
            return "; ".join(done.stdout.strip().splitlines())
    return ""
