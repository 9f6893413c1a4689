"""The calibration part of a report: what it holds for each kind of labels, what is masked, and why something is undefined."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from medzoo.data.labels import LabelKind, LabelSpace
from medzoo.evaluation.bootstrap import NO_INTERVAL, Interval
from medzoo.evaluation.calibration.bins import Binned, equal_mass
from medzoo.evaluation.calibration.measures import calibration_report
from medzoo.evaluation.calibration.reliability import reliability_rows
from medzoo.evaluation.metrics import Scored, all_metrics, scored

PARTS = {"reliability": 1, "resolution": -1, "uncertainty": 1, "within_bin_variance": 1, "within_bin_covariance": -1}


def cohort(kind: LabelKind, width: int, n: int = 240, seed: int = 0) -> tuple[LabelSpace, np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    labels = LabelSpace(kind, tuple(f"c{k}" for k in range(width)))
    logits = rng.normal(0, 2, (n, width)).astype(np.float32)
    if kind == "multilabel":
        targets = (rng.random(logits.shape) < 1 / (1 + np.exp(-0.5 * logits))).astype(np.float32)
    else:
        shares = np.exp(0.5 * logits) / np.exp(0.5 * logits).sum(axis=1, keepdims=True)
        targets = labels.one_hot([rng.choice(width, p=row / row.sum()) for row in shares.astype(float)])
    return labels, targets, logits, [f"p{i // 2}" for i in range(n)]


def report(
    labels: LabelSpace, targets: np.ndarray, logits: np.ndarray, groups: list[str], interval: Interval = NO_INTERVAL
) -> dict:
    found = calibration_report(scored(labels, targets, logits), groups, interval, 10, "patient")
    json.dumps(found, allow_nan=False)
    return found


@pytest.mark.parametrize(("kind", "width"), [("multiclass", 4), ("multiclass", 2), ("ordinal", 3), ("multilabel", 3)])
def test_brier_and_error_are_the_metrics_and_the_parts_add_up(kind: LabelKind, width: int) -> None:
    labels, targets, logits, groups = cohort(kind, width)
    targets[:9] = np.nan
    found = report(labels, targets, logits, groups)
    data = scored(labels, targets, logits)
    classes, overall = all_metrics(data, np.ones((1, len(groups))), 10)
    for name in ("brier", "ece"):
        own = overall[name][0] if name in overall else classes[name][0].mean()
        assert found[name]["value"] == pytest.approx(own, rel=1e-9)
    assert sum(sign * found[name]["value"] for name, sign in PARTS.items()) == pytest.approx(found["brier"]["value"], rel=1e-9)


def test_missing_labels_change_nothing_but_the_samples() -> None:
    for kind in ("multiclass", "multilabel"):
        labels, targets, logits, groups = cohort(kind, 2)  # type: ignore[arg-type]
        more = np.concatenate([targets, np.full((7, 2), np.nan, np.float32)])
        padded = report(labels, more, np.concatenate([logits, logits[:7] * 3]), [*groups, *groups[:7]])
        assert padded == report(labels, targets, logits, groups)


def test_one_finding_may_be_missing_where_another_is_known() -> None:
    labels, targets, logits, groups = cohort("multilabel", 2)
    targets[::3, 0] = np.nan
    found = report(labels, targets, logits, groups)
    keep = ~np.isnan(targets[:, 0])
    one = LabelSpace("multilabel", ("c0",))
    alone = report(one, targets[keep][:, :1], logits[keep][:, :1], [g for g, k in zip(groups, keep, strict=True) if k])
    for name in ("ece_equal_mass", "slope", "intercept", "in_the_large", "resolution"):
        assert found[name]["classes"]["c0"]["value"] == pytest.approx(alone[name]["value"], rel=1e-9)


def test_classwise_error_by_hand_and_by_torchmetrics_of_the_top_class() -> None:
    labels, targets, logits, groups = cohort("multiclass", 3, seed=4)
    found = report(labels, targets, logits, groups)
    data = scored(labels, targets, logits)
    theirs = multiclass_calibration_error(
        torch.tensor(data.probabilities), torch.tensor(targets).argmax(dim=1), num_classes=3, n_bins=10, norm="l1"
    )
    assert found["ece"]["value"] == pytest.approx(float(theirs), abs=1e-6)
    expected = []
    for k in range(3):  # Kull et al. 2019: sum over bins of share times |frequency - mean probability|
        place = np.clip(np.ceil(data.probabilities[:, k] * 10).astype(int) - 1, 0, 9)
        gaps = [abs((targets[place == b, k] - data.probabilities[place == b, k]).sum()) for b in range(10)]
        expected.append(sum(gaps) / len(targets))
        assert found["ece_of_class"]["classes"][f"c{k}"]["value"] == pytest.approx(expected[-1], rel=1e-6)
    assert found["classwise_ece"]["value"] == pytest.approx(np.mean(expected), rel=1e-6)
    top, right = data.probabilities.max(axis=1), data.probabilities.argmax(axis=1) == targets.argmax(axis=1)
    mass = Binned.of(top, right.astype(float), np.ones((1, len(top))), equal_mass(top, 10)).expected_error()[0]
    assert found["ece_equal_mass"]["value"] == pytest.approx(mass)


def test_slope_is_of_findings_and_two_classes() -> None:
    labels, targets, logits, groups = cohort("multiclass", 2, 4000)
    found = report(labels, targets, logits, groups)
    assert found["slope"]["value"] == pytest.approx(0.5, abs=0.05)  # labels were drawn at half the logits
    assert "slope" not in report(*cohort("multiclass", 3))
    labels, targets, logits, groups = cohort("multilabel", 2, 4000)
    assert report(labels, targets, logits, groups)["slope"]["classes"]["c1"]["value"] == pytest.approx(0.5, abs=0.05)


def test_what_is_undefined_says_why() -> None:
    labels, targets, logits, groups = cohort("multilabel", 4)
    targets[:, 0], targets[:, 1], targets[:, 2] = 0, np.nan, (logits[:, 2] > 0)
    slope = report(labels, targets, logits, groups)["slope"]
    assert set(slope["undefined"]) == {"c0", "c1", "c2"}
    assert slope["undefined"]["c0"] == "no positive sample"
    assert slope["undefined"]["c1"] == "every label is missing"
    assert "no finite slope" in slope["undefined"]["c2"]
    assert slope["value"] == slope["classes"]["c3"]["value"]
    two = LabelSpace("multiclass", ("a", "b"))
    alone = report(two, two.one_hot(np.zeros(40)), logits[:40, :2], groups[:40])
    assert alone["slope"] == {"value": None, "low": None, "high": None, "undefined": "no positive sample"}
    quantity = LabelSpace("regression", ("mm",))
    assert report(quantity, logits[:, :1], logits[:, :1], groups) == {"not_measured": "quantities have no probabilities"}


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_intervals_surround_the_values_and_are_of_patients(kind: LabelKind) -> None:
    labels, targets, logits, groups = cohort(kind, 2, 400)
    found = report(labels, targets, logits, groups, Interval(200))
    for name, value in found.items():
        if name != "bins":
            assert value["low"] <= value["value"] <= value["high"], name
    more = report(labels, targets, logits, groups, Interval(300))
    assert more["slope"] == {**found["slope"], "replicates": 200}
    assert more["ece"] != found["ece"]
    few = report(labels, targets, logits, [f"p{i % 4}" for i in range(400)], Interval(200))
    assert few["ece"]["low"] is None
    assert "at least 5 are needed" in few["ece"]["no_interval"]


def rows(data: Scored, groups: list[str], interval: Interval = NO_INTERVAL) -> list[dict]:
    return reliability_rows(data, groups, interval, 5)


def test_rows_of_the_diagram_have_intervals_of_patients() -> None:
    """One bin, 40 patients of two images, half of them right in both and half in neither: patients are redrawn, not images."""
    labels = LabelSpace("multiclass", ("a", "b"))
    truth = np.repeat(np.arange(40) % 2, 2)
    data = scored(labels, labels.one_hot(truth), np.tile(np.float32([1.0, 0]), (80, 1)))
    row = next(row for row in rows(data, [f"p{i // 2}" for i in range(80)], Interval(2000)) if row["count"])
    assert row["frequency"] == 0.5
    wide = row["frequency_high"] - row["frequency_low"]
    assert wide == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 40), rel=0.15)
    assert {"low", "high", "count", "confidence", "frequency"} < set(row)
    few = next(row for row in rows(data, [f"p{i // 20}" for i in range(80)], Interval(50)) if row["count"])
    assert few["frequency_low"] is None
    assert "4 groups in the bin" in few["no_interval"]


def test_rows_count_every_known_finding() -> None:
    labels, targets, logits, groups = cohort("multilabel", 3)
    targets[::4, 1] = np.nan
    data = scored(labels, targets, logits)
    found = rows(data, groups)
    assert sum(row["count"] for row in found) == int(data.observed.sum())
    in_bin = data.observed & (data.probabilities > 0.4) & (data.probabilities <= 0.6)
    assert found[2]["confidence"] == pytest.approx(data.probabilities[in_bin].mean())
    assert found[2]["frequency"] == pytest.approx(data.truth[in_bin].mean())
    assert all(row["frequency"] is None for row in found if not row["count"])
