"""One positive tile in twenty: attention finds the bags, and the tile; the mean of all twenty hides it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medzoo.cli import main
from medzoo.evaluation.predictions import Predictions
from medzoo.evaluation.report import medmnist_metrics

MEMBERS, FEATURES, SHIFT = 20, 16, 5.0


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of rows of noise; in every second one row lies `SHIFT` standard deviations off, always in the same direction."""
    folder, draw = tmp_path_factory.mktemp("planted"), np.random.default_rng(0)
    direction = draw.normal(size=FEATURES)
    rows = []
    for bag in range(400):
        values, place = draw.normal(size=(MEMBERS, FEATURES)), int(draw.integers(MEMBERS))
        if bag % 2:
            values[place] += SHIFT * direction / np.linalg.norm(direction)
        np.save(folder / f"{bag}.npy", values.astype(np.float32))
        rows.append({"file": f"{bag}.npy", "y": ("no", "yes")[bag % 2], "p": bag, "place": place})
    pd.DataFrame(rows).to_csv(folder / "t.csv", index=False)
    return folder


def trained(folder: Path, pool: str) -> tuple[Predictions, float]:
    data = ["data=table", f"data.file={folder / 't.csv'}", "data.features=file", "data.target=y", "data.group=p"]
    settings = ["trainer.epochs=20", "trainer.learning_rate=0.01", "trainer.trackers=[]", "evaluation.replicates=0"]
    run = folder / pool
    assert main(["train", *data, "data.keep=[place]", "model=features", f"model.pool={pool}", *settings, f"run={run}"]) == 0
    test = Predictions.read(run / "predictions.parquet").of_split("test")
    area = medmnist_metrics(test)["auc"]
    assert area is not None
    return test, area


@pytest.mark.slow
def test_attention_finds_the_planted_tile(planted: Path) -> None:
    test, area = trained(planted, "attention")
    assert area >= 0.95
    positive = test.targets[:, 1] == 1
    assert test.attention is not None
    assert test.kept is not None
    found = np.nanargmax(test.attention, axis=1) == test.kept["place"].astype(int)
    assert found[positive].mean() >= 0.9
    _, of_mean = trained(planted, "mean")
    assert of_mean < area - 0.05
