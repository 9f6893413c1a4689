"""Concept bottlenecks on every dataset with concepts, through the same commands: train to export, missing concepts included."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from medzoo.cli import main
from medzoo.data.errors import ConfigError
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.evaluation.monitor import monitor_value
from medzoo.export.runtime.model import OnnxModel
from medzoo.inference.predict import run_dataset
from medzoo.store.checkpoint import find_checkpoint
from medzoo.store.directory import RunDirectory
from medzoo.tasks.bottleneck import Bottleneck
from medzoo.tasks.load import load_checkpoint
from tests.data.datasets import derm1m_files, olives_files, scin_files

NAN = float("nan")
TRAINING = [
    "model=cbm", "model.backbone=test_resnet", "model.preprocess.size=32", "model.bottleneck.penalty=0.01", "trainer.epochs=1",
    "trainer.batch_size=16", "trainer.trackers=[]", "evaluation.splits=[train,val,test]", "evaluation.replicates=20",
]  # fmt: skip
Truth = dict[str, list[float]]
"""Sample → its concepts in the order of the model's, NaN where the files say nothing."""


def _phantom(root: Path) -> tuple[list[str], Truth]:
    return [
        "data=phantom",
        "data.size=32",
        "data.patients=24",
        "model.bottleneck.regime=joint",
        "model.bottleneck.penalty=1.0",
    ], {}


def _olives(root: Path) -> tuple[list[str], Truth]:
    rows = olives_files.label_rows()
    for number, row in enumerate(rows):
        for marker in (olives_files.NAMES[3], olives_files.NAMES[9])[: number % 3]:
            row[marker] = ""
    olives_files.write_tree(root, rows)
    truth = {
        row[olives_files.PATH].removeprefix("/"): [float(row[name]) if row[name] else NAN for name in olives_files.NAMES]
        for row in rows
    }
    options = ["data=olives", f"data.root={root}", "data.target=disease", "data.seed=1"]
    return [*options, "model.bottleneck.regime=sequential", "model.bottleneck.kind=logit"], truth


