"""The GPU lane (docs/gpu.md): tests here bear the marker `gpu`, and where they are skipped say what the machine lacks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnxruntime
import pytest
import torch

from medzoo.data.errors import MedzooError
from medzoo.export.runtime.providers import prove
from tests.gpu.families import Trained

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # before -m looks at the markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.gpu)


def pytest_report_header() -> list[str]:
    """Name the card: a figure without it says nothing."""
    if torch.cuda.is_available():
        about = torch.cuda.get_device_properties(0)
        card = f"{about.name}, {about.total_memory / 2**30:.0f} GiB, compute capability {about.major}.{about.minor}"
    else:
        card = "none"
    offered = ", ".join(name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers())
    versions = f"torch {torch.__version__} for CUDA {torch.version.cuda}, onnxruntime {onnxruntime.__version__} with {offered}"
    return [f"card: {card}; {versions}"]


@pytest.fixture(scope="session", autouse=True)
def card() -> str:
    """The device every test here needs."""
    if not torch.cuda.is_available():
        pytest.skip("no GPU: torch sees none")
    return "cuda"


@pytest.fixture(scope="session")
def trained(card: str, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Runs that are shared by all tests, and by all workers: theirs is the parent of a worker's folder."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if own.name.startswith("popen-") else own) / "trained"
    folder.mkdir(exist_ok=True)
    return Trained(folder, card)


@pytest.fixture(scope="session")
def cuda_provider(card: str) -> str:
    return _working("cuda", "onnxruntime has no CUDA provider")


@pytest.fixture(scope="session")
def tensorrt_provider(card: str) -> str:
    return _working("tensorrt", "no TensorRT")


def _working(provider: str, lacking: str) -> str:
    try:
        prove(provider)
    except MedzooError as error:
        pytest.skip(f"{lacking}: {error}")
    return provider


@pytest.fixture
def whole_float32() -> Iterator[None]:
    """Without TF32, which torch allows in convolutions and which keeps 10 of float32's 23 binary digits."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
