from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medzoo.data.errors import EvaluationError
from medzoo.data.labels import LabelSpace
from medzoo.evaluation.bootstrap import Interval
from medzoo.evaluation.predictions import Predictions
from medzoo.evaluation.report import evaluate, format_report, write_metrics

LABELS = LabelSpace("multiclass", ("a", "b", "c"))


def predictions(samples: int = 120, per_group: int = 3, seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    codes = rng.integers(3, size=samples)
    logits = (rng.normal(size=(samples, 3)) + 1.5 * np.eye(3)[codes]).astype(np.float32)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return Predictions(
        labels=LABELS,
        sample_id=np.array([f"s{i}" for i in range(samples)], dtype=object),
        split=np.array(["test"] * samples, dtype=object),
        group=np.array([f"p{i // per_group}" for i in range(samples)], dtype=object),
        targets=LABELS.one_hot(codes),
        logits=logits,
        probabilities=p.astype(np.float32),
        subgroups=pd.DataFrame({"sex": rng.choice(["F", "M", None], samples), "age": rng.integers(1, 95, samples)}),
        spec_hash="x",
        split_unit="patient",
    )


def test_a_written_file_comes_back(tmp_path: Path) -> None:
    given = predictions()
    given.write(tmp_path / "p.parquet")
    back = Predictions.read(tmp_path / "p.parquet")
    for name in ("sample_id", "split", "group", "targets", "logits", "probabilities"):
        np.testing.assert_array_equal(getattr(back, name), getattr(given, name))
    assert back.labels == given.labels
    assert back.split_unit == "patient"
    assert list(back.subgroups.columns) == ["sex", "age"]


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    predictions().write(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(EvaluationError, match="damaged"):
        Predictions.read(path)
    with pytest.raises(EvaluationError, match="no predictions"):
        Predictions.read(tmp_path / "absent.parquet")


def test_every_metric_has_an_interval_around_it_and_subgroups() -> None:
    report = evaluate(predictions(), splits=["test"], interval=Interval(200))
    part = report["splits"]["test"]
    for metric in part["metrics"].values():
        assert metric["low"] <= metric["value"] <= metric["high"] or metric["high"] - metric["low"] < 0.2
        assert metric["low"] < metric["high"]
    assert set(part["subgroups"]["sex"]) == {"F", "M", "missing"}
    assert sum(level["samples"] for level in part["subgroups"]["age"].values()) == 120
    assert sum(row["count"] for row in part["reliability"]) == 120
    assert "auroc" in format_report(report, "test")


def test_the_interval_is_wider_when_samples_of_a_group_agree() -> None:
    base = predictions(samples=60, per_group=1)
    repeated = np.repeat(np.arange(60), 6)
    many = base.take(np.ones(60, bool))
    copies = replace(
        many,
        **{n: getattr(many, n)[repeated] for n in ("sample_id", "split", "group", "targets", "logits", "probabilities")},
        subgroups=many.subgroups.iloc[repeated].reset_index(drop=True),
    )
    by_image = replace(copies, group=np.array([str(i) for i in range(360)], dtype=object))

    def width(p: Predictions) -> float:
        metric = evaluate(p, splits=["test"], interval=Interval(400))["splits"]["test"]["metrics"]["auroc"]
        return float(metric["high"] - metric["low"])

    assert width(copies) > 1.8 * width(by_image)
    assert width(copies) == pytest.approx(width(base), rel=0.25)


@pytest.mark.parametrize("which", ["one image", "all missing", "constant", "one group"])
def test_hopeless_splits_are_reported_without_nan(which: str, tmp_path: Path) -> None:
    given = predictions()
    if which == "one image":
        given = given.take(np.arange(120) == 0)
    elif which == "all missing":
        given = replace(given, targets=np.full_like(given.targets, np.nan))
    elif which == "constant":
        given = replace(given, targets=LABELS.one_hot(np.zeros(120)))
    else:
        given = replace(given, group=np.array(["p"] * 120, dtype=object))
    report = evaluate(given, splits=["test"], interval=Interval(50))
    write_metrics(tmp_path / "metrics.json", report)  # NaN would raise
    auroc = json.loads((tmp_path / "metrics.json").read_text())["splits"]["test"]["metrics"]["auroc"]
    if which == "one group":
        assert auroc["value"] is not None
        assert auroc["low"] is None
    else:
        assert auroc["value"] is None
        assert set(auroc["undefined"]) == {"a", "b", "c"}
