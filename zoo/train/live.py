"""Metrics of the training batches while the network learns, in memory that does not grow with them (`trainer.metrics`).

They are of augmented images, with dropout, of weights that change from batch to batch: to follow a training by, not to report.
torchmetrics keeps the sums and adds them up over processes. Where its own answer would mislead it is not asked: a class without
positives or negatives has no AUROC, and AUROC is given log-odds squeezed into 0..1, since saturated probabilities tie.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from medzoo.data.errors import MissingDependencyError
from medzoo.data.labels import LabelSpace

EDGES = 1000
"""Thresholds of the AUROC: two log-odds tie that differ by less than 0.02, or where they are large by a fiftieth of them."""
LARGEST = 1e4
"""Log-odds beyond which all tie."""
MISSING = -1


class LiveMetrics:
    """Accuracy and AUROC of classes and findings, mean absolute error of quantities; over what is labelled.

    Args:
        labels: What is learnt.
        accelerator: Whose processes share the sums.
    """

    def __init__(self, labels: LabelSpace, accelerator: Accelerator) -> None:
        self.labels, self.accelerator = labels, accelerator
        self.metrics = _collection(labels).to(accelerator.device)

    def update(self, outputs: Mapping[str, Tensor], targets: Tensor) -> None:
        """Take in a batch: what `training_step` returned, and (N, K) targets, NaN where missing.

        Of soft targets (mixup) the largest class counts where it is the only one, and findings that are 0 or 1.
        """
        logits = outputs["logits"].detach().double()
        if self.labels.kind == "regression":
            for k, metric in enumerate(self.metrics[f"mae{k}"] for k in range(self.labels.width)):
                known = ~targets[:, k].isnan()
                if known.any():
                    metric.update(logits[known, k], targets[known, k].double())
            return
        if self.labels.exclusive:
            top = targets == targets.max(dim=1, keepdim=True).values
            known = ~targets.isnan().any(dim=1) & (top.sum(dim=1) == 1)
            if known.any():
                self.metrics.update(squeezed(exclusive_log_odds(logits[known])), top[known].int().argmax(dim=1))
            return
        hard = torch.where((targets == 0) | (targets == 1), targets, MISSING).long()
        if (hard >= 0).any():
            self.metrics.update(squeezed(logits), hard)

    def compute(self) -> dict[str, float | None]:
        """Return the epoch's metrics by column name, of all processes together, and begin anew; None where undefined."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of classes that have none, and of an epoch without a label
            computed = {name: metric.compute() for name, metric in self.metrics.items()}
        self.metrics.reset()
        found = {name: value[None] if value.ndim == 0 else value for name, value in computed.items()}
        if self.labels.kind == "regression":
            errors = torch.cat([found[f"mae{k}"] for k in range(self.labels.width)])
            if self.labels.one_unit:
                return {"train_mae": _mean(errors)}
            return {f"train_mae_{name}": _mean(error[None]) for name, error in zip(self.labels.names, errors, strict=True)}
        hit, false, passed, missed = found["counts"].T[:4]
        known, both = hit + false + passed + missed > 0, (hit + missed > 0) & (false + passed > 0)
        right = found["accuracy"][known if not self.labels.exclusive else known.any()[None]]
        return {"train_accuracy": _mean(right), "train_auroc": _mean(found["auroc"][both])}

    def state(self) -> dict[str, Tensor]:
        """Return the sums so far, of all processes together, for a state that training may go on from."""
        return {
            f"{name}.{key}": self.accelerator.reduce(value.clone(), "sum")
            for name, metric in self.metrics.items()
            for key, value in metric.metric_state.items()
        }

    def restore(self, sums: Mapping[str, Tensor]) -> None:
        """Go on from sums that `state` returned: the first process takes them all, the others begin with none."""
        if self.accelerator.is_main_process:
            for place, value in sums.items():
                name, _, key = place.partition(".")
                setattr(self.metrics[name], key, value.to(self.accelerator.device))


def squeezed(log_odds: Tensor) -> Tensor:
    """Return log-odds in 0..1, 0 at one half: nearly linear up to 1, then by their logarithm, so that large ones stay apart."""
    edge = math.asinh(LARGEST)
    return 0.5 + log_odds.clamp(-LARGEST, LARGEST).asinh() / (2 * edge)


def exclusive_log_odds(logits: Tensor) -> Tensor:
    """Return (N, K) log-odds of each exclusive class against all others, where its probability is 1 too."""
    own = logits - logits.logsumexp(dim=1, keepdim=True)
    top = logits.argmax(dim=1, keepdim=True)
    odds = own - torch.log1p(-own.exp())  # of all classes but the largest, whose probability may be 1
    others = logits.scatter(1, top, -torch.inf).logsumexp(dim=1, keepdim=True)
    return odds.scatter(1, top, logits.gather(1, top) - others)


def _collection(labels: LabelSpace) -> Any:
    """Return the metrics, a torchmetrics.MetricCollection."""
    try:
        from torchmetrics import MeanAbsoluteError, MetricCollection
        from torchmetrics import classification as of
    except ImportError as error:
        raise MissingDependencyError("trainer.metrics needs torchmetrics: pip install 'medzoo[train]'") from error
    width = labels.width
    plain: dict[str, Any] = {"validate_args": False}  # checking would wait for the device
    thresholds = torch.linspace(0, 1, EDGES, dtype=torch.float64)
    metrics: dict[str, Any]
    if labels.kind == "regression":
        metrics = {f"mae{k}": MeanAbsoluteError().set_dtype(torch.float64) for k in range(width)}
    elif labels.exclusive:
        metrics = {
            "accuracy": of.MulticlassAccuracy(width, average="micro", **plain),
            "auroc": of.MulticlassAUROC(width, average=None, thresholds=thresholds, **plain),
            "counts": of.MulticlassStatScores(width, average=None, **plain),
        }
    else:
        plain["ignore_index"] = MISSING
        metrics = {
            "accuracy": of.MultilabelAccuracy(width, average=None, **plain),
            "auroc": of.MultilabelAUROC(width, average=None, thresholds=thresholds, **plain),
            "counts": of.MultilabelStatScores(width, average=None, **plain),
        }
    return MetricCollection(metrics, compute_groups=False)


def _mean(values: Tensor) -> float | None:
    defined = values[~values.isnan()]
    return float(defined.double().mean()) if len(defined) else None
