"""The suite on the oldest and the newest of everything that pyproject.toml allows, and on each Python: `nox`.

    nox --list
    nox -s "suite-3.12(newest)"
    nox -s "suite-3.11(oldest)" -- tests/export -n1     # some of it

Each session installs into an environment of its own (7 GB, most of it torch's CUDA; files are shared with uv's cache where both
are on one disk) and appends a line to build/matrix.md: Python, versions, what was run, the count of tests. What pytest printed is
beside it. uv resolves: its `--resolution lowest-direct` takes the lower bound of each dependency, which pip cannot.
"""

from __future__ import annotations

import re
from pathlib import Path

import nox

nox.options.default_venv_backend = "uv"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = True  # a Python that was not there is no Python that passed
BUILD = Path("build")
EXTRAS = "cpu,all,test"
# Oldest is the oldest that has a wheel for this Python: what an older one's sources make today is not what was released.
WHEELS = ("--only-binary", ":all:", "--no-binary", "antlr4-python3-runtime")  # Hydra's, which never had a wheel


@nox.session(python=["3.11", "3.12", "3.13"])
@nox.parametrize("bounds", ["newest", "oldest"], ids=["newest", "oldest"])
def suite(session: nox.Session, bounds: str) -> None:
    """Run the fast tests, or those that are named."""
    resolution = "highest" if bounds == "newest" else "lowest-direct"
    session.install("--resolution", resolution, *WHEELS, "-e", f".[{EXTRAS}]")
    versions = str(session.run("python", "-c", _VERSIONS, silent=True)).strip()
    BUILD.mkdir(exist_ok=True)
    log = BUILD / f"suite-{session.python}-{bounds}.log"
    command = ["python", "-m", "pytest", "-m", "not slow", "-n", "2", "--dist", "loadfile", "-q", *session.posargs]
    with log.open("w") as file:
        session.run(*command, stdout=file, success_codes=[0, 1])
    last = log.read_text().rstrip().splitlines()[-1]
    session.log(last)
    table = BUILD / "matrix.md"
    if not table.exists():
        table.write_text("| Python | bounds | versions | tests | result |\n|---|---|---|---|---|\n")
    with table.open("a") as file:
        counts = re.sub(" in .*", "", last).strip("= ")
        file.write(f"| {session.python} | {bounds} | {versions} | {' '.join(session.posargs) or 'all'} | {counts} |\n")
    if "failed" in last or "error" in last:
        session.error(f"{last}: {log}")


_VERSIONS = """
from importlib.metadata import version
names = "torch torchvision onnx onnxscript onnxruntime numpy pandas scikit-learn timm transformers monai".split()
print(", ".join(f"{name} {version(name)}" for name in names))
"""
