"""`evaluation.interval=expanded`: every interval of a report is wider by its own groups, and nothing else changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, t

from medzoo.data.errors import UnknownNameError
from medzoo.data.labels import LabelSpace
from medzoo.evaluation.bootstrap import Interval, Measured
from medzoo.evaluation.decisions.report import Decisions
from medzoo.evaluation.metrics import scored
from medzoo.evaluation.predictions import Predictions
from medzoo.evaluation.report import evaluate
from medzoo.settings.evaluation import EvaluationConfig, check_evaluation

LABELS = LabelSpace("multilabel", ("mass", "node"), parents=(("mass", "finding"), ("node", "finding")))


def predictions() -> Predictions:
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(30), 3)
    targets = (rng.random((90, 2)) < 0.5).astype(np.float32)
    logits = (2 * targets - 1 + rng.normal(0, 1.5, (90, 2))).astype(np.float32)
    sites = np.where(patients < 12, "north", "south")
    return Predictions(
        labels=LABELS, sample_id=np.arange(90).astype(str).astype(object), split=np.full(90, "val", dtype=object),
        group=patients.astype(str).astype(object), targets=targets, logits=logits,
        probabilities=(1 / (1 + np.exp(-logits))).astype(np.float32), subgroups=pd.DataFrame({"site": sites}),
        split_unit="patient",
    )  # fmt: skip


def pairs(one: Any, other: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield what stands at the same place in two reports: intervals as their ends, everything else as it is."""
    if isinstance(one, dict) and {"value", "low", "high"} <= set(one):
        yield f"{place}/value", one["value"], other["value"]
        yield place, (one["low"], one["high"]), (other["low"], other["high"])
    elif isinstance(one, dict) and isinstance(one.get("low"), list):  # a curve
        for number, ends in enumerate(zip(one["low"], one["high"], other["low"], other["high"], strict=True)):
            yield f"{place}/{number}", ends[:2], ends[2:]
        rest = [{key: value for key, value in part.items() if key not in ("low", "high")} for part in (one, other)]
        yield from pairs(*rest, place)
    elif isinstance(one, dict):
        assert list(one) == list(other), place
        for key in one:
            yield from pairs(one[key], other[key], f"{place}/{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), place
        for number, (a, b) in enumerate(zip(one, other, strict=True)):
            yield from pairs(a, b, f"{place}/{number}")
    else:
        yield place, one, other


def test_every_interval_is_wider_and_every_value_the_same() -> None:
    asked = Decisions.of(EvaluationConfig(operating_points=["youden"], decision_curve=[0.2, 0.4]))
    plain, wide = (
        evaluate(
            predictions(), splits=["val"], interval=Interval(200, expanded=expanded), decisions=asked,
            extra=("matthews_corrcoef",),
        )
        for expanded in (False, True)
    )  # fmt: skip
    assert plain["interval"]["method"] == "percentile bootstrap over patient groups"
    assert wide["interval"] == {**plain["interval"], "method": "expanded percentile bootstrap over patient groups"}
    wider = set()
    for place, one, other in pairs(plain["splits"], wide["splits"]):
        if not isinstance(one, tuple) or one[0] is None:
            assert one == other or place.split("/")[-1] in ("frequency_low", "frequency_high"), place
        elif "/disparity/" in place:  # bands of the largest deviation, which are another construction
            assert one == other, place
        else:
            assert other[0] <= one[0] <= one[1] <= other[1], place
            if other[1] - other[0] > one[1] - one[0]:
                wider.add(place.split("/")[2])
    assert wider == {"metrics", "extra", "calibration", "hierarchy", "subgroups", "operating_points", "decision_curve"}


def test_a_level_of_a_subgroup_is_expanded_by_its_own_patients() -> None:
    given = predictions()
    report = evaluate(given, splits=["val"], interval=Interval(400, expanded=True))
    for rows, patients, found in (
        (np.ones(90, bool), 30, report["splits"]["val"]["metrics"]["auroc"]),
        (
            given.subgroups["site"].to_numpy() == "north",
            12,
            report["splits"]["val"]["subgroups"]["site"]["north"]["metrics"]["auroc"],
        ),
    ):
        part = given.take(rows)
        drawn = Measured.of(scored(LABELS, part.targets, part.logits), list(part.group), Interval(400)).estimate("auroc").drawn
        tail = norm.cdf(-t.ppf(0.975, patients - 1) * np.sqrt(patients / (patients - 1)))
        assert drawn is not None
        wanted = np.quantile(drawn[~np.isnan(drawn)], [tail, 1 - tail])
        np.testing.assert_allclose([found["low"], found["high"]], wanted, rtol=1e-12)


def test_another_word_is_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"'bca' in evaluation\.interval"):
        check_evaluation(EvaluationConfig(interval="bca"))
