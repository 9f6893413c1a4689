"""A linear probe that is solved: the head's minimum under several penalties, one of them chosen on the validation split."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from medzoo.data.dataset import Dataset
from medzoo.data.errors import TrainingError
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.losses.convex import as_convex
from medzoo.losses.groups import balancing_factors
from medzoo.models.backbones.contract import head_modules
from medzoo.models.heads.linear_layer import set_layer
from medzoo.models.heads.solved_layer import PROBE_PENALTIES, solved_layers
from medzoo.settings.schema import ModelConfig
from medzoo.store.spec import ModelSpec
from medzoo.tasks.classify import Classify
from medzoo.tasks.guide.groups import GROUP, WEIGHT
from medzoo.tasks.prepare import learning_splits
from medzoo.tasks.task import Runner, Task

PATIENCE = 4
"""Penalties in a row that bring nothing better, two decades, before the weaker ones, which take the longest, are left out."""


class SolvedProbe(Classify):
    """A classifier whose last layer alone learns, at once; what it ends as is a plain `Classify`.

    Args:
        spec: Of the classifier.
        model: Its network, with a linear last layer.
        monitor: Metric that chooses the penalty; None: the usual one of the label kind.
    """

    learns_by_steps = False
    # No trackers: what is solved has no course to follow.
    heeds = (
        *(name for name in Task.heeds if name not in ("trackers", "log_every")),
        "finetune", "probe", "cache_features", "augment", "monitor",
    )  # fmt: skip
    trains_nothing = "a solved linear probe"

    def __init__(self, spec: ModelSpec, model: nn.Module, monitor: str | None = None) -> None:
        super().__init__(spec, model)
        self.asked = monitor

    def fit(self, dataset: Dataset, config: ModelConfig, runner: Runner) -> tuple[Task, list[str]]:
        """Compute the features of both splits and solve the head under one penalty after another; the monitor chooses.

        The strongest comes first and stays among equals. After `PATIENCE` that are no better, the weaker ones are not tried. The
        spec's `training` says what was.

        Raises:
            TrainingError: If there is nothing to learn from or to choose by.
        """
        train, val = learning_splits(self, dataset, config)
        for samples in (train, val):
            self.require(samples)
        monitor, note = self.choose_monitor(self.asked, val)
        self.to(runner.device).eval()
        learnt, held_out = (_batch(samples, runner.features(self, samples)) for samples in (train, val))
        self.to("cpu")
        layer, sign = head_modules(self.model)[0], 1 if self.higher_is_better(monitor) else -1
        given = train.further.get(WEIGHT)
        weights = None if given is None else torch.from_numpy(given)
        problem = as_convex(self.objective, self.spec.label_space, learnt["target"].double(), self._counts(train, weights))
        tried: list[dict[str, Any]] = []
        best: tuple[float, float, Tensor, Tensor] | None = None
        for penalty, weight, bias in solved_layers(learnt["features"], problem, samples=weights):
            set_layer(layer, weight, bias, self.spec.architecture)
            outputs = self.validation_step(held_out)
            losses = {"train_loss": self.validation_step(learnt)["loss"].item(), "val_loss": outputs["loss"].item()}
            logits = {"logits": outputs["logits"].numpy()}
            value = losses["val_loss"] if monitor == "loss" else self.monitor_value(monitor, logits, val)
            tried.append({"penalty": penalty, **losses, f"val_{monitor}": value})
            if value is not None and (best is None or sign * value > sign * best[0]):
                best = (value, penalty, weight, bias)
            elif best is not None and PROBE_PENALTIES.index(penalty) - PROBE_PENALTIES.index(best[1]) >= PATIENCE:
                break
        if best is None:
            raise TrainingError(f"val {monitor} is undefined under every penalty of the probe; give another trainer.monitor")
        set_layer(layer, *best[2:], self.spec.architecture)
        training = {"probe": "solved", "monitor": monitor, "penalty": best[1], "samples": _labelled(learnt), "tried": tried}
        self.chosen_by = f"val {monitor} of {_labelled(held_out)} samples"
        return Classify(replace(self.spec, training=training), self.model), _notes(note, monitor, best[:2], len(tried))

    def _counts(self, train: SampleDataset, weights: Tensor | None) -> Tensor | None:
        """Return (N,) how much each training sample counts, its group's share among it; None where all count alike."""
        groups = self.objective.groups
        if groups is None:
            return weights
        factors = balancing_factors(list(groups["counts"]))[torch.from_numpy(train.further[GROUP])]
        return factors if weights is None else factors * weights


def _labelled(batch: dict[str, Tensor]) -> int:
    """Return how many samples have a label, which are those that are learnt from."""
    return int((~batch["target"].isnan()).any(dim=1).sum())


def _batch(samples: SampleDataset, features: Tensor) -> dict[str, Tensor]:
    assert samples.targets is not None
    return {"features": features, "target": torch.from_numpy(samples.targets)}


def _notes(note: str | None, monitor: str, best: tuple[float, float], tried: int) -> list[str]:
    value, penalty = best
    said = [f"note: {note}"] if note is not None else []
    said.append(f"solved probe: penalty {penalty:g} (C = {1 / penalty:g}), of {tried} tried the best: val {monitor} {value:.4f}")
    if penalty in (PROBE_PENALTIES[0], PROBE_PENALTIES[-1]):
        end = "strongest" if penalty == PROBE_PENALTIES[0] else "weakest"
        said.append(f"note: it is the {end} of the {len(PROBE_PENALTIES)} that a probe may try")
    return said
