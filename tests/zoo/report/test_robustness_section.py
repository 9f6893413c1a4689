"""The page's section of corrupted images: figures with their place in robustness.json, nothing of other weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from medzoo.data.errors import EvaluationError
from medzoo.evaluation.bootstrap import Interval
from medzoo.evaluation.predictions import Predictions
from medzoo.evaluation.robustness.report import Curve, metric_of, robustness_report
from medzoo.report.document import report_page
from medzoo.report.robustness_sections import robustness
from medzoo.store.directory import RunDirectory
from tests.zoo.report.evaluated_run import drawn, evaluated
from tests.zoo.report.test_document import COMMAND, KINDS, Page, as_text, look_up


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run whose robustness.json is of its own predictions, corrupted by hand."""
    run = evaluated(tmp_path / "run", drawn(KINDS["findings"]), 10)
    clean, interval = Predictions.read(run.predictions).of_split("test"), Interval(20)
    value = metric_of(clean, "auroc", interval)
    curves = {}
    for name in ("jpeg", "hair"):
        worse = metric_of(drawn(KINDS["findings"], len(clean), seed=len(name)), "auroc", interval)
        curves[name] = Curve({"source": "own", "amounts": {"1": 1, "5": 2}}, {1: value, 5: worse})
    details = {"data": {}, "draws": {}, "weights": "w"}
    report = robustness_report(clean, "auroc", interval, value, curves, left_out={"stain_shift": "it is gray"}, details=details)
    run.robustness.write_text(json.dumps(report))
    return run


def page_of(run: RunDirectory) -> Page:
    return Page(report_page(run, split="test", each=0, dataset=None, command=COMMAND))


def test_every_figure_is_the_one_it_says_it_is(run: RunDirectory) -> None:
    page = page_of(run)
    own = [(source, text) for source, text in page.figures if source.startswith("robustness.json#")]
    assert len(own) >= 16
    for source, text in own:
        assert text == as_text(look_up(run.path, source)), source
    assert "robustness.json#/corruptions/hair/severities/5/difference" in dict(own)
    assert dict(own)["robustness.json#/left_out/stain_shift"] == "it is gray"
    assert "robustness" in page.names


def test_without_the_file_there_is_no_section_and_of_other_weights_no_figure(run: RunDirectory) -> None:
    metrics: dict[str, Any] = json.loads(run.metrics.read_text())
    section = robustness(run.path, {**metrics, "details": {"weights": "others"}})
    (note,) = section.blocks
    assert "of other weights" in str(note)
    run.robustness.unlink()
    assert "robustness" not in page_of(run).names


def test_a_damaged_file_is_named(run: RunDirectory) -> None:
    run.robustness.write_text("[")
    with pytest.raises(EvaluationError, match=r"robustness\.json is damaged"):
        page_of(run)
