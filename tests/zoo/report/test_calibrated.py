"""Where figures are of calibrated probabilities, so is what is drawn and compared beside them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medzoo.cli import main
from medzoo.data.errors import EvaluationError
from medzoo.data.labels import LabelSpace
from medzoo.evaluation.calibration.recalibrate import as_scored
from medzoo.evaluation.predictions import Predictions
from medzoo.report.document import report_page
from medzoo.store.directory import RunDirectory
from tests.zoo.report.evaluated_run import drawn, evaluated

LABELS = LabelSpace("multiclass", ("normal", "cyst", "tumour"))


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    found = evaluated(tmp_path / "run", drawn(LABELS, 300), 10)
    options = ["predict=false", "evaluation.replicates=10", "evaluation.calibration=isotonic"]
    assert main(["evaluate", f"run={found.path}", *options]) == 0
    return found


def test_curves_and_confusion_are_of_the_calibrated_probabilities(run: RunDirectory) -> None:
    part = json.loads(run.metrics.read_text())["splits"]["test"]
    page = report_page(run, split="test", each=1, dataset=None, command=["medzoo"])
    right = round(part["metrics"]["accuracy"]["value"] * part["samples"])
    assert f"{right} of {part['samples']} samples on the diagonal" in page
    said = as_scored(Predictions.read(run.predictions), run, json.loads(run.metrics.read_text())).of_split("test")
    assert (said.probabilities.argmax(axis=1) == said.targets.argmax(axis=1)).sum() == right
    raw = drawn(LABELS, 300).of_split("test")
    assert (raw.probabilities.argmax(axis=1) == raw.targets.argmax(axis=1)).sum() != right  # or this shows nothing


def test_another_calibration_than_the_figures_is_refused(run: RunDirectory) -> None:
    kept = run.metrics.read_bytes()
    assert main(["evaluate", f"run={run.path}", "predict=false", "evaluation.calibration=temperature"]) == 0
    run.metrics.write_bytes(kept)
    with pytest.raises(EvaluationError, match=r"is of another calibration than .*calibration\.json; run medzoo evaluate again"):
        report_page(run, split="test", each=1, dataset=None, command=["medzoo"])
    run.calibration.unlink()
    with pytest.raises(EvaluationError, match="no calibrator at"):
        report_page(run, split="test", each=1, dataset=None, command=["medzoo"])
