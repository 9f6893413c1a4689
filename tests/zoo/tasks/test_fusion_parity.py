"""What joining is for, on drawn data whose truth is known: a class that no modality tells alone, and both tell together."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from medzoo.cli import main
from medzoo.data.registry import load_dataset
from medzoo.inference.devices import make_accelerator
from medzoo.inference.predict import predict_splits
from medzoo.inference.run import Runner
from medzoo.settings.evaluation import EvaluationConfig
from medzoo.store.checkpoint import find_checkpoint
from medzoo.store.directory import RunDirectory
from medzoo.tasks.load import load_checkpoint

pytestmark = pytest.mark.slow
OPTIONS = [
    "data=phantom", "data.rule=xor", "data.inputs=[flag,value]", "data.size=24", "data.patients=400", "data.noise=0.02",
    "model=fusion", "model.backbone=test_resnet", "model.small_stem=true", "model.fusion.width=32", "model.fusion.dropout=0.1",
    "trainer.epochs=12", "trainer.batch_size=32", "trainer.learning_rate=2e-3", "trainer.augment=none", "trainer.trackers=[]",
    "evaluation.replicates=100", "evaluation.splits=[test]", "device=cpu",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("parity") / "run"
    assert main(["train", *OPTIONS, f"run={path}"]) == 0
    return path


def test_both_tell_what_neither_tells_alone(run):
    part = json.loads((run / "metrics.json").read_text())["modalities"]
    found = {(one["kind"], one["name"]): one["metric"]["value"] for one in part["variants"]}
    assert part["all"]["value"] >= 0.95
    for name in ("image", "inputs"):
        assert 0.42 <= found["only", name] <= 0.58
        assert 0.42 <= found["without", name] <= 0.58
    assert 0.4 <= found["shuffled", "flag"] <= 0.6  # its values between samples: back to chance
    assert found["shuffled", "value"] >= 0.94  # of what says nothing: no loss
    flag = next(one for one in part["variants"] if (one["kind"], one["name"]) == ("shuffled", "flag"))
    assert flag["difference"]["high"] < 0
    assert flag["difference"]["verdict"] == "inferior"


def test_what_is_missing_at_random_costs_smoothly(run):
    settings = RunDirectory.open(run).settings()["data"]
    task, areas = load_checkpoint(find_checkpoint(run)), []
    for absent in (0.0, 0.25, 0.5):
        options = {**settings, "patients": 800, "absent": absent, "modalities": ["image"]}
        dataset = load_dataset(**options)
        found = predict_splits(task, dataset, EvaluationConfig(splits=["test"]), Runner(make_accelerator("cpu")))
        areas.append(roc_auc_score(found.targets[:, 1], found.logits[:, 1] - found.logits[:, 0]))
    assert areas[0] >= 0.9  # of patients who are not the run's own
    assert np.all(np.diff(areas) < 0)
    assert areas[2] >= 0.55  # above either alone
    # Of samples that have both, (1 - absent)² of all, the answer is as good as ever; the others are at chance.
    expected = [0.5 + (areas[0] - 0.5) * (1 - absent) ** 2 for absent in (0.25, 0.5)]
    np.testing.assert_allclose(areas[1:], expected, atol=0.06)
