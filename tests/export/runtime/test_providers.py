"""A provider that was asked for runs, or the error says what it lacks; the real onnxruntime is asked throughout."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch

from medzoo.cli import main
from medzoo.data.errors import ConfigError, OnnxFileError, ProviderError, UnknownNameError
from medzoo.export.runtime import providers
from medzoo.export.runtime.model import OnnxModel
from medzoo.export.runtime.nvidia import missing_driver
from medzoo.export.runtime.probe import PROBE, PROBE_RESULT, probe_inputs
from medzoo.export.runtime.providers import SessionSettings, open_session, prove, provider_options
from tests.export.handmade import write

no_gpu = pytest.mark.skipif(missing_driver() is None, reason="this machine has an NVIDIA driver and a device")
gpu = pytest.mark.skipif(missing_driver() is not None, reason=f"no GPU: {missing_driver()}")


def gpu_build() -> bool:
    try:
        return bool(version("onnxruntime-gpu"))
    except PackageNotFoundError:
        return False


gpu_wheel = pytest.mark.skipif(not gpu_build(), reason="onnxruntime-gpu is not installed")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "m.onnx")


def refused(provider: str, path: Path) -> str:
    with pytest.raises(ProviderError) as error:
        OnnxModel(path, provider=provider)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_probe_is_a_valid_graph_with_a_known_answer() -> None:
    model = onnx.load_from_string(PROBE)
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["Conv"]
    found = torch.nn.functional.conv2d(*(torch.from_numpy(value) for value in probe_inputs().values()))
    np.testing.assert_array_equal(found.numpy(), PROBE_RESULT)


def test_the_cpu_works() -> None:
    prove("cpu")


@no_gpu
@gpu_wheel
@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_without_a_driver_the_error_says_so(path: Path, provider: str, capfd: pytest.CaptureFixture[str]) -> None:
    message = refused(provider, path)
    assert f"provider={provider}" in message
    for missing in ("libcuda.so.1", "/dev/nvidia0", "nvidia-smi", "provider=cpu"):
        assert missing in message
    assert ("libnvinfer" in message) == (provider == "tensorrt")
    if provider == "tensorrt":
        assert "pip install 'tensorrt-cu13" in message
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""  # neither onnxruntime's page nor what its preloading prints


@no_gpu
@gpu_wheel
def test_onnxruntimes_own_fall_back_is_caught(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were our look for libraries wrong, a session that quietly runs on the CPU is still refused."""
    monkeypatch.setattr(providers, "missing_libraries", lambda ort, provider: [])
    assert "fell back to CPUExecutionProvider" in refused("cuda", path)
    assert "TensorRT" in refused("tensorrt", path)


@gpu_wheel
def test_a_library_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    """Without the wheels' libraries on its path, in a process of its own: what is loaded stays loaded."""
    program = (
        "import ctypes, onnxruntime, pathlib\n"
        "from medzoo.export.runtime.nvidia import _load\n"
        "print(_load(pathlib.Path(onnxruntime.__file__).parent / 'capi', 'libonnxruntime_providers_tensorrt.so'))"
    )
    said = subprocess.check_output([sys.executable, "-c", program], text=True)
    assert said.startswith("lib") or said == "None\n"
    assert ".so" in said or said == "None\n"


def test_a_provider_that_is_not_built_in_names_its_package(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    if "OpenVINOExecutionProvider" not in onnxruntime.get_available_providers():
        assert "onnxruntime-openvino" in refused("openvino", path)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])  # the cpu wheel's
    for provider in ("cuda", "tensorrt"):
        assert "medzoo[gpu]" in refused(provider, path)


class Assigned:
    """A session that says where its nodes run."""

    def __init__(self, **nodes: list[str]) -> None:
        self.parts = [
            SimpleNamespace(
                ep_name=f"{name}ExecutionProvider", get_nodes=lambda o=operators: [SimpleNamespace(op_type=x) for x in o]
            )
            for name, operators in nodes.items()
        ]

    def get_providers(self) -> list[str]:
        return ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]

    def get_provider_graph_assignment_info(self) -> list[SimpleNamespace]:
        return self.parts


