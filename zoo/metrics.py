"""medzoo's metrics as classes of torchmetrics, for training loops of your own; importing this module imports torchmetrics.

Missing labels are NaN and left out, an undefined metric is NaN and never 0, AUROC ranks log-odds, which do not tie where
probabilities are 1, and an interval redraws whole groups, patients that is. Outputs are kept until `reset`, and gathered from
all processes by torchmetrics when computed; docs/evaluation.md has an example.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from medzoo.data.errors import ConfigError, EvaluationError
from medzoo.data.labels import LabelKind, LabelSpace
from medzoo.evaluation.bootstrap import NO_INTERVAL, Interval, Measured
from medzoo.evaluation.metrics import scored
from medzoo.evaluation.monitor import METRICS, higher_is_better

AVERAGES = ("macro", "none")
THRESHOLDED = ("recall", "precision")
"""Metrics of classes that choose no epoch, and so are not in `METRICS`."""


class MaskedMetric(Metric):
    """A metric of medzoo over all that `update` was given.

    Attributes:
        metric: Its name in metrics.json.
        labels: What the columns mean.
        no_interval: After `compute`, why there is no interval; empty where there is one, or none was asked for.

    Args:
        kind: multiclass, ordinal, multilabel or regression.
        names: Of the classes, findings or quantities; or how many.
        average: `macro`, the mean over the classes that are defined; `none`: each class's own.
        interval: How an interval is made over groups; None: `compute` returns the value alone.
        bins: Bins of the calibration error.
        units: Of the quantities; errors of different ones have no mean.
        further: What `torchmetrics.Metric` takes.

    Raises:
        ConfigError: If the metric is not for this kind of labels, or the average not known.
    """

    metric: ClassVar[str]
    full_state_update = False
    is_differentiable = False
    logits: list[Tensor]
    targets: list[Tensor]
    groups: list[Tensor]

    def __init__(
        self, kind: LabelKind, names: int | Sequence[str], *, average: str = "macro", interval: Interval | None = None,
        bins: int = 15, units: Sequence[str] | None = None, **further: Any
    ) -> None:  # fmt: skip
        super().__init__(**further)
        given = tuple(map(str, range(names))) if isinstance(names, int) else tuple(names)
        self.labels = LabelSpace(kind, given, None if units is None else tuple(units))
        if self.metric not in (*METRICS[kind], *(THRESHOLDED if kind != "regression" else ())):
            raise ConfigError(f"{type(self).__name__} is not for {kind} labels")
        if average not in AVERAGES:
            raise ConfigError(f"average={average!r} is not one of {', '.join(AVERAGES)}")
        self.average, self.interval, self.bins, self.no_interval = average, interval, bins, ""
        for state in ("logits", "targets", "groups"):
            self.add_state(state, default=[], dist_reduce_fx="cat")

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        cls.higher_is_better = higher_is_better(cls.metric)

    def update(self, logits: Tensor, targets: Tensor, groups: Tensor | Iterable[str | int] | None = None) -> None:
        """Take in a batch.

        Args:
            logits: (N, K), or (N,) for one finding or quantity; values for regression. Not probabilities.
            targets: (N, K), NaN where missing; for exclusive classes also (N,) codes, NaN or negative where missing.
            groups: (N,) whom each sample is of, by name or number, which no process must use for another; None: samples are
                groups of their own.

        Raises:
            EvaluationError: If their shapes do not fit the labels or each other.
        """
        logits = logits.detach().float()
        targets = targets.detach()
        if self.labels.exclusive and targets.ndim == 1:
            targets = _one_hot(targets, self.labels.width)
        logits, targets = (part[:, None] if part.ndim == 1 else part for part in (logits, targets.float()))
        if logits.shape != targets.shape or logits.ndim != 2 or logits.shape[1] != self.labels.width:
            shapes = f"logits {tuple(logits.shape)} and targets {tuple(targets.shape)}"
            raise EvaluationError(f"{shapes} are not both (N, {self.labels.width})")
        self.logits.append(logits)
        self.targets.append(targets)
        if groups is not None:
            codes = groups if isinstance(groups, Tensor) else torch.tensor([_code(group) for group in groups])
            if codes.shape != (len(logits),):
                raise EvaluationError(f"groups {tuple(codes.shape)} are not one a sample, ({len(logits)},)")
            self.groups.append(codes.to(logits.device, torch.int64))

    def compute(self) -> Tensor | dict[str, Tensor]:
        """Return the value, a float64 scalar, or (K,) with `average="none"`; with an interval `value`, `low` and `high`.

        What is undefined, or has no interval, is NaN.

        Raises:
            EvaluationError: If some batches had groups and others none, or a logit is not finite.
        """
        logits, targets, codes = (_joined(part) for part in (self.logits, self.targets, self.groups))
        logits, targets = (part.reshape(-1, self.labels.width) for part in (logits, targets))
        if len(codes) not in (0, len(logits)):
            raise EvaluationError(f"{len(codes)} of {len(logits)} samples have a group; give all batches groups, or none")
        groups = [str(code) for code in (codes if len(codes) else np.arange(len(logits)))]
        if not len(logits):  # nothing to draw from
            measured = None
        else:
            data = scored(self.labels, targets, logits)
            measured = Measured.of(data, groups, self.interval or NO_INTERVAL, bins=self.bins)
        parts = self._described(measured)
        self.no_interval = "; ".join(sorted({part["no_interval"] for part in parts if part.get("no_interval")}))
        scalar = self.average == "macro" or measured is None or self.metric in measured.overall
        found: dict[str, Tensor] = {}
        for key in ("value", "low", "high"):
            values = [np.nan if part[key] is None else part[key] for part in parts]
            found[key] = torch.tensor(values[0] if scalar else values, dtype=torch.float64, device=self.device)
        return found if self.interval is not None else found["value"]

    def _described(self, measured: Measured | None) -> list[dict[str, Any]]:
        if measured is None:
            return [{"value": None, "low": None, "high": None}]
        if self.average == "macro" or self.metric in measured.overall:
            return [measured.described(self.metric)]
        return [measured.of_class(self.metric, k) for k in range(self.labels.width)]


class AUROC(MaskedMetric):
    """Area under the ROC curve, one class against the rest."""

    metric = "auroc"


class AveragePrecision(MaskedMetric):
    """Average precision, one class against the rest."""

    metric = "ap"


class Accuracy(MaskedMetric):
    """Share of right answers."""

    metric = "accuracy"


class BalancedAccuracy(MaskedMetric):
    """Mean recall of the classes; of a finding the mean of sensitivity and specificity."""

    metric = "balanced_accuracy"


class F1(MaskedMetric):
    """F1 of the most probable class, or of findings at 0.5."""

    metric = "f1"


class MicroF1(MaskedMetric):
    """F1 at 0.5 over all entries of all findings together."""

    metric = "micro_f1"


class ExampleF1(MaskedMetric):
    """Mean of each sample's own F1 over findings at 0.5; samples without a true and without a called finding are left out."""

    metric = "example_f1"


