"""The one number an epoch is chosen by."""

from __future__ import annotations

from typing import get_args

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import UnknownNameError, nearest
from medzoo.data.labels import LabelKind, LabelSpace
from medzoo.evaluation.extra import extra_higher_is_better, extra_names
from medzoo.evaluation.extra_values import extra_value
from medzoo.evaluation.metrics import WITH_UNIT, all_metrics, macro_mean, scored
from medzoo.settings.metric_names import read_metric

LOWER_IS_BETTER = frozenset({"ece", "brier", "nll", "mae", "rmse", "soft_cross_entropy"})
EXCLUSIVE = (
    "auroc", "ap", "accuracy", "balanced_accuracy", "f1", "ece", "brier", "nll", "top3_accuracy", "top5_accuracy",
    "soft_cross_entropy",
)  # fmt: skip
METRICS = {
    "multiclass": EXCLUSIVE,
    "ordinal": (*EXCLUSIVE, "kappa", "mae"),
    "multilabel": ("auroc", "ap", "accuracy", "balanced_accuracy", "f1", "ece", "brier", "micro_f1", "example_f1"),
    "regression": ("mae", "rmse", "r2", "spearman"),
}
KNOWN = frozenset(name for names in METRICS.values() for name in names)


def higher_is_better(metric: str) -> bool:
    """Whether a larger value of a metric is better, one of medzoo's or of torchmetrics by its name."""
    return metric not in LOWER_IS_BETTER and (metric in KNOWN or extra_higher_is_better(metric))


def monitor_value(labels: LabelSpace, targets: NDArray[np.float32], logits: NDArray[np.float32], metric: str) -> float | None:
    """Return a metric's value, the mean over classes that are defined; None when none is.

    Errors of quantities in different units are divided by each quantity's standard deviation in `targets` before the mean: else
    the one with the largest numbers alone would choose the epoch.

    Args:
        labels: The label space.
        targets: (N, K), NaN where missing.
        logits: (N, K).
        metric: One of `METRICS[labels.kind]`; or one of torchmetrics', by its name or with arguments.

    Raises:
        UnknownNameError: If the metric is not known for this kind of labels, here or by torchmetrics.
        ConfigError: If its arguments are not what they must be.
    """
    if metric not in METRICS[labels.kind]:
        require_metric(metric, labels)
        return macro_mean(extra_value(metric, labels, targets, logits).values)
    classes, overall = all_metrics(scored(labels, targets, logits), np.ones((1, len(targets))))
    if metric not in overall and metric not in classes:  # top-k of few classes, soft labels where all are hard
        return None
    values = overall[metric] if metric in overall else classes[metric][0]
    if metric in WITH_UNIT and labels.kind == "regression" and not labels.one_unit:
        known = np.where(np.isnan(targets).sum(axis=0) < len(targets) - 1, targets, 0.0)  # a column of one value has no spread
        spread = np.nanstd(known.astype(np.float64), axis=0)
        values = np.divide(values, spread, out=np.full_like(values, np.nan), where=spread > 0)
    return macro_mean(values)


def require_metric(metric: str, labels: LabelSpace) -> None:
    """Check that a metric can choose an epoch; UnknownNameError or ConfigError as for `monitor_value`."""
    names = METRICS[labels.kind]
    if metric not in names and read_metric(metric)[0] not in (further := extra_names(labels.kind)):
        if metric in KNOWN or not nearest(metric, [*names, *further]):
            raise UnknownNameError("metric", metric, names, where=f" for {labels.kind} labels")
        raise UnknownNameError("metric", metric, [*names, *further], where=f" for {labels.kind} labels")


def require_some_metric(metric: str, where: str) -> None:
    """Check that a metric is known for some kind of labels; UnknownNameError or ConfigError if not.

    Args:
        metric: Its name, of torchmetrics' with arguments where there are any.
        where: Said behind the name, where it is not known.
    """
    if metric in KNOWN:
        return
    kinds: tuple[LabelKind, ...] = get_args(LabelKind)
    further = frozenset(name for kind in kinds for name in extra_names(kind))
    if read_metric(metric)[0] not in further:
        raise UnknownNameError("metric", metric, sorted(KNOWN | further), where=where)


def monitorable(labels: LabelSpace, targets: NDArray[np.float32], metric: str) -> str | None:
    """Return why a metric can never be defined on these targets, or None if it can."""
    # Outputs that agree with the targets: what is undefined then (no spread, one class alone) always is.
    if monitor_value(labels, targets, np.nan_to_num(targets), metric) is not None:
        return None
    if np.isnan(targets).all():
        return "every label is missing"
    if metric not in METRICS[labels.kind]:
        return next(iter(extra_value(metric, labels, targets, np.nan_to_num(targets)).reasons.values()))
    if metric == "soft_cross_entropy":
        return "no target is soft"
    if metric in ("micro_f1", "example_f1"):
        return "no finding is positive in any sample"
    if metric.startswith("top"):
        return f"there are {labels.width} classes"
    return "no class has both positive and negative samples" if labels.kind != "regression" else "targets do not vary"