def test_a_provider_that_would_run_no_node_is_refused(path: Path) -> None:
    with pytest.raises(ProviderError, match="no node"):
        providers._check_assignment(Assigned(CPU=["Conv"]), "cuda", "CUDAExecutionProvider")
    real = open_session(path, SessionSettings())
    assert {part.ep_name for part in real.get_provider_graph_assignment_info()} == {"CPUExecutionProvider"}
    assert any("MatMul" in node.op_type for part in real.get_provider_graph_assignment_info() for node in part.get_nodes())


def test_a_provider_that_would_leave_the_work_to_the_cpu_is_refused() -> None:
    shapes = ["Shape", "Gather"]
    little = Assigned(CUDA=["Cast", "FusedConv"], CPU=["MatMulInteger", "ConvInteger", *shapes])
    with pytest.raises(ProviderError, match=r"1 of this graph's 3 convolutions and matrix products"):
        providers._check_assignment(little, "cuda", "CUDAExecutionProvider")
    providers._check_assignment(Assigned(CUDA=["Conv", "Gemm"], CPU=["MatMul", *shapes * 9]), "cuda", "CUDAExecutionProvider")
    shared = Assigned(Tensorrt=["Conv"], CUDA=["MatMul", "Attention"], CPU=shapes)
    providers._check_assignment(shared, "tensorrt", "TensorrtExecutionProvider")
    with pytest.raises(ProviderError, match="1 of this graph's 3"):
        providers._check_assignment(Assigned(Tensorrt=["Conv"], CPU=["MatMul", "Gemm"]), "tensorrt", "TensorrtExecutionProvider")


def test_an_unknown_provider_offers_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="'cuda'"):
        SessionSettings(provider="cuda12")


@pytest.mark.parametrize(
    "wrong",
    [{"threads": 0}, {"inter_op_threads": -1}, {"device_id": -1}, {"device_id": 1}, {"fp16": True}, {"engine_cache": Path("x")},
     {"provider": "cuda", "fp16": True}, {"tf32": True}],
)  # fmt: skip
def test_settings_without_meaning_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        SessionSettings(**wrong)  # type: ignore[arg-type]


def test_what_onnxruntime_is_given() -> None:
    given = SessionSettings("tensorrt", device_id=1, engine_cache=Path("engines"), fp16=True)
    (name, options), (second, device) = provider_options(given)
    assert (name, second) == ("TensorrtExecutionProvider", "CUDAExecutionProvider")
    assert device == {"device_id": "1", "use_tf32": "0"}
    assert options["device_id"] == "1"
    assert options["trt_fp16_enable"] == "True"
    assert options["trt_engine_cache_path"] == "engines"
    assert provider_options(SessionSettings("cpu")) == [("CPUExecutionProvider", {})]
    assert provider_options(SessionSettings("cuda", tf32=True))[0][1]["use_tf32"] == "1"


def test_threads_reach_the_session(path: Path) -> None:
    model = OnnxModel(path, threads=1, inter_op_threads=2)
    options = model._session.get_session_options()
    assert options.intra_op_num_threads == 1
    assert options.inter_op_num_threads == 2


def test_a_file_onnxruntime_cannot_load_is_the_files_fault(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(PROBE.replace(b"Conv", b"Conx"))
    with pytest.raises(OnnxFileError, match="Conx"):
        open_session(path, SessionSettings())


@no_gpu
def test_the_command_line_refuses_too(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert main(["predict", str(path), str(tmp_path / "a.png"), "--provider", "cuda", "--device", "0"]) == 2
    assert capsys.readouterr().err.startswith("medzoo: provider=cuda")
    assert main(["predict", str(path), str(tmp_path / "a.png"), "--provider", "gpu"]) == 2
    assert "unknown provider" in capsys.readouterr().err
    assert main(["predict", str(path), str(tmp_path / "a.png"), "--threads", "1"]) == 0


@gpu
@gpu_wheel
def test_cuda_works_where_there_is_a_gpu() -> None:
    prove("cuda")


def test_onnxruntime_keeps_no_number_of_this_machine_and_tells_nobody(path: Path, tmp_path: Path) -> None:
    """Its telemetry makes both a file in the home folder when the first session opens."""
    home = tmp_path / "home"
    home.mkdir()
    program = f"from medzoo.export.runtime.model import OnnxModel; OnnxModel({str(path)!r})"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ORT_"))}
    subprocess.run([sys.executable, "-c", program], env={**kept, "HOME": str(home)}, check=True, timeout=120)
    assert [found for found in home.rglob("*") if "onnxruntime" in str(found.relative_to(home))] == []
