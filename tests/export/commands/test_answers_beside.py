"""What stands around a graph takes what the graph takes: texts, what members show, samples of any number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medzoo.api import load
from medzoo.cli import main
from medzoo.export.runtime.model import OnnxModel

pytestmark = pytest.mark.slow

SMALL = ["model.backbone=test_resnet", "model.preprocess.size=16", "trainer.epochs=1", "trainer.augment=none", "evaluate=false"]
FITTED = ["evaluation.replicates=0", "evaluation.calibration=temperature", "evaluation.conformal={coverage: 0.5}"]
FUSION = ["data.modalities={image: image, second: other}", "data.inputs=[age]", "data.texts=[note]", "model=fusion"]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Return a table of 36 rows of 18 patients in 3 splits."""
    rng, lines = np.random.default_rng(0), ["image,other,patient,split,finding,kind,view,note,age"]
    for row in range(36):
        names = [f"{row}.png", f"other-{row}.png"]
        for name in names:
            Image.fromarray(rng.integers(0, 256, (18, 20, 3), dtype=np.uint8)).save(tmp_path / name)
        patient = row // 2
        words = [patient, ("train", "val", "test")[patient % 3], ("no", "yes")[patient // 3 % 2], "abc"[row % 3]]
        lines.append(",".join(map(str, [*names, *words, ("front", "side")[row % 2], f"note of {row % 4}", 30 + row])))
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(lines))
    return path


def trained(table: Path, *options: str) -> Path:
    run = table.parent / "run"
    asked = ["data=table", f"data.file={table}", "data.group=patient", "data.split=split", *options, *SMALL, f"run={run}"]
    assert main(["train", *asked]) == 0
    return run


def samples(table: Path) -> list[dict[str, Any]]:
    return [{"image": table.parent / f"{row}.png", "note": f"note of {row % 4}", "inputs": {"age": 30 + row}} for row in range(3)]


def test_texts_stand_before_a_calibrator_and_sets(table: Path) -> None:
    run = trained(table, *FUSION, "data.target=finding")
    assert main(["evaluate", f"run={run}", *FITTED]) == 0
    assert main(["export", f"run={run}", "images=6", "calibrated=true", "conformal=true"]) == 0
    found, own = OnnxModel(run / "model.onnx").predict(samples(table)), load(run).predict(samples(table))
    np.testing.assert_allclose(found["raw_logits"], own["logits"], atol=1e-4)
    assert found["prediction_set"].shape == (3, 2)


def test_what_members_show_stands_before_a_calibrator_and_sets(table: Path) -> None:
    run = trained(table, "data.target=finding", "data.bag=patient", "data.view=view", "model.pool=attention")
    assert main(["evaluate", f"run={run}", *FITTED]) == 0
    assert main(["export", f"run={run}", "images=6", "calibrated=true", "conformal=true"]) == 0
    case = {"images": [table.parent / "0.png", table.parent / "1.png"], "views": ["front", "side"]}
    found, own = OnnxModel(run / "model.onnx").predict_cases([case]), load(run).predict_cases([case])
    np.testing.assert_allclose(found["raw_logits"], own["logits"], atol=1e-4)


def test_several_targets_of_several_modalities(table: Path) -> None:
    targets = "data.targets={finding: {target: finding}, kind: {target: kind}}"
    run = trained(table, *FUSION, targets)
    assert main(["export", f"run={run}", "images=6"]) == 0
    found, own = OnnxModel(run / "model.onnx").predict(samples(table)), load(run).predict(samples(table))
    for output in ("finding.logits", "kind.logits"):
        np.testing.assert_allclose(found[output], own[output], atol=1e-4)
