"""Test-time augmentation: the mean over an image's copies, of probabilities that round to 0 or 1, too."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from medzoo.data.labels import LabelSpace
from medzoo.evaluation.monitor import monitor_value
from medzoo.inference.predict import _with_copies
from medzoo.settings.evaluation import EvaluationConfig
from medzoo.tasks.classify import probabilities


def averaged(labels: LabelSpace, said: list[Any]) -> dict[str, Any]:
    """Return what is said of an image of which a model says `said[0]`, and of its copies what comes behind."""
    outputs = [
        {"logits": one, "probabilities": probabilities(torch.from_numpy(one), labels).numpy()}
        for one in (np.asarray(part, np.float32) for part in said)
    ]
    task: Any = SimpleNamespace(spec=SimpleNamespace(label_space=labels), samples=lambda *_, **__: None)
    runner: Any = SimpleNamespace(predict=lambda _task, _copies, epoch: (outputs[epoch], None))
    dataset: Any = SimpleNamespace(info=SimpleNamespace(modality="skin"))
    return _with_copies(task, dataset, "test", outputs[0], EvaluationConfig(tta=len(said) - 1), "skin", "opencv", runner)


@pytest.mark.parametrize("kind", ["multilabel", "multiclass", "ordinal"])
def test_copies_that_say_the_same_rank_as_the_image_alone(kind: Any) -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((400, 1)) < 0.4).astype(np.float32)
    odds = (18 + 4 * (truth - 0.5) + 3 * rng.normal(size=(400, 1))).astype(np.float32)
    labels = LabelSpace(kind, ("f",) if kind == "multilabel" else ("no", "yes"))
    if kind != "multilabel":
        truth, odds = np.hstack([1 - truth, truth]), np.hstack([np.zeros_like(odds), odds])
    found = averaged(labels, [odds] * 5)
    wanted = monitor_value(labels, truth, odds, "auroc")
    assert monitor_value(labels, truth, found["logits"], "auroc") == wanted
    assert found["logits"].dtype == found["probabilities"].dtype == np.float32


@pytest.mark.parametrize("kind", ["multilabel", "multiclass", "regression"])
def test_it_is_the_mean_of_probabilities_or_of_quantities(kind: Any) -> None:
    labels = LabelSpace(kind, ("a", "b", "c"), **({"units": ("m",) * 3} if kind == "regression" else {}))
    said = list(np.random.default_rng(1).normal(size=(3, 20, 3)) * 2)
    found = averaged(labels, said)
    wanted = np.mean([probabilities(torch.from_numpy(one), labels).numpy() for one in said], axis=0)
    np.testing.assert_allclose(found["probabilities"], wanted, rtol=1e-5)
    again = probabilities(torch.from_numpy(found["logits"]), labels).numpy()
    np.testing.assert_allclose(again, wanted, rtol=1e-5)
