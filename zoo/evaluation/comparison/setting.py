"""One setting: a run, or runs that differ in their seed, on the same rows; each of them may be a pool of folds.

Its figures are the means over its runs. A replicate draws the patients once for all runs, and then, nested in it, as many runs
with replacement as there are: what patients one has tested on and which seeds one has trained with both widen the interval. Few
seeds say little of how far seeds scatter (two understate the variance by half), so their standard deviation stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.seeding import generator
from medzoo.evaluation.bootstrap import Estimate, Interval, Measured
from medzoo.evaluation.comparison.pooled import RANKED
from medzoo.evaluation.extra import find_extra
from medzoo.evaluation.extra_report import affordable, measure_extra
from medzoo.evaluation.metrics import Scored, scored
from medzoo.evaluation.monitor import METRICS, require_metric
from medzoo.evaluation.predictions import Predictions
from medzoo.evaluation.weighting import Floats

WITHIN = " within folds"
"""Ends the name of a metric that is the mean over folds of each fold's own."""
THRESHOLDED = ("recall", "precision")
"""Metrics of classes beside those that an epoch may be chosen by."""


@dataclass(frozen=True)
class Setting:
    """What is compared.

    Attributes:
        name: What its runs' names share.
        training: How they were trained, in one line.
        runs: Their names.
        predictions: Of each run, or pool of folds; the same rows in the same order.
        folds: (N,) of each of them which fold a row is of; empty where nothing is pooled.
        interval: How intervals are made.
        bins: Of the calibration error.
    """

    name: str
    training: str
    runs: tuple[str, ...]
    predictions: tuple[Predictions, ...]
    folds: tuple[NDArray[np.int64], ...]
    interval: Interval
    bins: int = 15

    @cached_property
    def data(self) -> tuple[Scored, ...]:
        """Return what each run predicted, in the form the metrics take."""
        return tuple(scored(part.labels, part.targets, part.logits) for part in self.predictions)

    @cached_property
    def _measured(self) -> tuple[Measured, ...]:
        return tuple(
            Measured.of(data, list(part.group), self.interval, bins=self.bins, unit=part.split_unit)
            for data, part in zip(self.data, self.predictions, strict=True)
        )

    @cached_property
    def _extra(self) -> dict[str, tuple[Measured, ...]]:
        return {}

    def metrics(self, asked: Sequence[str]) -> list[str]:
        """Return the metrics asked for, behind each one of ranks its mean within folds where folds are pooled.

        Raises:
            UnknownNameError: If one is not known for these labels, here or by torchmetrics.
        """
        names = []
        for name in asked:
            self._of(name)
            names += [name, name + WITHIN] if self.folds and name in RANKED else [name]
        return names

    def overall(self, metric: str) -> bool:
        """Return whether a metric is of all classes together and has no value of one."""
        return metric not in self._of(metric)[0].classes

    def estimates(self, metric: str, k: int | None = None) -> list[Estimate]:
        """Return each run's own estimate of a metric, of one class or of all."""
        if metric.endswith(WITHIN):
            return [self._within(metric.removesuffix(WITHIN), run, k) for run in range(len(self.predictions))]
        return [part.estimate(metric) if k is None else part.class_estimate(metric, k) for part in self._of(metric)]

    def estimate(self, metric: str, k: int | None = None) -> Estimate:
        """Return the mean over the runs, patients and runs redrawn."""
        return mean_of_runs(self.estimates(metric, k), self.interval.seed, self.name)

    def described(self, metric: str) -> dict[str, Any]:
        """Return a metric JSON-ready: `value, low, high`; of several runs `sd`, each one's value, the interval over patients."""
        estimates = self.estimates(metric)
        found = mean_of_runs(estimates, self.interval.seed, self.name).described(self.interval)
        if len(estimates) > 1:
            values = [estimate.value for estimate in estimates]
            known = [float(value) for value in values if value is not None and not np.isnan(value)]
            patients = mean_estimate(estimates).described(self.interval)
            found |= {
                "sd": stdev(known) if len(known) > 1 else None,
                "runs": [None if value is None or np.isnan(value) else float(value) for value in values],
                "patients_alone": {"low": patients["low"], "high": patients["high"]},
            }
        return found

    def _of(self, metric: str) -> tuple[Measured, ...]:
        labels = self.predictions[0].labels
        own = (*METRICS[labels.kind], *(THRESHOLDED if labels.kind != "regression" else ()))
        if metric in own:
            return self._measured
        if metric not in self._extra:
            require_metric(metric, labels)
            extra = find_extra(metric, labels)
            self._extra[metric] = tuple(
                measure_extra(extra, data, list(part.group), affordable(extra, data, self.interval), part.split_unit)[0]
                for data, part in zip(self.data, self.predictions, strict=True)
            )
        return self._extra[metric]

    def _within(self, metric: str, run: int, k: int | None) -> Estimate:
        """Return the mean over folds of each one's own metric."""
        folds = self._folds_measured[run]
        return mean_estimate([fold.estimate(metric) if k is None else fold.class_estimate(metric, k) for fold in folds])

    @cached_property
    def _folds_measured(self) -> tuple[tuple[Measured, ...], ...]:
        """Return each fold of each run, its patients as often as the whole pool's replicate drew them."""
        found = []
        for part, folds in zip(self.predictions, self.folds, strict=True):
            rows = [part.take(folds == fold) for fold in np.unique(folds)]
            found.append(
                tuple(
                    Measured.of(
                        scored(own.labels, own.targets, own.logits), list(own.group), self.interval, bins=self.bins,
                        unit=own.split_unit, among=list(part.group),
                    )
                    for own in rows
                )
            )  # fmt: skip
        return tuple(found)


def mean_estimate(estimates: Sequence[Estimate]) -> Estimate:
    """Return the mean of estimates that were redrawn together; undefined where one of them is."""
    values = [estimate.value for estimate in estimates]
    if any(value is None or np.isnan(value) for value in values):
        return Estimate(None, None)
    drawn = [estimate.drawn for estimate in estimates if estimate.drawn is not None]
    why = next((estimate.why_none for estimate in estimates if estimate.why_none), "")
    value = float(np.mean([value for value in values if value is not None]))
    return Estimate(value, np.mean(drawn, axis=0) if len(drawn) == len(estimates) else None, why)


def mean_of_runs(estimates: Sequence[Estimate], seed: int, name: str) -> Estimate:
    """Return the mean over runs with, nested in each replicate's patients, the runs redrawn.

    Args:
        estimates: Of each run, redrawn together.
        seed: Of the bootstrap.
        name: Of the setting: runs of another one are drawn independently.
    """
    mean = mean_estimate(estimates)
    if len(estimates) < 2 or mean.drawn is None:
        return mean
    drawn: Floats = np.stack([estimate.drawn for estimate in estimates if estimate.drawn is not None], axis=1)
    picked = generator(seed, "runs", name, drawn.shape[1]).integers(drawn.shape[1], size=drawn.shape)
    return Estimate(mean.value, np.take_along_axis(drawn, picked, axis=1).mean(axis=1), mean.why_none)
