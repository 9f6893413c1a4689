"""Errors and areas by hand; a model that reads brightness alone, which brightness breaks and noise does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from medzoo.data.dataset import ArrayReader, Dataset
from medzoo.data.errors import ConfigError, EvaluationError, UnknownNameError
from medzoo.data.info import DatasetInfo
from medzoo.data.labels import LabelSpace
from medzoo.data.samples.corruptions import corrupted
from medzoo.evaluation.bootstrap import NO_INTERVAL, Estimate, Interval
from medzoo.evaluation.predictions import Predictions
from medzoo.evaluation.robustness.errors import (
    area_under_severities,
    as_error,
    corruption_error,
    relative_corruption_error,
)
from medzoo.evaluation.robustness.plot import plot_robustness
from medzoo.evaluation.robustness.report import (
    Curve,
    metric_of,
    read_robustness,
    require_same,
    robustness_lines,
    robustness_report,
)

LABELS = LabelSpace("multiclass", ("dark", "bright"))
INTERVAL = Interval(200, 0.95, 0)


def plain(value: float, *drawn: float) -> Estimate:
    return Estimate(value, np.array(drawn) if drawn else None)


def test_corruption_errors_by_hand() -> None:
    """The formulas of Hendrycks and Dietterich 2019, section 4.3, on numbers: AUROC 0.9 clean; 0.8 and 0.5 corrupted."""
    errors = [as_error(plain(value, value - 0.1, value), higher_is_better=True) for value in (0.8, 0.5)]
    clean = as_error(plain(0.9, 0.8, 0.9), higher_is_better=True)
    found = corruption_error(errors)
    assert found.value == pytest.approx((0.2 + 0.5) / 2)
    np.testing.assert_allclose(found.drawn, [0.45, 0.35])
    assert corruption_error(errors, [0.3, 0.6]).value == pytest.approx((0.2 + 0.5) / (0.3 + 0.6))
    assert relative_corruption_error(errors, clean).value == pytest.approx((0.1 + 0.4) / 2)
    relative = relative_corruption_error(errors, clean, [0.3, 0.6], 0.15)
    assert relative.value == pytest.approx((0.1 + 0.4) / (0.15 + 0.45))
    np.testing.assert_allclose(relative.drawn, [0.5 / 0.6, 0.5 / 0.6])  # clean and corrupted move together
    assert relative_corruption_error(errors, clean, [0.1, 0.1], 0.15).value is None  # the baseline lost nothing


def test_an_error_is_an_error_already_where_less_is_better() -> None:
    assert as_error(plain(0.3), higher_is_better=False).value == 0.3


def test_area_by_trapezoids_over_the_severities_tried() -> None:
    clean = plain(1.0, 1.0, 0.8)
    area = area_under_severities(clean, {1: plain(0.8, 0.8, 0.8), 3: plain(0.6, 0.6, 0.8), 5: plain(0.2, 0.2, 0.8)})
    assert area.value == pytest.approx(np.trapezoid([1.0, 0.8, 0.6, 0.2], [0, 1, 3, 5]) / 5)
    np.testing.assert_allclose(area.drawn, [area.value, 0.8])
    assert area_under_severities(clean, {5: plain(float("nan"))}).value is None
    assert area_under_severities(plain(0.7), {2: plain(0.7)}).value == pytest.approx(0.7)


def planted(rows: int = 400) -> Dataset:
    """Squares of a gray level that says the class, 96 of 255 or 144."""
    rng = np.random.default_rng(0)
    target = np.arange(rows) % 2
    levels = np.where(target == 1, 144, 96) + rng.integers(-30, 31, rows)
    pixels = np.clip(levels[:, None, None, None] + rng.integers(-9, 10, (rows, 1, 32, 32)), 0, 255).astype(np.uint8)
    table = pd.DataFrame(
        {
            "sample_id": [f"s{i}" for i in range(rows)], "split": "test", "group": [f"p{i // 4}" for i in range(rows)],
            "target": target.astype(np.float64), "array_index": np.arange(rows),
        }
    )  # fmt: skip
    info = DatasetInfo("made", "Made", "xray", "CC0-1.0", "", "", LABELS, split_unit="patient")
    return Dataset(info, table, ArrayReader(pixels), LABELS)


def by_brightness(dataset: Dataset, per_image: float = 0.0) -> Predictions:
    """What a model says that reads the mean alone: bright is above 120 of 255."""
    reader, rows = dataset.reader, dataset.table
    read = [reader.read(*(row[column] for column in reader.columns)) for _, row in rows.iterrows()]
    means = np.array([image.mean() for image in read])
    logits = np.stack([np.zeros(len(rows)), (means - 120) / 4], axis=1).astype(np.float32)
    odds = np.exp(logits.astype(np.float64))
    targets: NDArray[np.float32] = LABELS.one_hot(rows["target"].to_numpy())
    return Predictions(
        LABELS, rows["sample_id"].to_numpy(object), rows["split"].to_numpy(object), rows["group"].to_numpy(object), targets,
        logits, (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32), pd.DataFrame(index=rows.index), spec_hash="x",
        split_unit="patient",
    )  # fmt: skip


def measured(metric: str = "accuracy", baseline: Any = None) -> dict[str, Any]:
    dataset = planted()
    clean = by_brightness(dataset)
    curves = {}
    for name in ("brightness_up", "gaussian_noise"):
        curves[name] = Curve({"source": "s", "amounts": {}})
        for severity in (1, 3, 5):
            said = by_brightness(corrupted(dataset, name, severity, 0))
            curves[name].values[severity] = metric_of(said, metric, INTERVAL)
    before = metric_of(clean, metric, INTERVAL)
    details = {"data": {"name": "made"}, "draws": {"seed": 0}}
    return robustness_report(
        clean, metric, INTERVAL, before, curves, left_out={"jpeg": "jpeg is not for these"}, details=details, baseline=baseline
    )


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return measured()


def test_a_model_of_brightness_fails_under_brightness_and_not_under_noise(report: dict[str, Any]) -> None:
    assert 0.85 < report["clean"]["value"] < 0.95
    bright, noise = (report["corruptions"][name] for name in ("brightness_up", "gaussian_noise"))
    assert bright["severities"]["5"]["value"] < 0.65
    assert bright["severities"]["5"]["difference"]["high"] < -0.2
    assert abs(noise["severities"]["5"]["difference"]["value"]) < 0.1
    assert bright["area"]["value"] < noise["area"]["value"]
    assert bright["relative_error"]["value"] > 5 * abs(noise["relative_error"]["value"])
    assert report["mean_corruption_error"]["value"] == pytest.approx((bright["error"]["value"] + noise["error"]["value"]) / 2)


def test_differences_are_paired(report: dict[str, Any]) -> None:
    """Of a ranking, which brightness leaves as it is, the difference is 0 in every replicate: no width, whatever AUROC's is."""
    ranks = measured("auroc")
    point = ranks["corruptions"]["brightness_up"]["severities"]["1"]
    assert point["value"] == pytest.approx(ranks["clean"]["value"], abs=0.01)
    change = point["difference"]
    assert change["low"] is None or change["high"] - change["low"] < 0.02
    dataset = planted()
    said = by_brightness(corrupted(dataset, "brightness_up", 5, 0))
    score = said.logits[:, 1] - said.logits[:, 0]
    five = ranks["corruptions"]["brightness_up"]["severities"]["5"]["value"]
    assert five == pytest.approx(roc_auc_score(said.targets[:, 1], score), abs=1e-9)


