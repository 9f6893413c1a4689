"""The loss that an epoch may be chosen by is of the model's answers: without what is of training alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from medzoo.data.registry import load_dataset
from medzoo.evaluation.monitor import monitor_value
from medzoo.settings.schema import BottleneckConfig, LossConfig, ModelConfig
from medzoo.tasks.setup.families import task_from_config
from medzoo.tasks.targets import SeveralTargets

FAMILIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "classes": ({}, {}),
    "several targets": ({"targets": ["multiclass", "regression"]}, {}),
    "a bottleneck": ({}, {"family": "cbm", "bottleneck": BottleneckConfig(regime="joint", kind="soft")}),
    "prototypes": ({}, {"family": "cbm", "bottleneck": BottleneckConfig(regime="joint", kind="prototype")}),
}


@pytest.mark.parametrize("family", list(FAMILIES))
def test_the_prior_offsets_of_a_long_tail_are_not_in_it(family: str) -> None:
    data, model = FAMILIES[family]
    dataset, several = load_dataset("phantom", size=32, patients=16, **data), "targets" in data
    adjusted, plain = (
        task_from_config(ModelConfig(**{"family": "cnn", "backbone": "test_resnet", **model}), loss, dataset, 0)
        for loss in (
            LossConfig(targets={"multiclass": {"logit_adjustment": 1.0}}) if several else LossConfig(logit_adjustment=1.0),
            LossConfig(),
        )
    )
    adjusted.load_state_dict(plain.state_dict())
    samples = plain.samples(dataset, "val")
    plain.prepare(samples, dataset)
    images = torch.randint(0, 256, (len(samples), 1, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    batch = {"image": images, "target": torch.tensor(samples.targets)}
    if samples.concepts is not None:
        batch["concepts"] = torch.tensor(samples.concepts)
    judged = plain.eval().validation_step(batch)
    assert adjusted.eval().validation_step(batch)["loss"] == judged["loss"]
    learnt = []
    for task in (adjusted, plain):
        torch.manual_seed(0)
        learnt.append(task.train().training_step(batch)["loss"].item())
    assert learnt[0] != learnt[1]
    if family == "classes":
        assert samples.targets is not None
        nll = monitor_value(plain.spec.label_space, samples.targets, judged["logits"].numpy(), "nll")
        assert judged["loss"].item() == pytest.approx(nll, rel=1e-5)


def test_nor_in_that_of_a_whole_split_whose_batches_do_not_add_up() -> None:
    dataset = load_dataset("phantom", size=32, patients=16, targets=["multiclass", "regression"])
    found = []
    for weighed in ({"multiclass": {"logit_adjustment": 1.0}}, None):
        task = task_from_config(ModelConfig(family="cnn", backbone="test_resnet"), LossConfig(targets=weighed), dataset, 0)
        assert isinstance(task, SeveralTargets)
        samples = task.samples(dataset, "val")
        assert samples.targets is not None
        samples.targets[0, -1] = np.nan  # of the regression: batches do not add up
        outputs = {"logits": np.random.default_rng(0).normal(size=samples.targets.shape).astype(np.float32)}
        found.append(task.whole_loss(outputs, samples, 4))
    assert found[0] is not None
    assert found[0] == found[1]
