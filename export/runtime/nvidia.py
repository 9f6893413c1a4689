"""What NVIDIA's providers need of a machine, and which of it is missing: the driver, a device, libraries."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import io
import sys
from pathlib import Path
from typing import Any

_TENSORRT = ("libnvinfer.so.10", "libnvinfer_plugin.so.10", "libnvonnxparser.so.10")


def missing_libraries(ort: Any, provider: str) -> list[str]:
    """Say what `cuda` or `tensorrt` lacks: the driver, a library; empty if their libraries load.

    NVIDIA's libraries are first looked for in the wheels beside ONNX Runtime: torch's, or those of
    `onnxruntime-gpu[cuda,cudnn]`.

    Args:
        ort: The module `onnxruntime`.
        provider: `cuda` or `tensorrt`.
    """
    said = io.StringIO()
    if hasattr(ort, "preload_dlls"):
        with contextlib.redirect_stdout(said):  # it prints what it does not find
            ort.preload_dlls()
    if sys.platform != "linux":  # on Windows ONNX Runtime's own error must do
        return []
    if provider == "tensorrt":
        _preload_tensorrt()
    folder = Path(ort.__file__).parent / "capi"
    missing = [driver] if (driver := missing_driver()) else []
    for name in ("cuda",) if provider == "cuda" else ("cuda", "tensorrt"):
        reason = _load(folder, f"libonnxruntime_providers_{name}.so")
        if reason is None or (missing and "libcuda.so" in reason):  # said already, with its remedy
            continue
        remedy = "pip install 'tensorrt-cu13<11'" if "libnv" in reason else "pip install 'onnxruntime-gpu[cuda,cudnn]'"
        missing.append(f"{reason} ({remedy})")
    return missing


def missing_driver() -> str | None:
    """Say what of NVIDIA's driver is missing on Linux; None if it answers."""
    absent = []
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        absent.append("libcuda.so.1 cannot be loaded")
    if not any(Path("/dev").glob("nvidia[0-9]*")) and not Path("/dev/dxg").exists():  # dxg: Windows' GPU inside WSL
        absent.append("there is no /dev/nvidia0")
    remedy = "install the driver until nvidia-smi lists a GPU; start a container with --gpus all"
    return f"no NVIDIA driver: {' and '.join(absent)} ({remedy})" if absent else None


def _load(folder: Path, name: str) -> str | None:
    """Load a provider's library as ONNX Runtime would; return what it cannot be loaded for, None if it loads."""
    try:
        # The provider takes its host from this one's global symbols.
        ctypes.CDLL(str(folder / "libonnxruntime_providers_shared.so"), ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(folder / name))
    except OSError as error:
        # Other faults of loading are left to ONNX Runtime, which loads in another order.
        return str(error) if "cannot open shared object" in str(error) else None
    return None


def _preload_tensorrt() -> None:
    """Make TensorRT's libraries known, if its wheel (tensorrt-cu13) brings them: preload_dlls leaves them out."""
    found = importlib.util.find_spec("tensorrt_libs")
    for folder in [] if found is None else found.submodule_search_locations or []:
        for name in _TENSORRT:
            with contextlib.suppress(OSError):
                ctypes.CDLL(str(Path(folder) / name))
