"""`trainer.compile=true` on the GPU: it trains, and what it leaves is an ordinary checkpoint."""

from __future__ import annotations

import csv
import importlib.util
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

import medzoo
from medzoo.cli import main
from medzoo.store.checkpoint import WEIGHTS, find_checkpoint, tensors_from_file
from tests.gpu.families import FAMILIES, Trained, images_of

LACKING = [name for name, there in {
    "triton": importlib.util.find_spec("triton") is not None,
    "a C compiler": any(map(shutil.which, ("cc", "gcc", "clang"))),
}.items() if not there]  # fmt: skip

pytestmark = [
    pytest.mark.skipif(bool(LACKING), reason=f"no torch.compile: it needs {' and '.join(LACKING)}"),
    pytest.mark.timeout(600),
]


@pytest.mark.parametrize(("family", "precision"), [("cnn", "no"), ("cnn", "bf16"), ("vit", "no"), ("cbm", "no")])
def test_a_compiled_network_trains_and_is_an_ordinary_one_afterwards(
    trained: Trained, card: str, family: str, precision: str, tmp_path: Path
) -> None:
    run, plain = tmp_path / "run", trained(family)
    words = [*FAMILIES[family].data, *FAMILIES[family].model, *FAMILIES[family].steps, "evaluation.replicates=5"]
    torch._dynamo.reset()
    counters.clear()
    command = ["train", *words, "trainer.compile=true", f"trainer.precision={precision}", f"device={card}", f"run={run}"]
    assert main(command) == 0
    assert counters["stats"]["unique_graphs"] > 0  # it was compiled
    rows = list(csv.DictReader((run / "history.csv").read_text().splitlines()))
    assert len(rows) == 2
    assert all(math.isfinite(float(row[name])) for row in rows for name in ("train_loss", "val_loss"))
    compiled, ordinary = (tensors_from_file(find_checkpoint(path) / WEIGHTS) for path in (run, plain))
    assert {name: t.shape for name, t in compiled.items()} == {name: t.shape for name, t in ordinary.items()}
    images = images_of(run, 8)
    assert np.isfinite(medzoo.load(run, device=card).predict(images)["probabilities"]).all()
    assert main(["export", f"run={run}", "images=8"]) == 0
    assert json.loads((run / "model.json").read_text())["parity"]["relative"] < 1e-3


def test_compiled_training_learns_what_plain_training_does(trained: Trained, card: str, tmp_path: Path) -> None:
    """The first epoch's loss, before the paths part: the same draws, the same first weights."""
    words = [*FAMILIES["vit"].data, *FAMILIES["vit"].model, "trainer.epochs=1", "trainer.batch_size=32", "evaluate=false"]
    losses = []
    for compile_it in ("false", "true"):
        run = tmp_path / compile_it
        assert main(["train", *words, f"trainer.compile={compile_it}", f"device={card}", f"run={run}"]) == 0
        (row,) = csv.DictReader((run / "history.csv").read_text().splitlines())
        losses.append(float(row["train_loss"]))
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)
