"""`medzoo doctor` on a machine with a GPU: it names the card, and what works on it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest
import torch

from medzoo.cli import main
from medzoo.export.runtime.nvidia import missing_driver


def report(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    assert main(["doctor", "--json"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_the_driver_is_found() -> None:
    assert missing_driver() is None


def test_torch_sees_the_card_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    said = report(capsys)["torch_cuda"]
    assert said == f"available, CUDA {torch.version.cuda}, {torch.cuda.get_device_name(0)}"


@pytest.mark.skipif(shutil.which("nvidia-smi") is None, reason="no nvidia-smi on the path")
def test_the_drivers_own_tool_lists_the_card(capsys: pytest.CaptureFixture[str]) -> None:
    gpu = report(capsys)["gpu"]
    assert isinstance(gpu, dict)
    assert gpu["driver"] is None
    assert torch.cuda.get_device_name(0) in gpu["nvidia_smi"]


def test_the_cuda_provider_works(cuda_provider: str, capsys: pytest.CaptureFixture[str]) -> None:
    providers = report(capsys)["providers"]
    assert isinstance(providers, dict)
    assert providers[cuda_provider] == {"works": True, "reason": None}
    assert providers["cpu"]["works"]


def test_the_cuda_provider_works_where_torch_has_loaded_no_library_for_it(cuda_provider: str) -> None:
    """In a process of its own, as a deployment runs: torch is not imported, and cannot lend its libraries."""
    command = [sys.executable, "-m", "medzoo", "doctor"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"^  {cuda_provider} +works$", done.stdout, re.MULTILINE), done.stdout
    assert torch.cuda.get_device_name(0) in done.stdout
