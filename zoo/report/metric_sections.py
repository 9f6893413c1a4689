"""Sections of one split's figures: summary, classes, curves, confusion, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medzoo.evaluation.metrics import Scored, scored
from medzoo.evaluation.monitor import LOWER_IS_BETTER
from medzoo.evaluation.predictions import Predictions
from medzoo.report.blocks import Block, Cell, Drawing, Note, Section, Table, count, measured, pointer
from medzoo.report.drawings import Line, heat, panels, scatter, thinned

FIRST = 3
"""So many of each kind of what a reader should look at first are shown at the top."""
PANELS = 12
"""Curves of so many classes are drawn, those that are worst; the table has all."""
HEAT = 25
"""Up to so many classes a confusion table is drawn; of more the commonest confusions are listed."""
CONFUSIONS = 30
WRITTEN = {
    "auroc": "AUROC", "ap": "average precision", "ece": "ECE", "ece_equal_mass": "ECE, equal mass", "mce": "MCE",
    "classwise_ece": "classwise ECE", "classwise_ece_equal_mass": "classwise ECE, equal mass", "brier": "Brier", "nll": "NLL",
    "mae": "MAE", "rmse": "RMSE", "r2": "R²", "f1": "F1", "top3_accuracy": "top-3 accuracy", "top5_accuracy": "top-5 accuracy",
}  # fmt: skip
HEADLINE = {
    "multiclass": ("auroc", "balanced_accuracy", "accuracy", "ece"),
    "ordinal": ("kappa", "auroc", "accuracy", "mae"),
    "multilabel": ("auroc", "ap", "balanced_accuracy", "ece"),
    "regression": ("mae", "rmse", "r2", "spearman"),
}
"""What a reader wants first, by kind of labels."""


def summary(report: Mapping[str, Any], splits: Sequence[str]) -> Section:
    """Return the headline figures of each split and every note of the report."""
    names = HEADLINE[report["labels"]["kind"]]
    rows = []
    for split in splits:
        part = report["splits"][split]
        cells = [Cell(split), count(part["samples"], pointer("splits", split, "samples")),
                 count(part["groups"], pointer("splits", split, "groups"))]  # fmt: skip
        for name in names:
            metric = part["metrics"].get(name)
            cells.append(Cell("–") if metric is None else measured(metric, pointer("splits", split, "metrics", name)))
        rows.append(cells)
    interval = report["interval"]
    unit = interval["unit"]
    said = f"Value and {interval['level']:.0%} interval, {interval['method']}, {interval['replicates']:,} replicates"
    blocks: list[Block] = [Table(said, ["split", "samples", f"{unit} groups", *map(titled, names)], rows)]
    blocks += _look_first(report.get("attention", []))
    blocks += [Note(note, warns=True, source=pointer("notes", place)) for place, note in enumerate(report["notes"])]
    return Section("summary", "Summary", blocks)


def _look_first(entries: Sequence[Mapping[str, Any]]) -> list[Block]:
    """Return the first few entries of each kind, in their order, and how many more there are."""
    shown: list[Block] = []
    kinds = list(dict.fromkeys(entry["kind"] for entry in entries))
    for kind in kinds:
        places = [place for place, entry in enumerate(entries) if entry["kind"] == kind]
        shown += [Note(entries[k]["says"], warns=True, source=pointer("attention", k, "says")) for k in places[:FIRST]]
        if len(places) > FIRST:
            shown.append(Note(f"{kind}: {len(places) - FIRST} more in attention of metrics.json", warns=True))
    return shown


def metrics(report: Mapping[str, Any], split: str) -> Section:
    """Return every metric of a split, of the whole and per class."""
    part = report["splits"][split]
    rows = [
        [Cell(titled(name)), measured(metric, pointer("splits", split, "metrics", name)), Cell(_sense(name))]
        for name, metric in part["metrics"].items()
    ]
    for name, metric in part.get("extra", {}).items():
        rows.append([Cell(name), measured(metric, pointer("splits", split, "extra", name)), Cell("by torchmetrics")])
    blocks: list[Block] = [Table(f"Every metric, {split}", ["metric", "value", ""], rows)]
    by_class = {name: metric["classes"] for name, metric in part["metrics"].items() if metric.get("classes")}
    if by_class:
        names = list(next(iter(by_class.values())))
        table = []
        for name in names:
            first = next(iter(by_class))
            cells = [Cell(name)]
            if "positives" in by_class[first][name]:
                place = pointer("splits", split, "metrics", first, "classes", name, "positives")
                cells.append(count(by_class[first][name]["positives"], place))
            for metric, values in by_class.items():
                cells.append(measured(values[name], pointer("splits", split, "metrics", metric, "classes", name)))
            table.append(cells)
        counted = ["positive"] if "positives" in by_class[next(iter(by_class))][names[0]] else []
        what = "quantity" if report["labels"]["kind"] == "regression" else "class"
        blocks.append(Table(f"By {what}, {split}", [what, *counted, *map(titled, by_class)], table, folded=len(names) > 20))
    return Section("metrics", "Metrics", blocks)


def curves(report: Mapping[str, Any], split: str, predictions: Predictions) -> Section:
    """Return ROC and precision–recall curves, or predicted against true values."""
    from sklearn.metrics import precision_recall_curve, roc_curve

    data, names = _scored(predictions), predictions.labels.names
    if predictions.labels.kind == "regression":
        known = [(name, k) for k, name in enumerate(names) if data.observed[:, k].any()][:PANELS]
        drawn = [(name, data.truth[data.observed[:, k], k], data.scores[data.observed[:, k], k]) for name, k in known]
        if not drawn:
            return Section("curves", "Curves")
        alt = f"Predicted against true values of {', '.join(name for name, _ in known)}"
        return Section("curves", "Predicted against true", [
            Drawing(scatter(drawn, "true", "predicted"), f"{split}, a point each", alt, "predictions.parquet")
        ])  # fmt: skip
    areas = report["splits"][split]["metrics"]["auroc"]["classes"]
    defined = [name for name in names if areas[name]["value"] is not None]
    chosen = set(sorted(defined, key=lambda name: areas[name]["value"])[:PANELS])
    places = [(name, k) for k, name in enumerate(names) if name in chosen]
    if not places:
        return Section("curves", "Curves", [Note("No class has both positive and negative samples: there is no curve.")])
    roc, recall = [], []
    for name, k in places:
        seen = data.observed[:, k]
        score, positive = data.scores[seen, k], data.truth[seen, k] == 1
        roc.append([Line(name, *thinned(*roc_curve(positive, score)[:2]))])
        precisions, recalls, _ = precision_recall_curve(positive, score)
        recall.append([Line(name, *thinned(recalls[:-1], precisions[:-1]))])  # its last point is of no sample
    precision = report["splits"][split]["metrics"]["ap"]["classes"]
    less = f"; the {len(places)} of {len(names)} with the least area" if len(places) < len(names) else ""
    shown = [name for name, _ in places]
    of_roc, of_recall = ([f"{metric[name]['value']:.3f}" for name in shown] for metric in (areas, precision))
    return Section("curves", "Curves", [
        Drawing(panels(roc, shown, "1 − specificity", "sensitivity", diagonal=True, values=of_roc),
                f"ROC, {split}; above each the area below it{less}",
                "Areas: " + ", ".join(map(" ".join, zip(shown, of_roc, strict=True))), "predictions.parquet"),
        Drawing(panels(recall, shown, "recall", "precision", values=of_recall),
                f"Precision and recall, {split}; above each the average precision{less}",
                ", ".join(map(" ".join, zip(shown, of_recall, strict=True))), "predictions.parquet"),
    ])  # fmt: skip


def confusion(split: str, predictions: Predictions) -> Section:
    """Return which classes are taken for which: a drawing of up to 25, else the commonest confusions."""
    if not predictions.labels.exclusive or predictions.labels.width < 2:
        return Section("confusion", "Confusion")
    from sklearn.metrics import confusion_matrix

    data, names = _scored(predictions), predictions.labels.names
    known, every = data.observed[:, 0], range(len(names))
    if not known.any():
        return Section("confusion", "Confusion", [Note("No sample has a label.")])
    chosen, truth = data.probabilities[known].argmax(axis=1), data.truth[known].argmax(axis=1)
    table = confusion_matrix(truth, chosen, labels=list(every))
    total = table.sum(axis=1, keepdims=True)
    shares = np.divide(table, total, out=np.zeros(table.shape), where=total > 0)
    wrong = [(int(table[i, j]), i, j) for i, j in np.argwhere(table) if i != j]
    wrong.sort(key=lambda entry: (-entry[0], entry[1], entry[2]))
    rows = [
        [Cell(names[i]), Cell(names[j]), count(n, ""), Cell(f"{shares[i, j]:.1%}", number=float(shares[i, j]))]
        for n, i, j in wrong[:CONFUSIONS]
    ]
    listed = Table(
        f"The commonest confusions, {split}",
        ["true", "predicted", "samples", "of the true class"],
        rows,
        folded=len(names) <= HEAT,
    )
    blocks: list[Block] = [listed] if rows else [Note("Every sample's class is right.")]
    if len(names) <= HEAT:
        right = int(np.trace(table))
        alt = f"{right} of {int(table.sum())} samples on the diagonal"
        caption = f"Samples by true and predicted class, {split}; colour: share of the true class"
        blocks.insert(0, Drawing(heat(shares, table, names), caption, alt, "predictions.parquet"))
    return Section("confusion", "Confusion", blocks)


def _scored(predictions: Predictions) -> Scored:
    return scored(predictions.labels, predictions.targets, predictions.logits)


def titled(metric: str) -> str:
    """Return a metric's name as people write it."""
    return WRITTEN.get(metric, metric.replace("_", " "))


def _sense(metric: str) -> str:
    return "less is better" if metric in LOWER_IS_BETTER else ""
