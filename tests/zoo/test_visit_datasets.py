"""What a later visit will be, from files of OLIVES' form and a table of one's own to the answers of an exported graph."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import medzoo
from medzoo.cli import main
from medzoo.data.dataset import input_matrix
from medzoo.data.registry import load_dataset
from medzoo.export import OnnxModel
from tests.data.datasets.trees import TREES

pytestmark = pytest.mark.slow

COMMON = [
    "model.backbone=test_resnet", "model.preprocess.size=32", "trainer.epochs=1", "trainer.trackers=[]", "trainer.batch_size=16",
    "device=cpu", "evaluation.replicates=5", "model=fusion", "model.fusion.width=16",
]  # fmt: skip
CASES: dict[str, tuple[str, dict[str, Any], str]] = {
    "quantities": (
        "olives",
        {"images": "fundus", "target": "clinical", "visits": "all", "visit_inputs": ["now", "until"]},
        "mae",
    ),
    "findings": ("olives", {"images": "bscan", "target": "biomarkers", "inputs": ["bcva", "cst"], "history": 1}, "accuracy"),
    "grades": (
        "table",
        {"target": "grade", "kind": "ordinal", "group": "patient", "time": "day", "visit_inputs": ["now"], "channels": 1},
        "kappa",
    ),
}


@pytest.mark.parametrize("case", sorted(CASES))
def test_from_files_to_answers(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, run = tmp_path / "data", tmp_path / "run"
    root.mkdir()
    name, own, metric = CASES[case]
    options = {**TREES[name](root), **own, "horizon": "next"}
    asked = {key: f"[{','.join(value)}]" if isinstance(value, list) else value for key, value in options.items()}
    given = [f"data.{key}={value}" for key, value in asked.items()]
    assert main(["train", f"data={name}", *given, *COMMON, f"run={run}"]) == 0
    said = capsys.readouterr().out
    assert "carried forward on test" in said
    assert "note: the target is that of the next visit of the same " in said
    report = json.loads((run / "metrics.json").read_text())
    figures = [one for one in report["carried"]["test"]["metrics"] if one["metric"] == metric]
    assert len(figures) == (2 if case == "quantities" else 1)
    if case == "quantities":  # between two visits of the files lie 20 um or -20 um
        assert {one["name"]: one["carried"]["value"] for one in figures}["CST"] == pytest.approx(20)

    if case == "grades":  # training has evaluated the others already
        assert main(["evaluate", f"run={run}", "evaluation.replicates=5"]) == 0
        assert json.loads((run / "metrics.json").read_text())["carried"] == report["carried"]
        assert main(["report", f"run={run}", "cases=0"]) == 0
        assert "Against no change" in (run / "report.html").read_text()

    assert main(["export", f"run={run}", "images=4"]) == 0
    dataset = load_dataset(name, **options)
    assert dataset.inputs is not None
    rows, words = dataset.rows("test"), dataset.inputs.categories
    image = root / rows[dataset.reader.columns[0]].iloc[0]
    values = dict(zip(dataset.inputs.names, map(float, input_matrix(rows, dataset.inputs)[0]), strict=True))
    inputs = {key: words[key][int(v)] if key in words and not np.isnan(v) else v for key, v in values.items()}
    found = OnnxModel(run / "model.onnx").predict({"image": str(image), "inputs": inputs})["logits"]
    wanted = medzoo.load(run).predict([{"image": str(image), "inputs": inputs}])["logits"]
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3 * float(np.abs(wanted).max()))
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        cells = ["" if isinstance(value, float) and np.isnan(value) else value for value in inputs.values()]
        csv.writer(file).writerows([["image", *inputs], [image.name, *cells]])
    capsys.readouterr()
    assert main(["predict", str(run / "model.onnx"), str(image), "--json", "--inputs", str(tmp_path / "rows.csv")]) == 0
    assert image.name in capsys.readouterr().out
