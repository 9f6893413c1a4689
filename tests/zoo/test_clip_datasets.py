"""Image–text training on every dataset of the zoo, through the same command and loop."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medzoo.cli import main
from tests.data.datasets.trees import TREES

CHOSEN = {
    "olives": ["data.target=disease"],
    "scin": ["data.caption=diagnosis", "data.views=case"],
    "shards": ["data.target=label", "data.caption=.txt"],
    "table": ["data.caption=report"],
}
"""What image–text training needs beside the files."""


QUICK = ("phantom", "folder")
"""Each family of sources once; the slow lane trains on all."""


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in sorted(TREES)])
def test_image_text_training(name: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    options = [
        f"data={name}",
        *(f"data.{option}={value}" for option, value in TREES[name](root).items()),
        *CHOSEN.get(name, []),
        "model=clip",
        "trainer.epochs=1",
        "trainer.batch_size=8",
        "trainer.trackers=[]",
    ]
    assert main(["train", *options, "evaluation.replicates=5", f"run={tmp_path / 'run'}"]) == 0
    report = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert report["retrieval"]["test"]["image_to_text"]["queries"] > 0
    assert ("splits" in report and "test" in report["splits"]) == (name != "table")  # the table has no labels
