"""A whole comparison: what is compared with what, corrected over how many tests, and the page, the CSV and the JSON of it."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from medzoo.data.errors import EvaluationError
from medzoo.evaluation.bootstrap import Interval
from medzoo.evaluation.comparison.delong import delong
from medzoo.evaluation.comparison.page import as_text
from medzoo.evaluation.comparison.paired import Asked, aligned_settings, paired_report
from medzoo.evaluation.comparison.setting import Setting
from tests.zoo.evaluation.comparison.samples import predictions

INTERVAL = Interval(400)


def setting(name: str, *models: int, kind: str = "multilabel", skill: float = 1.0) -> Setting:
    parts = tuple(predictions(kind, model=model, skill=skill) for model in models)
    return Setting(name, "trained", tuple(f"{name}-{model}" for model in models), parts, (), INTERVAL)


def report(*settings: Setting, **asked: Any) -> dict[str, Any]:
    given = {"metrics": ("auroc", "brier"), "interval": INTERVAL, **asked}
    return paired_report(aligned_settings(settings), Asked(**given))


def test_each_is_compared_with_the_first_or_every_pair() -> None:
    three = [setting(name, model) for model, name in enumerate("abc")]
    assert {(one["first"], one["second"]) for one in report(*three)["differences"]} == {("a", "b"), ("a", "c")}
    pairs = {(one["first"], one["second"]) for one in report(*three, all_pairs=True)["differences"]}
    assert pairs == {("a", "b"), ("a", "c"), ("b", "c")}


def test_a_difference_is_redrawn_with_the_same_patients_and_says_which_way_is_better() -> None:
    weak, strong = setting("weak", 0, skill=0.3), setting("strong", 1, skill=3.0)
    found = {one["metric"]: one for one in report(weak, strong, margins=("0.01",))["differences"]}
    first, second = weak.estimate("auroc"), strong.estimate("auroc")
    assert first.drawn is not None
    assert second.drawn is not None
    assert (found["auroc"]["low"], found["auroc"]["high"]) == pytest.approx(INTERVAL.bounds(second.drawn - first.drawn))
    assert found["auroc"]["difference"] > 0
    assert found["brier"]["difference"] != 0
    assert found["auroc"]["verdict"] == "superior"
    back = {one["metric"]: one for one in report(strong, weak, margins=("0.01",))["differences"]}
    assert back["auroc"]["verdict"] == "inferior"
    assert back["auroc"]["p"] == found["auroc"]["p"] == pytest.approx(2 / 401)
    worse = found["brier"]["difference"] > 0  # an error: more of it is worse
    assert found["brier"]["verdict"] in (("inferior", "inconclusive") if worse else ("superior", "non-inferior"))


def test_holm_is_over_every_test_of_the_call_and_not_over_delong() -> None:
    settings = [setting(name, model) for model, name in enumerate("abc")]
    found = report(*settings, metrics=("auroc", "ap", "f1"), classes=True)
    parts = found["differences"]
    assert [one.get("class") for one in parts[:3]] == [None, "mass", "nodule"]
    assert len(parts) == found["p"]["tests"] == 18
    expected = multipletests([one["p"] for one in parts], method="holm")[1]
    np.testing.assert_allclose([one["p_holm"] for one in parts], expected)
    assert len(found["delong"]) == 4  # two findings of two pairs
    assert all("p_holm" not in one for one in found["delong"])


def test_too_few_replicates_for_so_many_tests_are_said() -> None:
    settings = [setting(name, model) for model, name in enumerate("abcdef")]
    notes = report(*settings, metrics=("auroc",), classes=True)["notes"]
    assert any("15 tests on 400 replicates" in note and "--replicates 600" in note for note in notes)
    assert not any("replicates:" in note for note in report(*settings[:2])["notes"])


def test_delong_stands_beside_with_its_caveat() -> None:
    found = report(setting("a", 0, kind="binary"), setting("b", 1, kind="binary"), metrics=("auroc",))
    (told,) = found["delong"]  # of two exclusive classes one area
    assert told["class"] == "malignant"
    one, two = predictions("binary", model=0), predictions("binary", model=1)
    oracle = delong(one.logits[:, 1] - one.logits[:, 0], two.logits[:, 1] - two.logits[:, 0], one.targets[:, 1] == 1)
    assert oracle is not None
    assert told["p"] == pytest.approx(oracle.p)
    assert told["difference"] == pytest.approx(found["differences"][0]["difference"])
    assert any("120 of 40 patient groups: it is a cross-check" in note for note in found["notes"])


def test_rows_that_differ_are_refused() -> None:
    other = Setting("b", "", ("b-0",), (predictions(patients=39),), (), INTERVAL)
    with pytest.raises(EvaluationError, match="a-0 and b-0 were not tested on the same samples"):
        report(setting("a", 0), other)
    with pytest.raises(EvaluationError, match="two of the runs compared are called a-0"):
        report(setting("a", 0), setting("a", 0))


def test_the_page_the_csv_and_the_json_hold_the_same() -> None:
    found = report(setting("a", 0, 1), setting("b", 2, 3), margins=("auroc=0.05",))
    assert json.loads(as_text(found, "json")) == json.loads(json.dumps(found))
    difference = found["differences"][0]
    page = as_text(found, "markdown", "Title", ["A note."])
    row = next(line for line in page.splitlines() if line.startswith("| a | b | auroc |"))
    assert f"{difference['difference']:+.3f} [{difference['low']:+.3f}, {difference['high']:+.3f}]" in row
    assert f"| {difference['p']:.4f} | {difference['p_holm']:.4f} | 0.05 | {difference['verdict']} |" in row
    assert f"± {found['settings'][0]['metrics']['auroc']['sd']:.3f}" in page
    assert page.startswith("# Title\n\nA note.\n")
    rows = list(csv.DictReader(io.StringIO(as_text(found, "csv"))))
    of_pair = next(row for row in rows if row["table"] == "difference" and row["metric"] == "auroc")
    assert float(of_pair["low"]) == difference["low"]
    assert of_pair["verdict"] == difference["verdict"]
    assert [row["first"] for row in rows if row["table"] == "setting" and row["metric"] == "brier"] == ["a", "b"]