def _scin(root: Path) -> tuple[list[str], Truth]:
    differentials = ({"Eczema": 0.6, "Psoriasis": 0.4}, {"Psoriasis": 1.0}, {"Tinea": 0.75, "Acne": 0.25}, {"Eczema": 1.0})
    questions = [("textures_", 4, None), ("body_parts_", 12, None), ("condition_symptoms_", 7, 7), ("other_symptoms_", 6, 6)]
    cases, truth = [], {}
    for number in range(40):
        ticked: list[str] = []
        values: list[float] = []
        for place, (prefix, count, none) in enumerate(questions):
            boxes = [box for box in scin_files.BOXES if box.startswith(prefix)]
            if (number + place) % 5 == 0:  # not answered
                values += [NAN] * count
            elif none is not None and number % 7 == 0:  # "none of the above"
                ticked.append(boxes[none])
                values += [0.0] * count
            else:
                chosen = [(number // (1 + box % 3) + box) % 3 == 0 or box == number % count for box in range(count)]
                ticked += [name for name, yes in zip(boxes, chosen, strict=False) if yes]
                values += [float(yes) for yes in chosen]
        images = [f"{1000 + 10 * number + view}" for view in range(number % 3 + 1)]
        cases.append(scin_files.case(f"{101 + number}", differentials[number // 2 % 4], images, ticked))
        truth[f"scin/{101 + number}"] = values
    scin_files.write_bucket(root, cases)
    options = ["data=scin", f"data.root={root}", "data.top=3", "data.views=case"]
    return [*options, "model.bottleneck.regime=independent", "model.bottleneck.kind=hard"], truth


def _derm1m(root: Path) -> tuple[list[str], Truth]:
    words, tables = ("erythema", "plaque", "scale"), []
    for videos, images, prefix in ((6, 14, ""), (3, 8, "v")):
        rows = derm1m_files.many_rows(videos, images, prefix=prefix)
        for number, row in enumerate(rows):
            named = [word for place, word in enumerate(words) if number >> place & 1 or place == number % 3]
            row["skin_concept"] = "No visual concepts" if number % 5 == 4 else ", ".join(named)
        tables.append(rows)
    derm1m_files.write_derm1m(root, *tables)
    options = ["data=derm1m", f"data.root={root}", "data.min_count=1"]
    return [*options, "model.bottleneck.regime=joint", "model.bottleneck.kind=hard", "model.bottleneck.penalty=1.0"], {}


WORDS = {"yes": 1.0, "present": 1.0, "1": 1.0, "no": 0.0, "absent": 0.0, "0": 0.0, "n/a": NAN, "": NAN}
"""What concept cells of the table below may say."""


def _table(root: Path) -> tuple[list[str], Truth]:
    words, truth = list(WORDS), {}
    with (root / "t.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "patient", "diagnosis", "asymmetric", "border (irregular)", "blue-white veil", "part"])
        for number in range(60):
            brightness = np.random.default_rng(number).integers(0, 60, (20, 20, 3)) + 60 * (number % 4)
            Image.fromarray(brightness.astype(np.uint8)).save(root / f"{number}.png")
            cells = [words[(number * step + number // 8) % len(words)] for step in (1, 3, 5)]
            part = ("train", "train", "val", "test", "test")[number // 2 % 5]
            writer.writerow([f"{number}.png", number // 2, ("naevus", "melanoma")[number // 3 % 2], *cells, part])
            truth[f"{number}.png"] = [WORDS[cell] for cell in cells]
    options = [
        "data=table", f"data.file={root / 't.csv'}", "data.image=file", "data.target=diagnosis", "data.group=patient",
        "data.split=part", "data.concepts=[asymmetric,'border (irregular)',blue-white veil]", "data.empty_words=[N/A]",
    ]  # fmt: skip
    return [*options, "model.bottleneck.regime=independent"], truth


TREES: dict[str, Callable[[Path], tuple[list[str], Truth]]] = {
    "phantom": _phantom,
    "olives": _olives,
    "scin": _scin,
    "derm1m": _derm1m,
    "table": _table,
}


@dataclass(frozen=True)
class Run:
    """One trained, evaluated, intervened and exported run, and what its files say."""

    name: str
    path: Path
    truth: Truth
    frame: pd.DataFrame
    task: Bottleneck

    @property
    def concepts(self) -> tuple[str, ...]:
        assert self.task.spec.concepts is not None
        return self.task.spec.concepts.names

    @property
    def test(self) -> pd.DataFrame:
        return self.frame[self.frame["split"] == "test"]

    def columns(self, rows: pd.DataFrame, prefix: str) -> NDArray[np.float32]:
        assert self.task.spec.labels is not None
        names = self.concepts if prefix.startswith("concept") else self.task.spec.labels.names
        return rows[[f"{prefix}.{name}" for name in names]].to_numpy(dtype=np.float32)

    def scaled(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Put probabilities on the bottleneck's scale, as docs/concepts.md says."""
        kind, model = self.task.model.kind, self.task.model
        if kind == "logit":
            low, high = model.low.numpy(), model.high.numpy()
            return low + values * (high - low)
        return values if kind == "soft" else (values > 0.5).astype(np.float32)

    def shown(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what the classes see of predicted concepts."""
        if self.task.model.kind == "logit":
            return logits
        return self.scaled(1 / (1 + np.exp(-logits)))

    def classes(self, shown: NDArray[np.float32]) -> NDArray[np.float32]:
        """Apply the torch class layer."""
        with torch.no_grad():
            logits: NDArray[np.float32] = self.task.model.head(torch.from_numpy(np.array(shown))).numpy()
        return logits


QUICK = ("phantom", "table")
"""A dataset of medzoo's and one of the user's; the slow lane trains on all."""


@pytest.fixture(scope="module", params=[n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in TREES])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "data").mkdir()
    options, truth = TREES[request.param](folder / "data")
    path = folder / "run"
    assert main(["train", *TRAINING, *options, f"run={path}"]) == 0
    assert main(["intervene", f"run={path}", "policies=[random]", "replicates=20"]) == 0
    assert main(["export", f"run={path}", "images=4"]) == 0
    task = load_checkpoint(find_checkpoint(path, "best"))
    assert isinstance(task, Bottleneck)
    return Run(request.param, path, truth, pd.read_parquet(path / "predictions.parquet"), task)


def test_predictions_hold_the_files_concepts_and_evaluating_again_changes_nothing(run: Run) -> None:
    known = run.columns(run.frame, "concept")
    assert np.isin(known[~np.isnan(known)], [0.0, 1.0]).all()
    assert np.isnan(known).any() == (run.name != "phantom")
    for sample, values in zip(run.frame["sample_id"], known, strict=True):
        if run.truth:
            np.testing.assert_array_equal(values, np.float32(run.truth[sample]), err_msg=sample)
    assert np.isfinite(run.columns(run.frame, "concept_logit")).all()
    np.testing.assert_allclose(
        run.classes(run.shown(run.columns(run.frame, "concept_logit"))), run.columns(run.frame, "logit"), atol=1e-5
    )
    before = json.loads((run.path / "metrics.json").read_text())
    assert main(["evaluate", f"run={run.path}", "evaluation.splits=[train,val,test]", "evaluation.replicates=20"]) == 0
    assert json.loads((run.path / "metrics.json").read_text())["splits"] == before["splits"]


def test_concepts_are_scored_where_both_states_are_known(run: Run) -> None:
    report = json.loads((run.path / "metrics.json").read_text())["splits"]["test"]["concepts"]["auroc"]["classes"]
    assert set(report) == set(run.concepts)
    scored = 0
    for name in run.concepts:
        truth, logits = run.test[f"concept.{name}"], run.test[f"concept_logit.{name}"]
        seen = truth.notna()
        if set(truth[seen]) == {0.0, 1.0}:
            assert report[name]["value"] == pytest.approx(roc_auc_score(truth[seen], logits[seen]), abs=1e-9)
            scored += 1
        else:
            assert report[name]["value"] is None
    assert scored > 0


def test_the_curve_corrects_what_is_known_and_never_what_is_missing(run: Run) -> None:
    truth, logits = run.columns(run.test, "concept"), run.columns(run.test, "concept_logit")
    known = ~np.isnan(truth)
    curve = json.loads((run.path / "interventions.json").read_text())["curves"]["random"]
    assert [row["corrected"] for row in curve] == list(range(len(run.concepts) + 1))
    assert curve[0]["share"] == 0
    assert curve[-1]["share"] == pytest.approx(known.mean())
    assert (curve[-1]["share"] < 1) == (run.name != "phantom")
    assert (np.diff([row["share"] for row in curve]) >= 0).all()
    labels, targets = run.task.spec.labels, run.columns(run.test, "target")
    assert labels is not None
    corrected = run.classes(np.where(known, run.scaled(np.nan_to_num(truth)), run.shown(logits)))
    for row, outputs in ((curve[0], run.columns(run.test, "logit")), (curve[-1], corrected)):
        assert row["value"] is not None
        assert row["value"] == pytest.approx(monitor_value(labels, targets, outputs, "auroc"), abs=1e-6)


def test_an_explanation_adds_up_to_the_class_outputs(run: Run) -> None:
    assert main(["explain", f"run={run.path}"]) == 0
    weights = pd.read_csv(run.path / "concept_weights.csv", index_col=0)
    assert list(weights.index) == [*run.concepts, "(bias)"]
    row = run.test.iloc[-1]
    assert main(["explain", f"run={run.path}", f"sample='{row['sample_id']}'"]) == 0
    (file,) = (run.path / "explanations").glob("*.json")
    assert file.with_suffix(".png").is_file()
    said: dict[str, Any] = json.loads(file.read_text())
    shown = run.shown(run.columns(run.test, "concept_logit"))[-1]
    for name in weights.columns:
        added = {concept: cells[name] for concept, cells in said["table"].items()}
        assert set(added) == {*run.concepts, "(bias)"}
        assert sum(added.values()) == pytest.approx(row[f"logit.{name}"], abs=1e-5)
        assert said["outputs"][name] == pytest.approx(row[f"logit.{name}"], abs=1e-5)
        for concept, value in zip(run.concepts, shown, strict=True):
            assert added[concept] == pytest.approx(weights.loc[concept, name] * value, abs=1e-5)
    for concept in run.concepts:
        truth = row[f"concept.{concept}"]
        assert said["table"][concept]["(truth)"] == (None if np.isnan(truth) else truth)


def test_the_file_with_corrected_concepts_is_the_class_layer(run: Run) -> None:
    assert json.loads((run.path / "model.json").read_text())["parity"]["agreement"] == 1.0
    graph = OnnxModel(run.path / "model.onnx")
    assert graph.concepts == run.concepts
    samples = SampleDataset(run_dataset(RunDirectory.open(run.path), {}, run.task.spec), "test", run.task.spec.preprocess)
    assert list(samples.sample_ids) == list(run.test["sample_id"])
    images = [samples.pixels(index) for index in range(len(samples))]
    truth = run.columns(run.test, "concept")
    known = ~np.isnan(truth)
    values = np.nan_to_num(truth, nan=0.25)
    everything = graph.predict(images, concept_values=values, concept_mask=np.ones_like(values))
    expected = run.classes(run.scaled(values))
    np.testing.assert_allclose(everything["logits"], expected, atol=1e-5)
    assert np.ptp(expected, axis=0).max() > 1e-3  # or the line above would say nothing
    # Only what is known: the rest is as predicted. A case of several photographs has no single image to compare with.
    alone = np.ones(len(images), dtype=bool) if samples.views is None else _photographs(samples) == 1
    assert alone.any()
    assert alone.all() == (run.name != "scin")
    partly = graph.predict(images, concept_values=values, concept_mask=known.astype(np.float32))["logits"]
    shown = np.where(known, run.scaled(values), run.shown(run.columns(run.test, "concept_logit")))
    np.testing.assert_allclose(partly[alone], run.classes(shown)[alone], atol=1e-3)
    plain = graph.predict(images)
    np.testing.assert_allclose(plain["logits"][alone], run.columns(run.test, "logit")[alone], atol=1e-3)
    odds = 1 / (1 + np.exp(-run.columns(run.test, "concept_logit")))
    np.testing.assert_allclose(plain["concepts"][alone], odds[alone], atol=1e-4)


@pytest.mark.parametrize("run", ["table"], indirect=True)  # the one independent run
def test_an_independent_head_takes_the_predicted_concept_where_the_true_one_is_missing(run: Run) -> None:
    assert run.task.spec.labels is not None
    rows = run.frame[run.frame["split"] == "train"]
    truth, targets = run.columns(rows, "concept"), run.columns(rows, "target")
    inputs = np.where(np.isnan(truth), run.shown(run.columns(rows, "concept_logit")), truth).astype(np.float64)
    theirs = LogisticRegression(C=1 / 0.01, tol=1e-9, max_iter=20_000).fit(inputs, targets.argmax(axis=1))
    seen = run.shown(run.columns(run.test, "concept_logit")).astype(np.float64)
    np.testing.assert_allclose(run.columns(run.test, "prob"), theirs.predict_proba(seen), atol=1e-3)


def test_mistakes_after_training_are_one_line(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    name = run.concepts[0]
    capsys.readouterr()
    for argument, message in (
        (f"+set={{{name[:-1]}:1}}", f"unknown concept '{name[:-1]}'; did you mean '{name}'"),
        (f"randomise=[{name}s]", f"unknown concept '{name}s'; did you mean '{name}'"),
    ):
        assert main(["intervene", f"run={run.path}", argument]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    graph, width = OnnxModel(run.path / "model.onnx"), len(run.concepts)
    image, right = [np.zeros((40, 30, run.task.spec.preprocess.channels), dtype=np.uint8)], np.zeros((1, width), dtype=np.float32)
    for values, mask, wrong in (
        (right, right[:, 1:], f"concept_mask has shape [1, {width - 1}], not [1, {width}]"),
        (np.zeros((1, width + 1), dtype=np.float32), right, f"concept_values has shape [1, {width + 1}], not [1, {width}]"),
        (right, np.zeros((2, width), dtype=np.float32), f"concept_mask has shape [2, {width}], not [1, {width}]"),
        (right, None, "concept_values and concept_mask together"),
    ):
        with pytest.raises(ConfigError) as caught:
            graph.predict(image, concept_values=values, concept_mask=mask)
        assert wrong in str(caught.value)
        assert "\n" not in str(caught.value)


def _photographs(samples: SampleDataset) -> NDArray[np.int64]:
    return np.array([int(samples[index]["view_mask"].sum()) for index in range(len(samples))])
