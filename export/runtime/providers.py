"""Opening a session on the processor that was asked for, or an error that says what is missing: never a quiet fall back.

ONNX Runtime lists a provider as available when it was built with it, and a session that cannot have it runs on the CPU after a
line on stderr. So a provider is taken for working here only when its library loads, a small graph runs on it with the right
result (`prove`), and the session of the model itself has it and gives it nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from medzoo.data.errors import ConfigError, MissingDependencyError, OnnxFileError, ProviderError, UnknownNameError
from medzoo.export.runtime.cores import restricted_cores
from medzoo.export.runtime.nvidia import missing_libraries
from medzoo.export.runtime.probe import PROBE, PROBE_RESULT, probe_inputs

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}
"""Our name → ONNX Runtime's."""

PACKAGES = {"cuda": "medzoo[gpu]", "tensorrt": "medzoo[gpu]", "openvino": "onnxruntime-openvino"}
"""What to install for an ONNX Runtime that was built with a provider; each brings its own, so only one may be installed."""

HEAVY = ("Conv", "MatMul", "Gemm", "Attention")
"""Parts of the names of operators that take nearly all the time, ONNX Runtime's own fused ones among them."""

_ASSIGNMENT = "session.record_ep_graph_assignment_info"


@dataclass(frozen=True)
class SessionSettings:
    """Where and how a graph runs.

    Attributes:
        provider: `cpu`, `cuda`, `tensorrt` or `openvino`.
        device_id: Number of the GPU.
        threads: CPU threads an operator may use (intra-op); None: one a core, of those this process may use.
        inter_op_threads: Operators that may run at once; None or 1: one after another, which suits one image path.
        engine_cache: Folder where TensorRT keeps the engines it builds, minutes of work each; None: they are built anew.
        fp16: Let TensorRT compute in half precision. It changes results: hold them against `medzoo export`'s own fp16 file, whose
            loss is measured.
        split_batches: On the CPU, run batches as small pieces side by side (`medzoo.export.runtime.batch_session`).
        tf32: Let CUDA multiply float32 in TF32, with 10 of its 23 binary digits, as ONNX Runtime does by itself: faster, and not
            what the file was proven with. TensorRT does so whatever this says, unless NVIDIA_TF32_OVERRIDE=0 is set.

    Raises:
        UnknownNameError: If the provider is none of these.
        ConfigError: If a number is out of range, or an option belongs to another provider.
    """

    provider: str = "cpu"
    device_id: int = 0
    threads: int | None = None
    inter_op_threads: int | None = None
    engine_cache: Path | None = None
    fp16: bool = False
    split_batches: bool = True
    tf32: bool = False

    def __post_init__(self) -> None:
        if self.provider not in PROVIDERS:
            raise UnknownNameError("provider", self.provider, PROVIDERS)
        if self.device_id < 0:
            raise ConfigError(f"device_id {self.device_id} is negative; GPUs are numbered from 0")
        if self.device_id and not self.on_gpu:
            raise ConfigError(f"device_id {self.device_id} has no meaning with provider={self.provider}; leave it out")
        for name, value in (("threads", self.threads), ("inter_op_threads", self.inter_op_threads)):
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}; give 1 or more, or leave it out")
        if self.tf32 and not self.on_gpu:
            raise ConfigError(f"tf32 has no meaning with provider={self.provider}; leave it out")
        if self.provider != "tensorrt" and (self.fp16 or self.engine_cache is not None):
            raise ConfigError(
                f"fp16 and engine_cache are TensorRT's; with provider={self.provider} leave them out (for half precision, export "
                "with precision=fp16)"
            )

    @property
    def on_gpu(self) -> bool:
        """Whether tensors can live on a CUDA device."""
        return self.provider in ("cuda", "tensorrt")


def open_session(path: str | Path, settings: SessionSettings) -> Any:
    """Open a file with ONNX Runtime, strictly.

    Args:
        path: An ONNX file; check it first (`medzoo.export.files.integrity.check`).
        settings: Where and how.

    Returns:
        An `onnxruntime.InferenceSession` that truly runs on the provider.

    Raises:
        MissingDependencyError: If ONNX Runtime is not installed.
        ProviderError: If the provider does not run here, names what is missing; or cannot run any node of this graph.
        OnnxFileError: If ONNX Runtime cannot load the file.
    """
    prove(settings.provider, settings.device_id)
    try:
        session = _session(str(path), provider_options(settings), _session_options(settings))
    except Exception as error:  # ONNX Runtime's errors have no common base
        raise OnnxFileError(f"onnxruntime cannot load {path}: {one_line(error)}") from error
    _check_assignment(session, settings.provider, PROVIDERS[settings.provider])
    return session


@cache
def prove(provider: str, device_id: int = 0) -> None:
    """Run a convolution of nine ones on a provider; remembered once it succeeded, since what is loaded stays loaded.

    Raises:
        MissingDependencyError: If ONNX Runtime is not installed.
        ProviderError: One line: what is missing, and the remedy.
    """
    ort, wanted = onnxruntime(), PROVIDERS[provider]
    if wanted not in ort.get_available_providers():
        raise ProviderError(
            f"provider={provider}: the installed onnxruntime was built without {wanted}; uninstall it and install "
            f"{PACKAGES.get(provider, 'medzoo[cpu]')} in its place, or use provider=cpu"
        )
    if provider in ("cuda", "tensorrt"):
        missing = missing_libraries(ort, provider)
        if missing:
            raise ProviderError(f"provider={provider} ({wanted}) does not run here: {'; '.join(missing)}; or use provider=cpu")
    run_probe(provider, wanted, provider_options(SessionSettings(provider, device_id)))


