"""The report of groups of rows, beside the run's own and never over it: `by/<columns>/`."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

from medzoo.data.errors import ConfigError
from medzoo.evaluation.bootstrap import Interval
from medzoo.evaluation.calibration.recalibrate import calibrator_for, recalibrated
from medzoo.evaluation.decisions.report import Decisions
from medzoo.evaluation.grouped.groups import group_predictions
from medzoo.evaluation.predictions import Predictions
from medzoo.evaluation.report import evaluate, format_report, write_metrics
from medzoo.settings.evaluation import EvaluationConfig, by_columns
from medzoo.settings.metric_names import metric_texts
from medzoo.store.directory import RunDirectory


def report_groups(run: RunDirectory, config: EvaluationConfig, model: RunDirectory) -> dict[str, Any]:
    """Score what groups of a run's rows say together: metrics.json and predictions.parquet of `by/<columns>/`.

    Args:
        run: Where the rows' predictions are.
        config: How they are scored, `by` and `vote` among it.
        model: The run whose calibrator, fitted to rows, they pass first where one is asked for; of a test on other data it is
            not `run`, and no operating point is then chosen.

    Raises:
        ConfigError: If the folder holds the report of other columns of a like name.
    """
    columns = by_columns(config.by)
    rows = Predictions.read(run.predictions)
    if config.calibration != "none":
        rows = recalibrated(rows, calibrator_for(rows, config.calibration, model.calibration, fit=False))
    groups = group_predictions(rows, columns, config.vote)
    groups = groups.take_splits(config.splits)
    place = run.grouped("+".join(re.sub(r"[^\w.-]+", "-", column).strip("-.") or "column" for column in columns))
    if place.metrics.is_file() and (other := _columns_of(place)) != columns:
        raise ConfigError(f"{place.path} holds the groups by {', '.join(other)}; remove it, or rename a column")
    decisions = Decisions.of(config)
    if model != run:
        decisions = replace(decisions, rules=())
    interval = replace(Interval.of(config), expanded=config.interval == "expanded")
    report = evaluate(
        groups, splits=config.splits, interval=interval, bins=config.bins,
        extra=metric_texts(config.extra, "evaluation.extra"), decisions=decisions,
    )  # fmt: skip
    if config.conformal is not None:
        report["notes"].append("prediction sets are of the rows; none are made of groups")
    groups.write(place.predictions)
    write_metrics(place.metrics, report)
    print(f"by {', '.join(columns)}, {config.vote} of {len(rows)} rows: {place.path}")
    for split in report["splits"]:
        print(format_report(report, split))
    for note in report["notes"]:
        print(f"note: {note}")
    return report


def _columns_of(place: RunDirectory) -> list[str]:
    try:
        found: list[str] = json.loads(place.metrics.read_text(encoding="utf-8"))["details"]["by"]["columns"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{place.metrics} cannot be read ({type(error).__name__}); remove {place.path}") from error
    return found
