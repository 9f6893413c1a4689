"""What a served file says of itself: card, labels, preprocessing, what it was proven with, and its limits in plain words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medzoo.data.operating_points import OperatingPoints
from medzoo.export.files.integrity import read_metadata
from medzoo.export.runtime.model import OnnxModel
from medzoo.export.service.kinds.kind import Kind

NOT_A_DEVICE = "Research software: not a medical device. Not for diagnosis or treatment."
METRICS = "metrics.json"
"""Of the run, where it lies beside the file."""
CARD, LONGEST_CARD = "README.md", 200_000
"""The model's card, where it lies beside the file, and the most letters that are taken for one."""
SHOWN = ("auroc", "accuracy", "kappa", "mae", "ap", "ece")
"""Figures of the report that are repeated, where it has them."""


def about(name: str, path: Path, model: OnnxModel, kind: Kind, *, classes_by_text: bool) -> dict[str, Any]:
    """Return what `/model` answers.

    Args:
        name: What requests call it.
        path: Its file.
        model: The same, opened.
        kind: What a sample of it is.
        classes_by_text: Whether a text tower beside it turns classes that a request names into its vectors.
    """
    report = json.loads(read_metadata(path, "medzoo.report") or "{}")
    data, labels = model.spec["data"], model.labels
    preprocess = model.spec["preprocess"]
    told: dict[str, Any] = {
        "name": name,
        "file": path.name,
        "sha256": read_metadata(path, "medzoo.sha256"),
        "medzoo": read_metadata(path, "medzoo.version"),
        "licence": read_metadata(path, "medzoo.licence"),
        "architecture": model.spec.get("architecture"),
        "precision": report.get("precision"),
        "data": {key: data[key] for key in ("name", "title", "modality", "citation", "notes", "samples") if data.get(key)},
        "labels": None if labels is None else labels.to_dict(),
        **({"targets": {name: own.to_dict() for name, own in model.targets.items()}} if model.targets else {}),
        "concepts": model.spec.get("concepts"),
        "preprocess": preprocess,
        "window": data.get("window"),
        "inputs": [given.name for given in kind.tensors()],
        "outputs": list(model.outputs),
        **kind.described(),
        "classes_by_text": classes_by_text,
        "map_of": ("concepts" if model.concepts else "labels") if "map" in model.outputs else None,
        "calibrated_by": None if model.calibrator is None else model.calibrator.method,
        "operating_points": None if model.points is None else _points(model.points),
        "prediction_sets": None if model.conformal is None else {"coverage": model.conformal.coverage},
        "proof": report or None,
        "test": measured(path.parent / METRICS, report.get("weights")),
        "card": card(path.parent / CARD),
        "notice": NOT_A_DEVICE,
    }
    return {**told, "limits": limits_in_words(told)}


def card(path: Path) -> str | None:
    """Return the text of a model card in Hugging Face's form, which begins with its metadata; None unless there is one."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(LONGEST_CARD + 1)
    except (OSError, UnicodeDecodeError):
        return None
    return text if text.startswith("---\n") and len(text) <= LONGEST_CARD else None


def _points(points: OperatingPoints) -> dict[str, dict[str, float | None]]:
    """Return rule → class → threshold, as a probability."""
    described = points.to_dict()["points"]
    return {point["rule"]: {name: part["threshold"] for name, part in point["classes"].items()} for point in described}


def measured(path: Path, weights: str | None) -> dict[str, Any] | None:
    """Return the test figures of a run's report, with their intervals; None unless it is there and of the same weights."""
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        if weights is None or metrics["details"]["weights"] != weights:
            return None
        test = metrics["splits"]["test"]
        found = {key: test["metrics"][key] for key in SHOWN if key in test["metrics"]}
        figures = {key: {part: value[part] for part in ("value", "low", "high")} for key, value in found.items()}
        return {"samples": test["samples"], "groups": test["groups"], "unit": metrics["interval"]["unit"], "figures": figures}
    except (OSError, ValueError, KeyError, TypeError):  # a report of another kind, or none: nothing is repeated of it
        return None


def limits_in_words(told: Mapping[str, Any]) -> list[str]:
    """Return what a reader must know before believing an answer, as sentences."""
    data, sets = told["data"], told["prediction_sets"]
    learnt = data.get("title") or data.get("name") or "data that the file does not name"
    lines = [
        f"It has learnt from {learnt}. Of other scanners, populations or kinds of image its answers may be wrong without a sign.",
        *data.get("notes", ()),
    ]
    if told["labels"] is not None and told["labels"]["kind"] != "regression":
        lines.append("It knows its own labels alone: an image that shows something else is given one of them all the same.")
        lines.append(
            f"Its probabilities were calibrated ({told['calibrated_by']}) on validation data, for its prevalence."
            if told["calibrated_by"]
            else "Its probabilities were not calibrated after training: read them as scores."
        )
    if sets is not None:
        lines.append(
            f"Prediction sets hold the truth for {sets['coverage']:.0%} of images like the validation data, on average over all."
        )
    if told["operating_points"]:
        lines.append("Calls follow thresholds that were chosen on validation data.")
    if told["takes"] == "samples":
        lines.append("What is left out of a sample is missing to it: an answer from less is an answer of less.")
    if told.get("bag", {}).get("attention"):
        lines.append("Attention says which members of a case were taken into account, not that it was right.")
    if told["map_of"]:
        lines.append("A map shows what the model used, not where disease is.")
    if told["test"] is None:
        lines.append("No test figures of these weights lie beside the file.")
    return [*lines, NOT_A_DEVICE]
