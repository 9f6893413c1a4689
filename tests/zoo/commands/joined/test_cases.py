"""An ensemble of cases of several images whose members look at images of different sizes: each sees what it learnt from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medzoo.cli import main
from medzoo.evaluation.predictions import Predictions

SHORT = [
    "model.backbone=test_resnet", "trainer.epochs=1", "trainer.batch_size=8", "trainer.augment=none", "trainer.trackers=[]",
    "evaluation.replicates=0", "device=cpu",
]  # fmt: skip
VIEWS = ["data.image=[one,other]", "data.group=patient"]
BAG = ["data.image=one", "data.bag=patient", "model.pool=attention"]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a table of 24 rows of 12 patients, whose images are larger than any member looks at; every third lacks one."""
    folder = tmp_path_factory.mktemp("cases")
    rng, lines = np.random.default_rng(0), ["one,other,patient,split,label"]
    for row in range(24):
        for side in "ab":
            Image.fromarray(rng.integers(0, 256, (44, 40, 3), dtype=np.uint8)).save(folder / f"{row}{side}.png")
        patient = row // 2
        second = f"{row}b.png" if row % 3 else ""
        lines.append(f"{row}a.png,{second},{patient},{('train', 'val', 'test')[patient % 3]},{'uv'[patient // 3 % 2]}")
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    return folder / "t.csv"


@pytest.mark.parametrize("asked", [VIEWS, BAG], ids=["views", "bag"])
def test_members_of_other_sizes_see_every_image_of_a_case_at_their_own(asked: list[str], table: Path, tmp_path: Path) -> None:
    data = ["data=table", f"data.file={table}", "data.target=label", "data.split=split"]
    runs = [tmp_path / "small", tmp_path / "large"]
    for seed, (run, size) in enumerate(zip(runs, (16, 32), strict=True)):
        assert main(["train", *data, *asked, *SHORT, f"model.preprocess.size={size}", f"seed={seed}", f"run={run}"]) == 0
    both = [*map(str, runs), "--how", "logits", "--run", str(tmp_path / "both"), "--device", "cpu"]
    assert main(["ensemble", *both]) == 0
    small, large, mean = (Predictions.read(run / "predictions.parquet") for run in (*runs, tmp_path / "both"))
    kept = np.isin(small.sample_id, mean.sample_id)
    assert list(small.sample_id[kept]) == list(large.sample_id[kept]) == list(mean.sample_id)
    np.testing.assert_allclose(mean.logits, (small.logits[kept] + large.logits[kept]) / 2, atol=1e-5)
