"""What make would install: nothing is run, make says what it would do."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
TORCH = [f"'{text}'" for text in EXTRAS["train"] if re.match(r"torch(vision)?\b", text)]


def planned(*variables: str, target: str = "demo") -> str:
    """Return the commands of a target in a clone without an environment."""
    command = ["make", "--dry-run", "--no-print-directory", target, "VENV=build/none", *variables]
    # Nothing of who runs the tests decides: continuous integration sets EXTRAS, and make itself may be what started them.
    given = {
        name: value
        for name, value in os.environ.items()
        if name not in ("EXTRAS", "LOCKED", "TORCH_CPU", "SEEN", "MAKEFLAGS", "PYTHON_BIN")
    }
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=given).stdout


@pytest.mark.parametrize(
    ("seen", "extra", "other", "said"),
    [
        ("", "cpu", "onnxruntime-gpu", "no NVIDIA GPU is seen"),
        ("/dev/nvidia0", "gpu", "onnxruntime", "an NVIDIA GPU is seen (/dev/nvidia0)"),
    ],
)
def test_the_extra_is_that_of_the_machine(seen: str, extra: str, other: str, said: str) -> None:
    plan = planned(f"SEEN={seen}")
    assert f'install -e ".[all,{extra},test,dev,docs]"' in plan
    assert f"uninstall --yes {other} " in plan
    assert said in plan


@pytest.mark.parametrize(
    ("variables", "tried"),
    [
        (["SEEN="], True), (["SEEN=/dev/nvidia0"], False), (["EXTRAS=train,cpu"], True), (["EXTRAS=all,gpu"], False),
        (["EXTRAS=cpu,test"], False), (["SEEN=", "LOCKED=1"], False),
    ],
)  # fmt: skip
def test_pytorchs_cpu_index_is_tried_for_torch_on_a_cpu_by_the_projects_bounds(variables: list[str], tried: bool) -> None:
    plan = planned(*variables)
    assert len(TORCH) == 2
    assert [text in plan for text in TORCH] == [tried, tried]
    assert ("--retries 0 --timeout 10" in plan) == tried


def test_from_the_lock_nothing_is_resolved_again() -> None:
    plan = planned("SEEN=", "LOCKED=1")
    assert "install --require-hashes --requirement requirements.lock" in plan
    assert "install --no-deps -e ." in plan
    assert '-e ".[' not in plan


def test_the_readme_shows_the_commands_of_make_demo() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = [
        line.replace("build/none/bin/", "") for line in planned("SEEN=").splitlines() if line.startswith("build/none/bin/medzoo")
    ]
    assert len(commands) == 4
    assert [command for command in commands if command not in readme] == []


def test_the_demo_ends_by_saying_how_its_page_is_opened() -> None:
    last = planned("SEEN=").splitlines()[-1]
    assert "build/none/bin/medzoo serve runs/demo/model.onnx, then open http://127.0.0.1:8000/" in last


def test_the_gpu_lane_runs_with_what_is_installed() -> None:
    assert planned("PYTHON_BIN=python3", target="gpu").splitlines() == [
        "python3 -m pytest -m gpu tests/gpu", "python3 -m benchmarks.gpu --quick --minutes 5 --output build/gpu",
    ]  # fmt: skip
    plan = planned("SEEN=/dev/nvidia0", target="gpu")
    assert 'install -e ".[all,gpu,test,dev,docs]"' in plan
    assert plan.splitlines()[-2:] == [
        "build/none/bin/python -m pytest -m gpu tests/gpu",
        "build/none/bin/python -m benchmarks.gpu --quick --minutes 5 --output build/gpu",
    ]  # fmt: skip
