"""What a model says of one image, by name and ready for JSON: the same from the command line and over a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.labels import LabelSpace
from medzoo.data.operating_points import OperatingPoints


def said_of(
    outputs: Mapping[str, NDArray[Any]],
    labels: LabelSpace | None,
    concepts: Sequence[str] = (),
    points: OperatingPoints | None = None,
    targets: Mapping[str, LabelSpace] | None = None,
) -> dict[str, Any]:
    """Return what one image's outputs mean.

    Args:
        outputs: Output name → its row.
        labels: What `logits` and `probabilities` mean; None: all outputs are given as they are.
        concepts: Names of the `concepts` of a bottleneck.
        points: What `calls` are by; None: there are none.
        targets: What the outputs of each of several targets mean; None, or empty: there is one.

    Returns:
        `class` (of exclusive ones), `grade` and `expected_grade`, `probabilities` or `values` with `units`, `logits`,
        `prediction_set` or `prediction_interval`, `concepts`, `attention` (of members), `calls`: those there are. Of several
        targets `targets`, target → its own.
    """
    if targets:
        return {"targets": {name: said_of(outputs_of(outputs, name), own) for name, own in targets.items()}}
    if labels is None:
        return {name: row.tolist() for name, row in outputs.items()}
    values = [float(v) for v in outputs["probabilities"]]
    by_name = dict(zip(labels.names, values, strict=True))
    sets, intervals = outputs.get("prediction_set"), outputs.get("prediction_interval")
    said: dict[str, Any] = {}
    if labels.exclusive:
        said["class"] = max(by_name, key=by_name.__getitem__)
    if labels.kind == "ordinal":
        said["grade"] = values.index(max(values))
        said["expected_grade"] = sum(grade * p for grade, p in enumerate(values))
    said["values" if labels.kind == "regression" else "probabilities"] = by_name
    if labels.units is not None:
        said["units"] = dict(zip(labels.names, labels.units, strict=True))
    if labels.kind != "regression":
        said["logits"] = dict(zip(labels.names, map(float, outputs["logits"]), strict=True))
    if sets is not None:
        said["prediction_set"] = [n for n, inside in zip(labels.names, sets, strict=True) if inside]
    if intervals is not None:
        said["prediction_interval"] = {n: list(map(float, ends)) for n, ends in zip(labels.names, intervals, strict=True)}
    if concepts:
        said["concepts"] = dict(zip(concepts, map(float, outputs["concepts"]), strict=True))
    if "attention" in outputs:
        said["attention"] = [float(weight) for weight in outputs["attention"] if not np.isnan(weight)]
    if points is not None:
        said["calls"] = points.by_name(outputs["calls"])
    return said


def outputs_of(outputs: Mapping[str, NDArray[Any]], target: str) -> dict[str, NDArray[Any]]:
    """Return the outputs of one of several targets, as a model of it alone names them."""
    begin = f"{target}."
    return {name.removeprefix(begin): row for name, row in outputs.items() if name.startswith(begin)}
