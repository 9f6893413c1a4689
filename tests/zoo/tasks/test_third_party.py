"""A family and a dataset of somebody else, one file each, outside the repository: trained, evaluated, exported and predicted."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medzoo.data.errors import CheckpointError
from medzoo.export import OnnxModel
from medzoo.store.spec import ModelSpec
from medzoo.tasks.registry import task_class

DOCS = Path(__file__).parents[3] / "docs"


def install(folder: Path, name: str, document: str, block: int, entry_point: str) -> None:
    """Lay a module of the documentation down as pip would lay a package, with its entry point."""
    code = re.findall(r"```python\n(.*?)```", (DOCS / document).read_text(encoding="utf-8"), re.DOTALL)[block]
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_point)


@pytest.fixture
def elsewhere(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A folder with both packages and knee films, and the environment of a process that sees them."""
    packages = tmp_path / "packages"
    packages.mkdir()
    install(packages, "their_family", "adding-a-model.md", 1, "[medzoo.tasks]\nunsure = their_family:Unsure\n")
    install(packages, "their_films", "adding-a-dataset.md", 0, "[medzoo.datasets]\nkneefilms = their_films\n")
    films = tmp_path / "films"
    (films / "images").mkdir(parents=True)
    rng, lines = np.random.default_rng(0), ["file,patient,sex,grade"]
    for number in range(60):
        shade = np.full((40, 40), 40 * (number % 5) + 20) + rng.integers(0, 20, (40, 40))
        Image.fromarray(shade.astype(np.uint8)).save(films / "images" / f"{number:03d}.png")
        lines.append(f"{number:03d}.png,{number // 2:03d},{'fm'[number // 2 % 2]},{number % 5}")
    (films / "labels.csv").write_text("\n".join(lines) + "\n")
    seen = os.pathsep.join([str(packages), *filter(None, [os.environ.get("PYTHONPATH")])])
    return tmp_path, {**os.environ, "PYTHONPATH": seen}


IN_TURN = """
import json, sys
from medzoo.cli import main
for words in json.loads(sys.argv[1]):
    if main(words):
        sys.exit(f"failed: {words}")
"""


def medzoo(*commands: list[str], environment: dict[str, str]) -> str:
    """Run commands one after the other in one process, whose imports take as long as any of them."""
    program = [sys.executable, "-c", IN_TURN, json.dumps(commands)]
    done = subprocess.run(program, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_toy_family_on_a_toy_dataset_goes_all_the_way(elsewhere: tuple[Path, dict[str, str]]) -> None:
    folder, environment = elsewhere
    run, config = folder / "run", folder / "conf" / "data"
    size = ["model.backbone=test_resnet", "model.preprocess.size=32", "trainer.trackers=[]", "trainer.epochs=2"]
    config.mkdir(parents=True)
    (config / "kneefilms.yaml").write_text(f"name: kneefilms\nroot: {folder / 'films'}\n")
    words = ["train", "data=kneefilms", "model.family=unsure", *size, "evaluation.replicates=20", f"run={run}"]
    medzoo([*words, "evaluate=false", f"--config-dir={folder / 'conf'}"], environment=environment)
    assert json.loads((run / "spec.json").read_text())["task"] == "unsure"
    predict = ["predict", str(run / "model.onnx"), str(folder / "films" / "images"), "--json"]
    further = [["evaluate", f"run={run}", "evaluation.replicates=20"], ["export", f"run={run}", "images=8"], predict]
    lines = medzoo(*further, environment=environment).splitlines()
    report = json.loads((run / "metrics.json").read_text())
    assert report["labels"]["kind"] == "ordinal"
    assert report["splits"]["test"]["metrics"]
    assert sum(line.startswith('{"image"') for line in lines) == 60
    outputs = OnnxModel(run / "model.onnx").predict([folder / "films" / "images" / "000.png"])
    shares = outputs["probabilities"].astype(np.float64)
    np.testing.assert_allclose(outputs["entropy"][:, 0], -(shares * np.log(shares)).sum(axis=1), rtol=1e-4)


def test_a_task_that_is_not_there_is_one_line() -> None:
    described = {
        "format": 1, "family": "cnn", "task": "unsure", "architecture": "test_resnet", "arguments": {"outputs": 2},
        "preprocess": {"size": [8, 8], "channels": 1, "mean": [0.5], "std": [0.5]}, "labels": None, "concepts": None,
        "objective": {}, "data": {}, "versions": {},
    }  # fmt: skip
    with pytest.raises(CheckpointError, match="no task 'unsure'"):
        task_class(ModelSpec.from_dict(described))
