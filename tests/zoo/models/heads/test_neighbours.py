"""k nearest neighbours against scikit-learn, and through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from medzoo.api import load
from medzoo.cli import main
from medzoo.models.heads.neighbours import NeighbourNetwork


def network(kind: str, outputs: int, features: torch.Tensor, targets: torch.Tensor, k: int = 5) -> NeighbourNetwork:
    made = NeighbourNetwork(
        torch.nn.Identity(), features=features.shape[1], samples=len(features), outputs=outputs, neighbours=k, kind=kind
    )
    made.remember(features, targets)
    return made


def test_votes_equal_sklearn() -> None:
    rng = np.random.default_rng(0)
    bank, codes, queries = rng.normal(size=(80, 6)), rng.integers(3, size=80), rng.normal(size=(20, 6))
    theirs = KNeighborsClassifier(5, metric="cosine").fit(bank, codes).predict_proba(queries)
    ours = network("multiclass", 3, torch.tensor(bank).float(), torch.eye(3)[codes]).forward_head(torch.tensor(queries).float())
    votes = ours.softmax(1) * (5 + 0.03) - 0.01
    np.testing.assert_allclose(votes.numpy() / 5, theirs, atol=1e-5)


def test_values_equal_sklearn_and_missing_labels_do_not_vote() -> None:
    rng = np.random.default_rng(1)
    bank, values, queries = rng.normal(size=(40, 4)), rng.normal(size=(40, 2)), rng.normal(size=(7, 4))
    theirs = KNeighborsRegressor(4, metric="cosine").fit(bank, values).predict(queries)
    made = network("regression", 2, torch.tensor(bank).float(), torch.tensor(values).float(), k=4)
    np.testing.assert_allclose(made.forward_head(torch.tensor(queries).float()).numpy(), theirs, atol=1e-5)
    targets = torch.tensor([[1.0], [float("nan")], [0.0], [1.0]])
    finding = network("multilabel", 1, torch.eye(4), targets, k=4).forward_head(torch.ones(1, 4))
    assert finding.sigmoid().item() == pytest.approx((2 + 0.01) / (3 + 0.02))


def test_the_command_line_fills_the_memory_reports_and_predicts(tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ["data=phantom", "data.size=24", "data.patients=30", "model.backbone=test_resnet", "model.neighbours=5"]
    assert main(["train", *options, "evaluation.replicates=20", f"run={run}"]) == 0
    report = json.loads((run / "metrics.json").read_text())
    assert report["splits"]["test"]["metrics"]["auroc"]["value"] is not None
    model = load(run).task.model
    assert isinstance(model, NeighbourNetwork)
    torch.testing.assert_close(model.bank.norm(dim=1), torch.ones(len(model.bank)))
    assert main(["train", f"resume={run}"]) == 2


def test_quantities_come_in_their_units_and_unlabelled_samples_take_no_place(tmp_path: Path) -> None:
    """A neighbour of itself: the training targets come back."""
    run = tmp_path / "run"
    options = ["data=phantom", "data.labels=regression", "data.missing=0.3", "data.size=24", "data.patients=20"]
    model = ["model.backbone=test_resnet", "model.neighbours=1", "evaluation.splits=[train]", "evaluation.replicates=5"]
    assert main(["train", *options, *model, f"run={run}"]) == 0
    network = load(run).task.model
    assert not network.targets.isnan().all(dim=1).any()
    mae = json.loads((run / "metrics.json").read_text())["splits"]["train"]["metrics"]["mae"]
    assert mae["no_mean"] == "the quantities have different units"
    for place, found in enumerate(mae["classes"].values()):
        observed = network.targets[:, place][~network.targets[:, place].isnan()]
        assert found["value"] < 0.2 * observed.std()


def test_settings_without_effect_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["data=phantom", "data.size=24", "data.patients=20", "model.backbone=test_resnet", "model.neighbours=3"]
    for setting, message in (
        ("trainer.mixup=0.4", "trainer.mixup would have no effect"),
        ("loss.class_weights=balanced", "loss"),
    ):
        assert main(["train", *options, setting, f"run={tmp_path / 'run'}"]) == 2
        assert message in capsys.readouterr().err