def run_probe(provider: str, wanted: str, options: Sequence[tuple[str, dict[str, str]]]) -> None:
    """Run the probe, and nothing else, on any provider of ONNX Runtime's.

    Args:
        provider: What a message shall call it.
        wanted: ONNX Runtime's name.
        options: Providers and options in order of preference.

    Raises:
        ProviderError: If it does not run, runs elsewhere or computes wrongly.
    """
    try:
        session = _session(PROBE, options, _session_options())
        _check_assignment(session, provider, wanted)
        result = session.run(None, probe_inputs())[0]
    except ProviderError:
        raise
    except Exception as error:
        raise ProviderError(f"provider={provider} does not run here: {one_line(error)}; medzoo doctor says more") from error
    if not np.array_equal(result, PROBE_RESULT):
        raise ProviderError(
            f"provider={provider} computes wrongly: nine ones add up to {float(result.flat[0])}; update its driver"
        )


def onnxruntime() -> Any:
    """Import ONNX Runtime; MissingDependencyError if it is not installed."""
    try:
        import onnxruntime as ort
    except ModuleNotFoundError as error:
        raise MissingDependencyError("onnxruntime is not installed; pip install 'medzoo[cpu]' (or [gpu])") from error
    if not hasattr(ort, "InferenceSession"):  # what is left in the shared folder when one of two was uninstalled
        raise MissingDependencyError(
            "onnxruntime is broken: pip uninstall -y onnxruntime onnxruntime-gpu, then pip install 'medzoo[cpu]' (or [gpu])"
        )
    return ort


def provider_options(settings: SessionSettings) -> list[tuple[str, dict[str, str]]]:
    """Return ONNX Runtime's providers and options, in order of preference; the CPU takes the nodes that none of them can."""
    device = {"device_id": str(settings.device_id)}
    cuda = {**device, "use_tf32": str(int(settings.tf32))}
    if settings.provider == "tensorrt":
        options = {**device, "trt_fp16_enable": str(settings.fp16)}
        if settings.engine_cache is not None:
            options |= {"trt_engine_cache_enable": "True", "trt_timing_cache_enable": "True"}
            options |= dict.fromkeys(("trt_engine_cache_path", "trt_timing_cache_path"), str(settings.engine_cache))
        # TensorRT gives what it cannot run to CUDA, so that tensors stay on the device.
        return [(PROVIDERS["tensorrt"], options), (PROVIDERS["cuda"], cuda)]
    return [(PROVIDERS[settings.provider], cuda if settings.provider == "cuda" else {})]


def _session_options(settings: SessionSettings | None = None) -> Any:
    ort, chosen = onnxruntime(), settings or SessionSettings()
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.load_model_format", "ONNX")  # what was checked, by whatever name
    options.add_session_config_entry(_ASSIGNMENT, "1")
    # Threads that spin on after a run take the cores from the next session's, and from those that decode.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    threads = chosen.threads or restricted_cores()
    if threads is not None:
        options.intra_op_num_threads = threads
    if chosen.inter_op_threads is not None and chosen.inter_op_threads > 1:
        options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
        options.inter_op_num_threads = chosen.inter_op_threads
    if chosen.engine_cache is not None:
        chosen.engine_cache.mkdir(parents=True, exist_ok=True)
    return options


def _session(model: str | bytes, providers: Sequence[tuple[str, dict[str, str]]], options: Any) -> Any:
    # enable_fallback=0: not the second try on the CPU that InferenceSession makes by itself, with a page of its own on stdout.
    return onnxruntime().InferenceSession(model, options, providers=list(providers), enable_fallback=0)


def _check_assignment(session: Any, provider: str, wanted: str) -> None:
    if wanted not in session.get_providers():
        raise ProviderError(
            f"provider={provider} was asked for, onnxruntime fell back to {', '.join(session.get_providers())}; medzoo doctor "
            "says what is missing, or use provider=cpu"
        )
    if hasattr(session, "get_provider_graph_assignment_info"):  # not in older versions of ONNX Runtime
        parts = session.get_provider_graph_assignment_info()
        took = {part.ep_name for part in parts}
        if took and wanted not in took:
            raise ProviderError(
                f"provider={provider} can run no node of this graph ({', '.join(sorted(took))} would); use it instead"
            )
        # TensorRT leaves to CUDA what it cannot run, and both are the GPU that was asked for.
        there = {wanted, PROVIDERS["cuda"]} if provider == "tensorrt" else {wanted}
        heavy = [part.ep_name for part in parts for node in part.get_nodes() if any(name in node.op_type for name in HEAVY)]
        inside = sum(name in there for name in heavy)
        if 2 * inside < len(heavy):
            raise ProviderError(
                f"provider={provider} can run only {inside} of this graph's {len(heavy)} convolutions and matrix products, the "
                "CPU would run the rest; use provider=cpu, or a file of another precision"
            )


def one_line(error: Exception) -> str:
    """Return what an error of another library's says, without its line breaks and not all of a long one."""
    return " ".join(str(error).split())[:200]
