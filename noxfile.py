"""The suite on the oldest and the newest of everything that pyproject.toml allows, and on each Python: `nox`.

    nox --list
    nox -s "suite-3.12(newest)"
    nox -s "suite-3.11(oldest)" -- tests/export     # some of it

Each session installs into an environment of its own and appends a line to build/matrix.md: Python, versions, the count of tests.
uv resolves: its `--resolution lowest-direct` takes the lower bound of each dependency, which pip cannot.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import nox

nox.options.default_venv_backend = "uv"
nox.options.reuse_existing_virtualenvs = True
TABLE = Path("build/matrix.md")
EXTRAS = "cpu,all,test"


@nox.session(python=["3.11", "3.12", "3.13"])
@nox.parametrize("bounds", ["newest", "oldest"], ids=["newest", "oldest"])
def suite(session: nox.Session, bounds: str) -> None:
    """Run the fast tests, or those that are named."""
    resolution = "highest" if bounds == "newest" else "lowest-direct"
    session.install("--resolution", resolution, "-e", f".[{EXTRAS}]")
    versions = session.run("python", "-c", _VERSIONS, silent=True)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        command = ["python", "-m", "pytest", "-m", "not slow", "-n", "2", "--dist", "loadfile", "-q", *session.posargs]
        with log.open("w") as file:
            session.run(*command, stdout=file, success_codes=[0, 1])
        last = log.read_text().rstrip().splitlines()[-1]
    session.log(last)
    TABLE.parent.mkdir(exist_ok=True)
    with TABLE.open("a") as table:
        table.write(f"| {session.python} | {bounds} | {str(versions).strip()} | {re.sub(' in .*', '', last).strip('= ')} |\n")
    if "failed" in last or "error" in last:
        session.error(last)


_VERSIONS = """
from importlib.metadata import version
print(", ".join(f"{name} {version(name)}" for name in ("torch", "onnx", "onnxruntime", "numpy", "pandas", "timm")))
"""