class Recall(MaskedMetric):
    """Recall of the most probable class, or of findings at 0.5."""

    metric = "recall"


class Precision(MaskedMetric):
    """Precision of the most probable class, or of findings at 0.5."""

    metric = "precision"


class CalibrationError(MaskedMetric):
    """Expected calibration error of the most probable class, or of findings."""

    metric = "ece"


class Brier(MaskedMetric):
    """Brier score: the sum of squares over classes, or of a finding."""

    metric = "brier"


class NegativeLogLikelihood(MaskedMetric):
    """Mean negative log-likelihood of exclusive classes."""

    metric = "nll"


class QuadraticKappa(MaskedMetric):
    """Cohen's kappa of grades with quadratic weights."""

    metric = "kappa"


class MAE(MaskedMetric):
    """Mean absolute error of quantities, or in grades."""

    metric = "mae"


class RMSE(MaskedMetric):
    """Root of the mean squared error of quantities."""

    metric = "rmse"


class R2(MaskedMetric):
    """Share of a quantity's variance that is explained."""

    metric = "r2"


class Spearman(MaskedMetric):
    """Spearman's rank correlation of quantities."""

    metric = "spearman"


def _one_hot(codes: Tensor, width: int) -> Tensor:
    values = codes.double()
    missing = values.isnan() | (values < 0)
    whole = values.nan_to_num().clamp(min=0)
    if bool(((whole != whole.floor()) | (whole >= width)).any()):
        raise EvaluationError(f"class codes are whole numbers below {width}, NaN or negative where missing")
    targets = torch.nn.functional.one_hot(whole.long(), width).double()
    targets[missing] = torch.nan
    return targets


def _code(group: str | int) -> int:
    """Return a group's number: text as 63 bits of its SHA-256, alike on every process."""
    if isinstance(group, str):
        return int.from_bytes(hashlib.sha256(group.encode("utf-8")).digest()[:8], "big") >> 1
    return int(group)


def _joined(parts: list[Tensor] | Tensor) -> Any:
    """Return the batches as one NumPy array; torchmetrics has joined them already where it gathered them from processes."""
    if isinstance(parts, list) and not parts:
        return np.zeros(0, np.float32)
    return dim_zero_cat(parts).cpu().numpy()