def test_a_baseline_divides_and_is_refused_where_it_was_measured_otherwise(report: dict[str, Any]) -> None:
    itself = measured(baseline=report)
    assert itself["mean_corruption_error"]["value"] == pytest.approx(1)
    assert itself["corruptions"]["brightness_up"]["relative_error"]["value"] == pytest.approx(1)
    # Noise takes nothing from this model: what the baseline did not lose cannot be divided by.
    assert report["corruptions"]["gaussian_noise"]["relative_error"]["value"] <= 0
    assert itself["corruptions"]["gaussian_noise"]["relative_error"]["value"] is None
    assert itself["relative_mean_corruption_error"]["value"] is None
    assert not any("not divided" in note for note in itself["notes"])
    asked = {"split": "test", "metric": "accuracy", "data": {"name": "made"}, "draws": {"seed": 0}}
    require_same(report, Path("b.json"), asked, ["gaussian_noise"])
    with pytest.raises(ConfigError, match="its metric is accuracy, here auroc"):
        require_same(report, Path("b.json"), {**asked, "metric": "auroc"}, [])
    with pytest.raises(ConfigError, match=r"b\.json has no jpeg"):
        require_same(report, Path("b.json"), asked, ["jpeg"])


def test_what_a_terminal_and_a_file_say(report: dict[str, Any], tmp_path: Path) -> None:
    lines = robustness_lines(report)
    assert lines[0].startswith("test: 400 samples, 100 patient groups; accuracy 0.")
    assert any(line.startswith("  brightness_up") for line in lines)
    assert "  left out: jpeg is not for these" in lines
    assert plot_robustness(report)[:4] == b"\x89PNG"
    path = tmp_path / "robustness.json"
    path.write_text(json.dumps(report, allow_nan=False))
    assert read_robustness(path) == report
    path.write_text("{}")
    with pytest.raises(EvaluationError, match="damaged"):
        read_robustness(path)
    with pytest.raises(EvaluationError, match="make it with medzoo robustness run="):
        read_robustness(tmp_path / "none" / "robustness.json")


def test_an_unknown_metric_is_named() -> None:
    with pytest.raises(UnknownNameError, match="accuracy"):
        metric_of(by_brightness(planted(8)), "acuracy", NO_INTERVAL)
