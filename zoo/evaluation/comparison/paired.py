"""Settings on the same samples: figures of each, differences of pairs, every p-value corrected for all tests of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from medzoo.data.errors import EvaluationError
from medzoo.data.info import NO_PATIENT
from medzoo.evaluation.bootstrap import Estimate, Interval
from medzoo.evaluation.comparison.aligned import align, tested_on
from medzoo.evaluation.comparison.answers import METRICS, answer_estimates, model_answers
from medzoo.evaluation.comparison.delong import delong
from medzoo.evaluation.comparison.difference import described_difference, read_margins, with_holm
from medzoo.evaluation.comparison.readers import Reader, find_readers
from medzoo.evaluation.comparison.setting import WITHIN, Setting, mean_estimate, mean_of_runs
from medzoo.evaluation.monitor import higher_is_better
from medzoo.evaluation.predictions import Predictions

MEAN_READER = "mean of the readers"
P_VALUE = (
    "two-sided, from the same replicates as the interval: twice the share on the rarer side of 0 (Efron and Tibshirani 1993, "
    "section 15.4), the observed data counted as one more (Davison and Hinkley 1997, section 4.2)"
)


@dataclass(frozen=True)
class Asked:
    """What a report shall hold.

    Attributes:
        metrics: Of models.
        interval: How intervals are made.
        margins: Words of `--margin`; see `read_margins`.
        differences: Whether settings are compared with each other.
        all_pairs: Every pair of settings; else each with the first.
        classes: Each class or finding, too.
        readers: Words of `--readers`; see `find_readers`.
        threshold: Of the models' answers beside readers.
    """

    metrics: tuple[str, ...]
    interval: Interval
    margins: tuple[str, ...] = ()
    differences: bool = True
    all_pairs: bool = False
    classes: bool = False
    readers: tuple[str, ...] = ()
    threshold: float | None = None


def aligned_settings(settings: Sequence[Setting]) -> list[Setting]:
    """Bring the rows of all runs of all settings to one order; EvaluationError with what parts them where they differ."""
    sets: dict[str, Predictions] = {}
    for setting in settings:
        for run, part in zip(setting.runs, setting.predictions, strict=True):
            if run in sets:
                raise EvaluationError(f"two of the runs compared are called {run}; rename one of their folders")
            sets[run] = part
    aligned = align(sets)
    found = []
    for setting in settings:
        folds = []
        for run, fold in zip(setting.runs, setting.folds, strict=bool(setting.folds)):
            of_sample = dict(zip(map(str, sets[run].sample_id), fold, strict=True))
            folds.append(np.array([of_sample[str(sample)] for sample in aligned[run].sample_id], dtype=np.int64))
        parts = tuple(aligned[run] for run in setting.runs)
        found.append(Setting(setting.name, setting.training, setting.runs, parts, tuple(folds), setting.interval, setting.bins))
    return found


def paired_report(settings: Sequence[Setting], asked: Asked) -> dict[str, Any]:
    """Return the JSON-ready comparison of settings whose rows are aligned; docs/comparison.md says what is in it."""
    first = settings[0].predictions[0]
    metrics = list(dict.fromkeys(name for setting in settings for name in setting.metrics(asked.metrics)))
    readers, notes = find_readers(asked.readers, first) if asked.readers else ([], [])
    compared = [*(metrics if asked.differences else []), *(METRICS if readers else [])]
    margins = read_margins(asked.margins, list(dict.fromkeys(compared)))
    pairs = list(combinations(settings, 2)) if asked.all_pairs else [(settings[0], other) for other in settings[1:]]
    pairs = pairs if asked.differences else []
    parts = [part for one, two in pairs for part in _differences(one, two, metrics, margins, classes=asked.classes)]
    told, against = _against_readers(settings, readers, asked, margins) if readers else ([], [])
    tested = with_holm([*parts, *against])
    tests = sum(part["p"] is not None for part in tested)
    delongs = [found for one, two in pairs for found in _delong(one, two)] if "auroc" in metrics else []
    report: dict[str, Any] = {
        "dataset": tested_on(first),
        "split": str(first.split[0]),
        "samples": len(first),
        "groups": len(set(map(str, first.group))),
        "labels": first.labels.to_dict(),
        "interval": {
            "method": f"percentile bootstrap over {first.split_unit} groups, the same for all that is compared",
            "unit": first.split_unit,
            **asdict(asked.interval),
        },
        "p": {"method": P_VALUE, "smallest": 2 / (asked.interval.replicates + 1), "correction": "Holm 1979", "tests": tests},
        "metrics": metrics,
        "settings": [_described(setting, metrics) for setting in settings],
        "differences": tested[: len(parts)],
    }
    if delongs:
        report["delong"] = delongs
    if readers:
        report |= {"readers": told, "against_readers": tested[len(parts) :]}
    report["notes"] = [*notes, *_notes(settings, asked, report)]
    return report


def _described(setting: Setting, metrics: Sequence[str]) -> dict[str, Any]:
    told: dict[str, Any] = {"name": setting.name, "training": setting.training, "runs": list(setting.runs)}
    if setting.folds:
        told["folds"] = [len(np.unique(fold)) for fold in setting.folds]
    own = [metric for metric in metrics if setting.folds or not metric.endswith(WITHIN)]
    return {**told, "metrics": {metric: setting.described(metric) for metric in own}}


def _differences(
    first: Setting, second: Setting, metrics: Sequence[str], margins: Mapping[str, float], *, classes: bool
) -> list[dict[str, Any]]:
    parts = []
    names = first.predictions[0].labels.names
    for metric in metrics:
        if metric.endswith(WITHIN) and not (first.folds and second.folds):
            continue
        plain = metric.removesuffix(WITHIN)
        for k in [None, *(range(len(names)) if classes and not first.overall(plain) else ())]:
            told = described_difference(
                first.estimate(metric, k), second.estimate(metric, k), first.interval, margins.get(metric, margins.get(plain)),
                higher_is_better=higher_is_better(plain),
            )  # fmt: skip
            of = {} if k is None else {"class": names[k]}
            parts.append({"first": first.name, "second": second.name, "metric": metric, **of, **told})
    return parts


def _delong(first: Setting, second: Setting) -> list[dict[str, Any]]:
    """Return DeLong's test of every class, of settings of one run each; of two exclusive classes both are the same."""
    if len(first.runs) > 1 or len(second.runs) > 1 or first.folds or second.folds:
        return []
    one, two = first.data[0], second.data[0]
    if one.labels.kind == "regression":
        return []
    found = []
    for k in range(1 if one.labels.exclusive and one.labels.width == 2 else 0, one.labels.width):
        rows = one.observed[:, k]
        test = delong(one.scores[rows, k], two.scores[rows, k], one.truth[rows, k] == 1)
        if test is not None:
            told = {"first_value": test.areas[0], "second_value": test.areas[1], **asdict(test)}
            told.pop("areas")
            found.append({"first": first.name, "second": second.name, "class": one.labels.names[k], **told})
    return found


