"""Carried forward: the figures of whoever says that a later visit will be as this one, beside the model's, on the same samples.

A result in time means nothing without it: most of what is seen at one visit is seen at the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.labels import LabelSpace
from medzoo.evaluation.bootstrap import Interval, value_text
from medzoo.evaluation.comparison.difference import described_difference, with_holm
from medzoo.evaluation.comparison.setting import Setting
from medzoo.evaluation.monitor import METRICS, higher_is_better
from medzoo.evaluation.predictions import Predictions

OF_ANSWERS = ("auroc", "accuracy", "balanced_accuracy", "f1", "kappa", "mae", "rmse", "r2", "spearman")
"""Metrics of answers: of yes or no there are no probabilities whose calibration could be told."""
SURE = 10.0
"""Log-odds of a class that is carried forward; only its sign counts."""


def carried_report(predictions: Predictions, splits: Sequence[str], interval: Interval) -> dict[str, Any]:
    """Return the JSON-ready part: split → metrics of the model and of what is carried forward; empty where nothing is.

    Quantities have a figure each, classes and findings their mean. Samples whose target is not known at both visits are left out.

    Args:
        predictions: As they are reported.
        splits: Of them.
        interval: How intervals are made; patients are redrawn for both together.
    """
    return {} if predictions.carried is None else {split: _of_split(predictions.of_split(split), interval) for split in splits}


def carried_lines(report: Mapping[str, Any]) -> list[str]:
    """Return the part as lines for a terminal; none of an empty one."""
    lines = []
    for split, part in report.items():
        lines.append(f"carried forward on {split} (this visit's own as the answer, on {part['samples']} samples known at both):")
        for one in part["metrics"]:
            name = f"{one['metric']} {one['name']}".strip()
            told = [f"{what} {value_text(one[what]['value'], one[what]['low'], one[what]['high'])}" for what in FIGURES]
            lines.append(f"  {name:<28} {'  '.join(told)}")
    return lines


FIGURES = ("model", "carried", "difference")


def _of_split(part: Predictions, interval: Interval) -> dict[str, Any]:
    labels, carried = part.labels, part.carried
    assert carried is not None
    both = ~(np.isnan(carried) | np.isnan(part.targets))
    targets = np.where(both.all(axis=1, keepdims=True) if labels.exclusive else both, part.targets, np.float32(np.nan))
    model = replace(part, targets=targets)
    other = replace(part, targets=targets, logits=_answers(carried, labels))
    settings = [Setting(name, "", (name,), (one,), (), interval) for name, one in (("carried", other), ("model", model))]
    places = range(labels.width) if labels.kind == "regression" else [None]
    found = []
    for metric in (name for name in OF_ANSWERS if name in METRICS[labels.kind]):
        for k in places:
            one, two = (setting.estimate(metric, k) for setting in settings)
            told = described_difference(one, two, interval, None, higher_is_better=higher_is_better(metric))
            estimates = {"carried": one.described(interval), "model": two.described(interval)}
            found.append({"metric": metric, "name": "" if k is None else labels.names[k], **estimates, **told})
    kept = ("low", "high", "p", "p_holm", "verdict", "replicates", "no_interval")
    return {
        "samples": int(np.isfinite(targets).any(axis=1).sum()),
        "metrics": [
            {
                **{key: one[key] for key in ("metric", "name", "model", "carried")},
                "difference": {"value": one["difference"], **{key: one[key] for key in kept if key in one}},
            }
            for one in with_holm(found)
        ],
    }


def _answers(carried: NDArray[np.float32], labels: LabelSpace) -> NDArray[np.float32]:
    """Return what is carried forward as a model would say it; anything where it is missing, for it is not scored."""
    known = np.nan_to_num(carried)
    return known if labels.kind == "regression" else ((2 * known - 1) * np.float32(SURE)).astype(np.float32)
