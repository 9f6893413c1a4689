"""What `medzoo export` puts behind a model's logits: its calibrator and prediction sets, where they are of this very model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from medzoo.data.errors import ExportError
from medzoo.data.labels import LabelSpace
from medzoo.evaluation.calibration.fitted import Fitted
from medzoo.evaluation.calibration.prediction_sets import FittedSets
from medzoo.export.graph.calibrated import CalibratedGraph
from medzoo.export.graph.prediction_sets import PredictionSetGraph
from medzoo.export.settings import ExportConfig
from medzoo.models.places import NotLinearError
from medzoo.store.directory import RunDirectory
from medzoo.tasks.task import Task


def answering_graph(task: Task, run: RunDirectory, weights: str, config: ExportConfig) -> tuple[Any, dict[str, Any]]:
    """Return the graph to export, and what the report says of what was put behind the logits.

    Args:
        task: The model.
        run: Its run.
        weights: SHA-256 of its weights.
        config: The command's settings.

    Raises:
        EvaluationError: If the calibrator or the sets are missing, damaged or of another model, or the sets of other
            probabilities than the file will have.
        ExportError: If the graph has no probabilities.
    """
    graph: Any = _mapped(task) if config.map else task.deploy()
    told: dict[str, Any] = {"map": "of concepts" if task.bottleneck is not None else "of labels"} if config.map else {}
    if not config.calibrated and not config.conformal:
        return graph, told
    if tuple(graph.outputs[:2]) != ("logits", "probabilities"):
        raise ExportError("calibrated=true and conformal=true need a graph with logits and probabilities; leave them out")
    calibrator = None
    if config.calibrated:
        fitted = Fitted.read(run.calibration)
        fitted.require(run.calibration, task.spec.hash, weights, tta=0)
        calibrator = fitted.calibrator
        _require_labels(run.calibration, calibrator.labels, task)
        on = {"split": "val", "samples": fitted.samples, "groups": fitted.groups, "unit": fitted.unit}
        graph, told["calibrated"] = CalibratedGraph(graph, calibrator), {"method": calibrator.method, "fitted_on": on}
    if config.conformal:
        sets = FittedSets.read(run.conformal)
        sets.require(run.conformal, task.spec.hash, weights, 0, calibrator)
        _require_labels(run.conformal, sets.conformal.labels, task)
        if None in sets.conformal.widths:
            raise ExportError(
                f"{run.conformal} has no interval of some quantity, for want of val samples; leave out conformal=true"
            )
        graph = PredictionSetGraph(graph, sets.conformal)
        told["conformal"] = {"coverage": sets.conformal.coverage, "by": sets.conformal.by, "fitted_on": sets.fitted_on}
    return graph, told


def _mapped(task: Task) -> Any:
    try:
        return task.deploy_map()
    except NotLinearError as error:
        raise ExportError(f"map=true is for exact maps, which need no gradients: {error}; leave it out") from error


def _require_labels(path: Path, labels: LabelSpace, task: Task) -> None:
    if labels != task.spec.label_space:
        raise ExportError(f"{path} is of other labels than the model's; fit it again with medzoo evaluate")


def format_answers(report: Mapping[str, Any], run: RunDirectory) -> list[str]:
    """Return what a file's logits have passed, as lines for a terminal; where a calibrator was left out, too."""
    told = report.get("calibrated")
    if told is not None:
        on = told["fitted_on"]
        lines = [f"calibrated by {told['method']}, fitted on {on['samples']} val samples; the model's own logits: raw_logits"]
    elif run.calibration.is_file():
        lines = [f"note: the file has the model's own probabilities; calibrated=true puts {run.calibration.name} into it"]
    else:
        lines = []
    if (sets := report.get("conformal")) is not None:
        lines.append(
            f"prediction sets for a coverage of {sets['coverage']:g}, fitted on {sets['fitted_on']['samples']} val samples"
        )
    return lines


def left_of_targets(run: RunDirectory, targets: Iterable[str]) -> str | None:
    """Return a line of what was fitted to the single ones of several targets and stays behind; None where nothing was."""
    parts = [run.of_target(name) for name in targets]
    kept = {
        "operating points": any(part.operating_points.is_file() for part in parts),
        "calibrators": any(part.calibration.is_file() for part in parts),
        "prediction sets": any(part.conformal.is_file() for part in parts),
    }
    named = [name for name, there in kept.items() if there]
    if not named:
        return None
    listed = " and ".join(filter(None, (", ".join(named[:-1]), named[-1])))
    own = "; the file has the model's own probabilities" if kept["calibrators"] else ""
    return f"note: {listed} of several targets do not travel in the file, but stand in targets/ of the run{own}"
