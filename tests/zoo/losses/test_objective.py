"""Weights and statistics of the training split, and what a spec keeps of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from medzoo.api import load
from medzoo.cli import main
from medzoo.data.labels import LabelSpace
from medzoo.data.registry import load_dataset
from medzoo.losses.objective import Objective, objective_from_config
from medzoo.settings.schema import LossConfig

LABELS = LabelSpace("multiclass", ("a", "b", "c"))


def test_balanced_weights_equal_sklearn_and_ignore_what_is_missing() -> None:
    codes = np.array([0] * 7 + [1] * 2 + [2])
    targets = np.concatenate([LABELS.one_hot(codes), np.full((4, 3), np.nan, dtype=np.float32)])
    objective = objective_from_config(LossConfig(class_weights="balanced"), LABELS, targets)
    assert objective.class_weights == pytest.approx(compute_class_weight("balanced", classes=np.arange(3), y=codes))
    findings = np.array([[1, np.nan], [0, np.nan], [0, 1], [0, 1]], dtype=np.float32)
    multilabel = LabelSpace("multilabel", ("x", "y"))
    objective = objective_from_config(LossConfig(positive_weights="balanced"), multilabel, findings)
    assert objective.positive_weights == pytest.approx((3.0, 1.0))  # y has no negative: no ratio


def test_an_objective_survives_its_spec() -> None:
    objective = Objective("focal", positive_weights=(1.0, 2.5), mean=(3.0,), arguments={"gamma": 1.5})
    assert Objective.from_dict(json.loads(json.dumps(objective.to_dict()))) == objective


def test_regression_learns_standardised_values_and_answers_in_units(tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ["data=phantom", "data.labels=regression", "data.size=16", "data.patients=20", "model.backbone=test_resnet"]
    assert main(["train", *options, "trainer.epochs=1", "trainer.trackers=[]", "evaluate=false", f"run={run}"]) == 0
    model = load(run)
    train = load_dataset("phantom", labels="regression", size=16, patients=20)
    from medzoo.data.dataset import target_matrix

    targets = target_matrix(train.rows("train"), train.labels)
    objective = model.task.objective
    assert objective.mean == pytest.approx(tuple(np.nanmean(targets, 0)), rel=1e-5)
    assert objective.std == pytest.approx(tuple(np.nanstd(targets, 0)), rel=1e-5)
    images = torch.randint(0, 256, (3, 1, 16, 16), dtype=torch.uint8)
    with torch.no_grad():
        raw = model.task.model((images.float() / 255 - 0.5) / 0.5)
    said = model.task.predict({"image": images})["logits"]
    torch.testing.assert_close(said, raw * torch.tensor(objective.std) + torch.tensor(objective.mean))


@pytest.mark.parametrize(
    ("kind", "setting"),
    [
        ("multiclass", {"class_weights": "balanced"}), ("multiclass", {"logit_adjustment": 1.0}),
        ("ordinal", {"name": "corn", "class_weights": "balanced"}), ("multilabel", {"positive_weights": "balanced"}),
        ("regression", {}),
    ],
)  # fmt: skip
def test_a_sample_of_weight_3_is_that_sample_three_times(kind: Any, setting: dict[str, Any]) -> None:
    """What the loss takes from the training split counts weights as it does itself."""
    rng = np.random.default_rng(0)
    labels = LabelSpace(kind, ("a", "b", "c"), **({"units": ("m",) * 3} if kind == "regression" else {}))
    codes = np.array([0] * 6 + [1] * 2 + [2])
    targets = {"multilabel": rng.integers(0, 2, (9, 3)), "regression": rng.normal(size=(9, 3))}.get(kind, np.eye(3)[codes])
    targets = targets.astype(np.float32)
    targets[3, slice(None) if labels.exclusive else 1] = np.nan
    weights = np.array([1, 2, 1, 3, 1, 1, 3, 3, 2], np.float32)
    outputs = torch.randn(9, 3, generator=torch.Generator().manual_seed(0)).log_softmax(dim=1)
    twice = np.repeat(np.arange(9), weights.astype(int))
    weighed = objective_from_config(LossConfig(**setting), labels, targets, weights)
    repeated = objective_from_config(LossConfig(**setting), labels, targets[twice])
    for name, values in vars(weighed).items():
        assert values == (pytest.approx(vars(repeated)[name]) if isinstance(values, tuple) else vars(repeated)[name]), name
    found, count = weighed.function(labels)(outputs, torch.from_numpy(targets), sample_weights=torch.from_numpy(weights))  # type: ignore[call-arg]
    wanted, over = repeated.function(labels)(outputs[twice], torch.from_numpy(targets[twice]))
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)
    assert count.item() == pytest.approx(float(over), rel=1e-5)
    assert objective_from_config(LossConfig(**setting), labels, targets, np.ones(9, np.float32)) == objective_from_config(
        LossConfig(**setting), labels, targets
    )