def _against_readers(
    settings: Sequence[Setting], readers: Sequence[Reader], asked: Asked, margins: Mapping[str, float]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the readers' figures, and each setting's differences from each of them and from their mean."""
    part, truth, interval = settings[0].predictions[0], settings[0].data[0], settings[0].interval
    groups, unit = list(part.group), part.split_unit

    def with_mean(each: Sequence[Mapping[str, Estimate]]) -> list[Mapping[str, Estimate]]:
        means = {metric: mean_estimate([one[metric] for one in each]) for metric in METRICS}
        return [*each, means] if len(each) > 1 else list(each)

    names = [reader.name for reader in readers] + [MEAN_READER] * (len(readers) > 1)
    theirs = with_mean([answer_estimates(reader.said, reader.read, truth, groups, interval, unit) for reader in readers])
    told = [
        {"name": name, "metrics": {metric: one[metric].described(interval) for metric in METRICS}}
        for name, one in zip(names, theirs, strict=True)
    ]
    parts = []
    for setting in settings:
        runs = []
        for data in setting.data:
            said = model_answers(data, asked.threshold)
            runs.append(with_mean([answer_estimates(said, one.read, data, groups, interval, unit) for one in readers]))
        for place, name in enumerate(names):
            for metric in METRICS:
                ours = mean_of_runs([run[place][metric] for run in runs], interval.seed, setting.name)
                difference = described_difference(
                    theirs[place][metric], ours, interval, margins.get(metric), higher_is_better=True
                )
                parts.append({"first": name, "second": setting.name, "metric": metric, **difference})
    return told, parts


def _notes(settings: Sequence[Setting], asked: Asked, report: Mapping[str, Any]) -> list[str]:
    """Return what a reader of the figures must know of them."""
    unit, notes = report["interval"]["unit"], []
    if unit in NO_PATIENT:
        notes.append(f"the dataset knows no patient: intervals and p-values are per {unit} and may claim too much")
    if report["split"] == "val":
        notes.append("epochs were chosen by the split that is compared, val: its figures flatter every model")
    if any(setting.folds for setting in settings):
        notes.append(
            "folds are pooled, each patient once; scores of different folds are of different models and not on one scale, so "
            "metrics of ranks over the pool stand beside their mean within folds"
        )
    if any(len(setting.runs) > 1 for setting in settings):
        notes.append(
            "means over runs: patients are redrawn, the same for all runs, and in each replicate the runs, too; few runs "
            "understate how far seeds scatter, so their standard deviation (±) stands beside the interval"
        )
    smallest, tests = report["p"]["smallest"], report["p"]["tests"]
    if tests * smallest > 1 - asked.interval.level:
        enough = int(np.ceil(2 * tests / (1 - asked.interval.level)))
        notes.append(
            f"{tests} tests on {asked.interval.replicates} replicates: no p-value corrected for all of them need be below "
            f"{1 - asked.interval.level:.2g}, whatever the difference; --replicates {enough} and more can tell"
        )
    if "delong" in report and report["groups"] < report["samples"]:
        notes.append(
            f"DeLong's test takes every image to be independent, and here are {report['samples']} of {report['groups']} "
            f"{unit} groups: it is a cross-check, not the result"
        )
    if "readers" in report:
        notes.append("readers are taken as they are: intervals redraw patients, not readers, and tell nothing of other readers")
    return notes
