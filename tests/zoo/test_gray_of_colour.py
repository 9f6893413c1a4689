"""Colour files that a run read as gray, for a network of three channels: whoever predicts later reads them so, too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

import medzoo
from medzoo.cli import main
from medzoo.export import OnnxModel


def test_predicting_reads_files_as_training_did(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = ["image,patient,y"]
    for number in range(12):
        Image.fromarray(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,p{number},{'ab'[number % 2]}")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    data = ["data=table", f"data.file={tmp_path / 't.csv'}", "data.target=y", "data.group=patient", "data.channels=1"]
    model = ["model.backbone=test_resnet", "model.preprocess.channels=3", "model.preprocess.size=24"]
    words = ["trainer.epochs=1", "trainer.augment=none", "evaluation.replicates=10", "evaluation.splits=[val]"]
    run = tmp_path / "run"
    assert main(["train", *data, *model, *words, f"run={run}"]) == 0
    assert main(["export", f"run={run}", "images=2"]) == 0
    scored = pd.read_parquet(run / "predictions.parquet")
    wanted = scored[[name for name in scored.columns if name.startswith("logit.")]].to_numpy()
    files = [tmp_path / name for name in scored["sample_id"]]
    for reader in (medzoo.load(run), OnnxModel(run / "model.onnx")):
        np.testing.assert_allclose(reader.predict(files)["logits"], wanted, atol=1e-4)
