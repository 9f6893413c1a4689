"""Disparity against fairlearn, scikit-learn and the published formulas, on cohorts whose gaps are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import MetricFrame, demographic_parity_difference, equalized_odds_difference
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from medzoo.data.labels import LabelSpace
from medzoo.evaluation.bootstrap import Interval, replicate_weights
from medzoo.evaluation.predictions import Predictions
from medzoo.evaluation.report import evaluate

BINARY = LabelSpace("multiclass", ("no", "yes"))
FINDINGS = LabelSpace("multilabel", ("a", "b"))
GRADES = LabelSpace("multiclass", ("a", "b", "c"))


def cohort(
    labels: LabelSpace, columns: dict[str, NDArray[Any]], targets: NDArray[np.float32], logits: NDArray[Any], per_group: int = 2
) -> Predictions:  # fmt: skip
    size = len(targets)
    return Predictions(
        labels=labels,
        sample_id=np.array([f"s{i}" for i in range(size)], dtype=object),
        split=np.array(["test"] * size, dtype=object),
        group=np.array([f"p{i // per_group}" for i in range(size)], dtype=object),
        targets=targets,
        logits=logits.astype(np.float32),
        probabilities=np.zeros_like(logits, dtype=np.float32),
        subgroups=pd.DataFrame(columns),
        split_unit="patient",
    )


def binary(size: int = 600, seed: int = 0, worse: float = 0.0) -> tuple[Predictions, NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return predictions, labels, log-odds and sites; those of site C carry `worse` more noise."""
    rng = np.random.default_rng(seed)
    y, site = rng.integers(2, size=size), np.repeat(rng.choice(["A", "B", "C"], size // 2), 2).astype(object)
    z = rng.normal(size=size) + 1.5 * (y - 0.4) + worse * rng.normal(size=size) * (site == "C")
    logits = np.stack([-z / 2, z / 2], axis=1)
    return cohort(BINARY, {"site": site}, BINARY.one_hot(y), logits), y, logits[:, 1] - logits[:, 0], site


def part(given: Predictions, replicates: int = 0, **asked: Any) -> dict[str, Any]:
    split: dict[str, Any] = evaluate(given, splits=["test"], interval=Interval(replicates), **asked)["splits"]["test"]
    return split


def test_gaps_and_ratios_are_those_of_fairlearn() -> None:
    given, y, z, site = binary()
    found = part(given)["disparity"]["site"]
    called = (np.float32(z) > 0).astype(int)
    for metric, function, values in (("accuracy", accuracy_score, called), ("auroc", roc_auc_score, z)):
        frame = MetricFrame(metrics=function, y_true=y, y_pred=values, sensitive_features=site)
        assert found[metric]["whole"] == pytest.approx(frame.overall, abs=1e-9)
        assert found[metric]["gap"]["value"] == pytest.approx(frame.difference(), abs=1e-9)
        assert found[metric]["ratio"]["value"] == pytest.approx(frame.ratio(), abs=1e-9)
        assert found[metric]["worst"] == {"level": frame.by_group.idxmin(), "value": pytest.approx(frame.group_min(), abs=1e-9)}
        for level, value in frame.by_group.items():
            assert found[metric]["levels"][level]["value"] == pytest.approx(value, abs=1e-9)
    odds, parity = found["equalised_odds"], found["demographic_parity"]
    assert list(odds["classes"]) == ["yes"]
    assert odds["value"] == pytest.approx(equalized_odds_difference(y, called, sensitive_features=site), abs=1e-9)
    assert parity["value"] == pytest.approx(demographic_parity_difference(y, called, sensitive_features=site), abs=1e-9)


@pytest.mark.parametrize("labels", [FINDINGS, GRADES])
def test_rates_of_several_classes_are_those_of_fairlearn_class_by_class(labels: LabelSpace) -> None:
    rng = np.random.default_rng(3)
    sex = np.repeat(rng.choice(["F", "M", None], 300), 2).astype(object)
    codes = rng.integers(labels.width, size=600)
    targets = GRADES.one_hot(codes) if labels.exclusive else rng.integers(2, size=(600, 2)).astype(np.float32)
    logits = (rng.normal(size=targets.shape) + 1.5 * targets - 0.6).astype(np.float32)
    found = part(cohort(labels, {"sex": sex}, targets, logits))["disparity"]["sex"]
    named = np.where(pd.isna(sex), "missing", sex)
    for k, name in enumerate(labels.names):
        y = targets[:, k]
        called = (logits.argmax(axis=1) == k if labels.exclusive else logits[:, k] > 0).astype(int)
        odds, parity = (found[what]["classes"][name] for what in ("equalised_odds", "demographic_parity"))
        assert odds["value"] == pytest.approx(equalized_odds_difference(y, called, sensitive_features=named), abs=1e-9)
        assert parity["value"] == pytest.approx(demographic_parity_difference(y, called, sensitive_features=named), abs=1e-9)
        assert {odds["tpr"]["worst"]["level"], odds["tpr"]["best"]["level"]} <= {"F", "M", "missing"}
    for what in ("equalised_odds", "demographic_parity"):
        assert found[what]["value"] == pytest.approx(np.mean([gap["value"] for gap in found[what]["classes"].values()]))


def test_scaled_disparities_are_those_of_the_authors() -> None:
    """FairVision: standard deviation, and range, of the groups' AUC over the whole's; AUC / (1 + sum of distances)."""
    given, y, z, site = binary(seed=1, worse=2.0)
    found = part(given)["disparity"]["site"]["auroc"]
    whole, own = roc_auc_score(y, z), np.array([roc_auc_score(y[site == s], z[site == s]) for s in "ABC"])
    assert found["mean_psd"]["value"] == pytest.approx(np.std(own) / whole, abs=1e-9)
    assert found["max_psd"]["value"] == pytest.approx((own.max() - own.min()) / whole, abs=1e-9)
    assert found["equity_scaled"]["value"] == pytest.approx(whole / (1 + np.abs(own - whole).sum()), abs=1e-9)
    assert found["worst"]["level"] == "C"


def test_disparity_follows_by_hand_from_the_subgroups_of_the_same_report() -> None:
    rng = np.random.default_rng(5)
    targets = GRADES.one_hot(rng.integers(3, size=500))
    age = rng.integers(1, 95, 500).astype(float)
    given = cohort(GRADES, {"age": age}, targets, rng.normal(size=(500, 3)) + targets)
    found = part(given)
    for metric, block in found["disparity"]["age"].items():
        if "levels" not in block:
            continue
        own = {level: told["metrics"][metric]["value"] for level, told in found["subgroups"]["age"].items()}
        assert {level: told["value"] for level, told in block["levels"].items()} == pytest.approx(own, abs=1e-9)
        assert block["whole"] == pytest.approx(found["metrics"][metric]["value"], abs=1e-9)
        assert block["gap"]["value"] == pytest.approx(max(own.values()) - min(own.values()), abs=1e-9)
    assert found["disparity"]["age"]["nll"]["worst"]["value"] > found["disparity"]["age"]["nll"]["best"]["value"]


def test_the_interval_of_a_gap_is_of_the_same_patients_in_every_level() -> None:
    """Two levels: the band of their difference, by hand from replicates of the whole split."""
    given, y, z, site = binary(400, seed=2)
    two = np.where(site == "A", "A", "B").astype(object)
    given = cohort(BINARY, {"site": two}, given.targets, given.logits)
    found = part(given, 500)["disparity"]["site"]["accuracy"]
    right = (np.float32(z) > 0).astype(int) == y
    codes = np.unique(given.group.astype(str), return_inverse=True)[1]
    weights = np.concatenate(list(replicate_weights(codes.astype(np.int64), 500, 0)))
    apart = [
        (w[two == "A"] @ right[two == "A"]) / w[two == "A"].sum() - (w[two == "B"] @ right[two == "B"]) / w[two == "B"].sum()
        for w in weights
    ]
    scaled = np.abs(np.array(apart) - np.mean(apart)) / np.std(apart, ddof=1)
    width = max(np.quantile(scaled, 0.95), 1.959963984540054) * np.std(apart, ddof=1)
    value = found["gap"]["value"]
    assert found["gap"]["low"] == pytest.approx(max(0.0, value - width), abs=1e-9)
    assert found["gap"]["high"] == pytest.approx(value + width, abs=1e-9)


def test_small_levels_are_shown_flagged_and_do_not_count() -> None:
    given, _, _, site = binary(600, seed=4)
    rare = site.copy()
    rare[:6] = "tiny"  # three patients
    given = cohort(BINARY, {"site": rare}, given.targets, given.logits)
    found = part(given, 50)
    assert found["subgroups"]["site"]["tiny"]["few"] == "3 patient groups, at least 5 are needed"
    assert "few" not in found["subgroups"]["site"]["A"]
    for metric in ("accuracy", "auroc"):
        block = found["disparity"]["site"][metric]
        assert block["levels"]["tiny"]["not_counted"].startswith("3 labelled patient groups")
        assert "tiny" not in (block["worst"]["level"], block["best"]["level"])
        counted = [told["value"] for told in block["levels"].values() if "not_counted" not in told]
        assert len(counted) == 3
        assert block["gap"]["value"] == pytest.approx(max(counted) - min(counted))
    assert found["disparity"]["site"]["equalised_odds"]["classes"]["yes"]["tpr"]["not_counted"].keys() == {"tiny"}


def test_a_class_that_one_level_lacks_is_compared_in_none() -> None:
    rng = np.random.default_rng(6)
    site = np.repeat(np.array(["A", "B"], dtype=object), 150)
    codes = np.where(site == "A", rng.integers(3, size=300), rng.integers(2, size=300))
    targets = GRADES.one_hot(codes)
    found = part(cohort(GRADES, {"site": site}, targets, rng.normal(size=(300, 3)) + targets))
    block = found["disparity"]["site"]["f1"]
    assert block["classes_compared"] == ["a", "b"]
    own = found["subgroups"]["site"]["B"]["metrics"]["f1"]
    assert set(own["undefined"]) == {"c"}
    assert block["levels"]["B"]["value"] == pytest.approx(own["value"], abs=1e-9)
    assert block["levels"]["A"]["value"] != pytest.approx(found["subgroups"]["site"]["A"]["metrics"]["f1"]["value"], abs=1e-6)


def test_quantities_of_different_units_are_compared_one_by_one() -> None:
    labels = LabelSpace("regression", ("size", "risk"), ("mm", "points"))
    rng = np.random.default_rng(7)
    site = np.repeat(np.array(["A", "B"], dtype=object), 60)
    truth = rng.normal(size=(120, 2)).astype(np.float32)
    error = np.where(site == "B", 0.5, 0.25)[:, None] * np.ones((1, 2))
    found = part(cohort(labels, {"site": site}, truth, truth + error))["disparity"]["site"]["mae"]
    assert found["no_mean"]
    for name in labels.names:
        block = found["classes"][name]
        assert (block["worst"]["level"], block["best"]["level"]) == ("B", "A")
        assert block["gap"]["value"] == pytest.approx(0.25, abs=1e-6)
        assert block["ratio"]["value"] == pytest.approx(0.5, abs=1e-6)


def test_gaps_of_levels_that_are_alike_may_be_0_and_are_seldom_said_not_to_be() -> None:
    """The plain percentile interval of a gap never holds 0: here most do, and no level is named worse than the rest."""
    rng = np.random.default_rng(8)
    wrong, named = 0, 0
    for seed in range(30):
        given, _, _, _ = binary(240, seed=100 + seed)
        random = np.repeat(rng.choice(list("ABCDEF"), 120), 2).astype(object)
        report = evaluate(cohort(BINARY, {"site": random}, given.targets, given.logits), splits=["test"], interval=Interval(200))
        wrong += report["splits"]["test"]["disparity"]["site"]["accuracy"]["gap"]["low"] > 0
        named += any(entry["kind"] == "worse subgroup" for entry in report["attention"])
    assert wrong <= 5  # 1.5 are expected
    assert named <= 5


def test_five_patients_all_right_are_not_surer_than_hundreds() -> None:
    given, y, _, site = binary(400, seed=9)
    site[:12] = "perfect"
    logits = given.logits.copy()
    logits[:12] = np.stack([1.0 - 2 * y[:12], 2.0 * y[:12] - 1], axis=1)
    found = part(cohort(BINARY, {"site": site}, given.targets, logits), 300)["disparity"]["site"]["accuracy"]["levels"]
    assert found["perfect"]["value"] == 1.0
    widths = {level: told["difference"]["high"] - told["difference"]["low"] for level, told in found.items()}
    assert widths["perfect"] > max(width for level, width in widths.items() if level != "perfect")


def test_f1_of_findings_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(11)
    sex = np.repeat(rng.choice(["F", "M"], 200), 2).astype(object)
    targets = rng.integers(2, size=(400, 2)).astype(np.float32)
    logits = (rng.normal(size=(400, 2)) + targets).astype(np.float32)
    block = part(cohort(FINDINGS, {"sex": sex}, targets, logits))["disparity"]["sex"]["f1"]
    for level in ("F", "M"):
        rows = sex == level
        assert block["levels"][level]["value"] == pytest.approx(
            f1_score(targets[rows], logits[rows] > 0, average="macro"), abs=1e-9
        )
