"""What `medzoo doctor` says of this machine is what is true of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import numpy
import onnxruntime
import pytest

from medzoo.cli import main
from medzoo.data import extras
from medzoo.export.commands import doctor
from medzoo.export.commands.doctor import EXTRAS, describe, examine
from medzoo.export.runtime.nvidia import missing_driver
from medzoo.export.runtime.providers import PROVIDERS


@pytest.fixture(autouse=True)
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing torch takes seconds; the tests in a process of their own ask it in earnest."""
    monkeypatch.setattr(doctor, "_torch_cuda", lambda: "not asked")


def report(capsys: pytest.CaptureFixture[str], status: int = 0) -> dict[str, object]:
    assert main(["doctor", "--json"]) == status
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.skipif(missing_driver() is None, reason="this machine has an NVIDIA driver and a device")
def test_only_the_cpu_works_whatever_onnxruntime_lists(capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys)["providers"]
    assert isinstance(found, dict)
    listed = onnxruntime.get_available_providers()
    ours = {theirs: name for name, theirs in PROVIDERS.items()}
    assert {ours.get(name, name) for name in listed} <= set(found)
    assert [name for name, state in found.items() if state["works"]] == ["cpu"]
    for name in ("cuda", "tensorrt"):
        if PROVIDERS[name] in listed:
            assert "libcuda.so.1" in found[name]["reason"]
            assert "install the driver" in found[name]["reason"]
        else:
            assert "medzoo[gpu]" in found[name]["reason"]


def test_what_onnxruntime_finds_by_itself_comes_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    seen = json.loads(capsys.readouterr().out)["seen"]
    assert {"provider": "CPUExecutionProvider", "kind": "CPU"}.items() <= seen[0].items()
    assert main(["doctor"]) == 0
    page = capsys.readouterr().out
    assert page.index("CPU of ") < page.index("providers (a convolution")


def test_the_page_says_the_same_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    page = capsys.readouterr().out
    assert re.search(r"^  cpu +works$", page, re.MULTILINE)
    assert re.search(rf"^  numpy +{re.escape(numpy.__version__)}$", page, re.MULTILINE)
    assert re.search(rf"^  medzoo +{re.escape(version('medzoo'))}$", page, re.MULTILINE)
    if PROVIDERS["cuda"] in onnxruntime.get_available_providers() and missing_driver():
        assert re.search(r"^  cuda +does not work: no NVIDIA driver", page, re.MULTILINE)


def test_torch_is_not_imported() -> None:
    program = (
        "import sys; from medzoo.cli import main; status = main(['doctor', '--json']); "
        "assert not {'torch', 'onnx', 'pandas', 'hydra', 'timm'} & set(sys.modules); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert json.loads(done.stdout)["torch_cuda"]


BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "onnxruntime":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocker())
from medzoo.cli import main
sys.exit(main(["doctor"]))
"""


def test_without_onnxruntime_not_even_the_cpu_works() -> None:
    done = subprocess.run([sys.executable, "-c", BLOCKED], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "onnxruntime is not installed; pip install 'medzoo[cpu]'" in done.stdout


def test_a_broken_onnxruntime_is_said_with_its_remedy(tmp_path: Path) -> None:
    (tmp_path / "onnxruntime").mkdir()  # what removing one of two leaves: a folder without its modules
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from medzoo.cli import main; sys.exit(main(['doctor']))"
    (tmp_path / "onnxruntime" / "__init__.py").write_text("")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "onnxruntime is broken: pip uninstall -y onnxruntime onnxruntime-gpu" in done.stdout


def test_two_onnxruntimes_over_one_another_are_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(capsys)["warnings"] == []
    for name in ("onnxruntime", "onnxruntime-gpu"):
        folder = tmp_path / f"{name.replace('-', '_')}-1.31.1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.31.1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    (warning,) = examine()["warnings"]
    assert "onnxruntime and onnxruntime-gpu" in warning
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in warning
    assert "medzoo[gpu]" in warning


def test_a_provider_without_a_name_of_ours_is_tried_too(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = ["AzureExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: listed)  # as the cpu wheel says
    found = examine()["providers"]
    assert list(found)[:2] == ["cpu", "AzureExecutionProvider"]
    assert not found["AzureExecutionProvider"]["works"]
    assert "medzoo[gpu]" in found["cuda"]["reason"]


def test_a_long_name_keeps_its_distance_from_what_is_said_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    named = "AnExecutionProviderWithAVeryLongName"
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["AzureExecutionProvider", named, "CPUExecutionProvider"])
    page = describe(examine())
    rows = [line for line in page if re.match(r"  (cpu|cuda|Azure|AnExec|driver|numpy)", line)]
    column = re.compile(r"  \S+ +").match  # the spaces after a name end where its text begins
    assert len(rows) == 6
    assert {found.end() for line in rows if (found := column(line))} == {len(named) + 4}


def test_what_is_not_installed_is_said_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["numpy<3", 'nobody-has-this[x]<4,>=3.0; extra == "dicom"', "numpy>=1; extra == 'dicom'", 'nor-this; extra == "dev"']
    monkeypatch.setattr(extras, "requires", lambda name: lines)
    extras._brought.cache_clear()
    found = examine()
    extras._brought.cache_clear()
    assert found["extras"]["dicom"]["missing"] == ["nobody-has-this"]
    assert "  not installed: nobody-has-this (DICOM files): pip install 'medzoo[dicom]'" in describe(found)


def test_the_extras_are_those_of_the_package() -> None:
    """Held against pyproject.toml, which decides."""
    declared = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(declared) - set(EXTRAS) == {"cpu", "gpu", "test", "dev", "docs", "all"}
