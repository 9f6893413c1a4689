"""Our metrics against torchmetrics, on predictions where it can be trusted: all labels known, no class absent, none saturated."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional import classification as tm
from torchmetrics.functional import regression as tr

from medzoo.data.labels import LabelSpace
from medzoo.evaluation.metrics import all_metrics, scored


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("width", [2, 5])
def test_of_classes(seed: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    labels = LabelSpace("ordinal", tuple(f"c{k}" for k in range(width)))
    codes = np.concatenate([np.arange(width), rng.integers(width, size=300)])
    logits = (rng.normal(size=(len(codes), width)) + 1.5 * np.eye(width)[codes]).astype(np.float32)
    classes, overall = all_metrics(scored(labels, labels.one_hot(codes), logits), np.ones((1, len(codes))))
    p, y = torch.from_numpy(logits).double().softmax(1), torch.from_numpy(codes)
    per_class = {"num_classes": width, "average": None}
    for ours, direct in (
        ("f1", tm.multiclass_f1_score(p, y, **per_class)),
        ("recall", tm.multiclass_recall(p, y, **per_class)),
        ("precision", tm.multiclass_precision(p, y, **per_class)),
        ("auroc", tm.multiclass_auroc(p, y, **per_class)),
        ("ap", tm.multiclass_average_precision(p, y, **per_class)),
    ):
        assert classes[ours][0] == pytest.approx(direct.numpy(), abs=1e-6), ours
    for ours, one in (
        ("accuracy", tm.multiclass_accuracy(p, y, num_classes=width, average="micro")),
        ("balanced_accuracy", tm.multiclass_accuracy(p, y, num_classes=width, average="macro")),
        ("ece", tm.multiclass_calibration_error(p, y, num_classes=width, n_bins=15, norm="l1")),
        ("kappa", tm.multiclass_cohen_kappa(p, y, num_classes=width, weights="quadratic")),
    ):
        assert overall[ours][0] == pytest.approx(float(one), abs=1e-6), ours


@pytest.mark.parametrize("seed", range(5))
def test_of_findings(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = LabelSpace("multilabel", ("a", "b", "c"))
    targets = (rng.random((200, 3)) < 0.3).astype(np.float32)
    logits = (rng.normal(size=(200, 3)) + targets).astype(np.float32)
    classes, _ = all_metrics(scored(labels, targets, logits), np.ones((1, 200)))
    for k in range(3):
        p, y = torch.from_numpy(logits[:, k]).double().sigmoid(), torch.from_numpy(targets[:, k]).long()
        for ours, direct in (
            ("accuracy", tm.binary_accuracy(p, y)),
            ("f1", tm.binary_f1_score(p, y)),
            ("auroc", tm.binary_auroc(p, y)),
            ("ap", tm.binary_average_precision(p, y)),
            # Ours is of the finding's probability, theirs too: how often p says p, not how often the answer is right.
            ("ece", tm.binary_calibration_error(p, y, n_bins=15, norm="l1")),
        ):
            assert classes[ours][0, k] == pytest.approx(float(direct), abs=1e-6), ours


def test_of_quantities() -> None:
    rng = np.random.default_rng(0)
    targets = rng.normal(size=(100, 1)).astype(np.float32)
    said = (targets + rng.normal(size=(100, 1))).astype(np.float32)
    classes, _ = all_metrics(scored(LabelSpace("regression", ("size",)), targets, said), np.ones((1, 100)))
    z, y = torch.from_numpy(said[:, 0]).double(), torch.from_numpy(targets[:, 0]).double()
    assert classes["mae"][0, 0] == pytest.approx(float(tr.mean_absolute_error(z, y)), abs=1e-6)
    assert classes["rmse"][0, 0] == pytest.approx(float(tr.mean_squared_error(z, y, squared=False)), abs=1e-6)
    assert classes["r2"][0, 0] == pytest.approx(float(tr.r2_score(z, y)), abs=1e-6)
    assert classes["spearman"][0, 0] == pytest.approx(float(tr.spearman_corrcoef(z, y)), abs=1e-6)
