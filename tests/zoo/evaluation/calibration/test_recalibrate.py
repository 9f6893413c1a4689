"""Calibration before scoring: fitted on val alone, raw logits kept in the file, figures before and after, and what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medzoo.cli import main
from medzoo.data.errors import ConfigError, EvaluationError, UnknownNameError
from medzoo.data.labels import ConceptSpace, LabelKind, LabelSpace, sigmoid
from medzoo.evaluation.calibration.calibrator import METHODS
from medzoo.evaluation.calibration.fitted import Fitted
from medzoo.evaluation.calibration.recalibrate import check_calibration, fitted_on_val, recalibrated
from medzoo.evaluation.predictions import Predictions
from medzoo.evaluation.run_report import report_run
from medzoo.settings.evaluation import EvaluationConfig, check_evaluation
from medzoo.store.directory import RunDirectory


def predictions(kind: LabelKind = "multilabel", n: int = 300, seed: int = 0) -> Predictions:
    """Return val and test predictions, twice too sure."""
    rng = np.random.default_rng(seed)
    labels = LabelSpace(kind, ("a", "b", "c"))
    logits = rng.normal(0, 3, (n, 3)).astype(np.float32)
    if kind == "multilabel":
        targets = (rng.random(logits.shape) < sigmoid(0.5 * logits)).astype(np.float32)
    else:
        targets = labels.one_hot((0.5 * logits + rng.gumbel(size=logits.shape)).argmax(axis=1))
    split = np.where(np.arange(n) < n // 2, "val", "test").astype(object)
    return Predictions(
        labels, np.arange(n).astype(str).astype(object), split, np.array([f"p{i}" for i in range(n)], object), targets, logits,
        logits, pd.DataFrame(index=range(n)), spec_hash="spec", split_unit="patient", details={"weights": "w"},
    )  # fmt: skip


def run_of(tmp_path: Path, given: Predictions) -> RunDirectory:
    run = RunDirectory(tmp_path / "run")
    given.write(run.predictions)
    return run


def asked(**further: object) -> EvaluationConfig:
    return EvaluationConfig(replicates=0, **further)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_everything_is_scored_calibrated_and_the_file_keeps_the_raw_logits(
    tmp_path: Path, method: str, kind: LabelKind, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(tmp_path, predictions(kind))
    before, file = report_run(run, asked()), run.predictions.read_bytes()
    assert "recalibration" not in before
    assert not run.calibration.exists()
    capsys.readouterr()
    after = report_run(run, asked(calibration=method))
    said = capsys.readouterr().out
    assert f"calibrated by {method}, fitted on 150 val samples of 150 patient groups" in said
    assert run.predictions.read_bytes() == file
    told = json.loads(run.metrics.read_text())["recalibration"]
    assert told == after["recalibration"]
    assert told["method"] == method
    assert told["fitted_on"] == {"split": "val", "samples": 150, "groups": 150, "unit": "patient"}
    for split in ("val", "test"):
        figures = told["splits"][split]
        for name in ("brier", "ece"):
            assert figures["before"][name] == pytest.approx(before["splits"][split]["metrics"][name]["value"], rel=1e-4)
            assert figures["after"][name] == pytest.approx(after["splits"][split]["metrics"][name]["value"], rel=1e-4)
        assert figures["after"]["nll"] < figures["before"]["nll"]
    fitted = Fitted.read(run.calibration)
    assert (fitted.spec, fitted.weights, fitted.samples) == ("spec", "w", 150)
    expected = fitted.calibrator.probabilities(predictions(kind).logits[150:])
    slope = after["splits"]["test"]["calibration"]["brier"]["value"]
    factor = 3 if kind == "multilabel" else 1
    assert slope == pytest.approx(((expected - predictions(kind).targets[150:]) ** 2).sum(axis=1).mean() / factor, rel=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_the_labels_of_other_splits_change_nothing(method: str) -> None:
    given = predictions()
    targets = given.targets.copy()
    targets[150:] = 1 - targets[150:]
    assert fitted_on_val(replace(given, targets=targets), method) == fitted_on_val(given, method)
    targets = given.targets.copy()
    targets[:150] = 1 - targets[:150]
    assert fitted_on_val(replace(given, targets=targets), method) != fitted_on_val(given, method)


def test_concepts_stay_as_they_are() -> None:
    given = predictions()
    concepts = given.logits[:, :2]
    given = replace(given, concepts=ConceptSpace(("x", "y")), concept_targets=concepts, concept_logits=concepts)
    after = recalibrated(given, fitted_on_val(given, "platt"))
    assert after.concept_logits is concepts
    assert not np.allclose(after.logits, given.logits)
    assert given.logits.dtype == after.logits.dtype == after.probabilities.dtype == np.float32


def test_few_patients_are_noted() -> None:
    given = predictions()
    few = replace(given, group=np.array([f"p{i // 50}" for i in range(300)], object))
    notes = fitted_on_val(few, "temperature").notes
    assert notes == ("the calibrator was fitted on 150 samples of 3 patient groups: it is uncertain",)
    assert fitted_on_val(given, "temperature").notes == ()
    assert "follows chance on 150 samples" in fitted_on_val(given, "isotonic").notes[0]


def test_a_run_without_val_predictions_or_labels_is_refused(tmp_path: Path) -> None:
    given = predictions()
    run = run_of(tmp_path, given.of_split("test"))
    with pytest.raises(EvaluationError, match=r"the predictions are of test; predict it too: evaluation\.splits"):
        report_run(run, asked(calibration="platt", splits=["test"]))
    targets = given.targets.copy()
    targets[:150] = np.nan
    run = run_of(tmp_path, replace(given, targets=targets))
    with pytest.raises(EvaluationError, match="val split, which has no label"):
        report_run(run, asked(calibration="platt"))
    assert not run.calibration.exists()


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"calibration 'platts'.*platt"):
        check_evaluation(asked(calibration="platts"))
    labels = LabelSpace("multiclass", ("a", "b"))
    with pytest.raises(ConfigError, match="add it: evaluation"):
        check_calibration("platt", ["test"], labels)
    with pytest.raises(ConfigError, match="quantities have no probabilities"):
        check_calibration("platt", ["val"], LabelSpace("regression", ("mm",)))
    check_calibration("platt", ["val"], labels)
    check_calibration("none", ["test"], None)


def test_other_data_take_the_runs_own_calibrator_and_no_other(tmp_path: Path) -> None:
    run = run_of(tmp_path, predictions())
    own = report_run(run, asked(calibration="temperature"))
    there = RunDirectory(run.path / "external" / "other")
    other = predictions(seed=5).of_split("test")
    other.write(there.predictions)
    found = report_run(there, asked(calibration="temperature", splits=["test"]), model=run)
    assert not there.calibration.exists()
    assert found["recalibration"]["fitted_on"] == own["recalibration"]["fitted_on"]
    with pytest.raises(EvaluationError, match="holds temperature, not platt"):
        report_run(there, asked(calibration="platt", splits=["test"]), model=run)
    for changed, why in (
        ({"spec_hash": "another"}, "another spec"), ({"details": {"weights": "v"}}, "another weights"),
        ({"details": {"weights": "w", "tta": 4}}, "tta=4"),
    ):  # fmt: skip
        replace(other, **changed).write(there.predictions)
        with pytest.raises(EvaluationError, match=why):
            report_run(there, asked(calibration="temperature", splits=["test"]), model=run)
    run.calibration.unlink()
    with pytest.raises(EvaluationError, match="no calibrator at"):
        report_run(there, asked(calibration="temperature", splits=["test"]), model=run)
    run.calibration.write_text("{}")
    with pytest.raises(EvaluationError, match="is damaged"):
        Fitted.read(run.calibration)


def test_on_the_command_line(trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    options = ["predict=false", "evaluation.replicates=0"]
    assert main(["evaluate", f"run={run}", *options, "evaluation.calibration=isotonic"]) == 0
    assert "calibrated by isotonic" in capsys.readouterr().out
    assert json.loads((run / "calibration.json").read_text())["weights"]
    assert main(["evaluate", f"run={run}", *options, "evaluation.calibration=beta"]) == 2
    assert "known: isotonic, none, platt, temperature" in capsys.readouterr().err
    quantity = ["data=phantom", "data.labels=regression", "evaluation.calibration=platt", f"run={tmp_path / 'no'}"]
    assert main(["train", *quantity]) == 2
    assert "quantities have no probabilities" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
    shutil.rmtree(run / "external", ignore_errors=True)
    (run / "calibration.json").unlink()
    on = ["on=phantom", "on.seed=9", "on.size=32", "on.patients=4", "evaluation.calibration=platt"]
    assert main(["evaluate", f"run={run}", *on]) == 2
    assert "no calibrator at" in capsys.readouterr().err
