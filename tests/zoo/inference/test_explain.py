"""Explanations: names that are words of the table, and predictions of another model."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medzoo.cli import main
from medzoo.data.errors import EvaluationError
from medzoo.inference.bottleneck_run import open_bottleneck
from medzoo.inference.explain import concept_weights, explain_sample

CONCEPTS, CLASSES = ("bias", "residual"), ("probability", "truth")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bottleneck whose concepts and classes have the awkward names."""
    root = tmp_path_factory.mktemp("explain")
    rng = np.random.default_rng(0)
    with (root / "t.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "patient", "class", *CONCEPTS, "part"])
        for number in range(30):
            Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(root / f"{number}.png")
            part = ("train", "train", "val", "test", "test")[number % 5]
            cells = [number // 5 % 2, number // 10 % 2]
            writer.writerow([f"{number}.png", number, CLASSES[(number // 5 + number // 7) % 2], *cells, part])
    options = [
        "data=table", f"data.file={root / 't.csv'}", "data.image=file", "data.target=class", "data.group=patient",
        "data.split=part", f"data.concepts=[{','.join(CONCEPTS)}]", "model=cbm", "model.backbone=test_resnet",
        "model.bottleneck.regime=sequential", "model.bottleneck.residual=true", "model.preprocess.size=24", "trainer.epochs=1",
        "trainer.trackers=[]", "evaluation.replicates=5",
    ]  # fmt: skip
    assert main(["train", *options, f"run={root / 'run'}"]) == 0
    return root / "run"


def test_names_may_be_words_of_the_table(run: Path) -> None:
    _, task, predictions = open_bottleneck(run)
    head = task.model.head
    assert predictions.labels.names == CLASSES
    weights = concept_weights(task, predictions)
    assert list(weights.index) == [*CONCEPTS, "(bias)"]
    np.testing.assert_array_equal(weights.loc[list(CONCEPTS)].to_numpy().T, head.weight.detach().numpy())
    np.testing.assert_array_equal(weights.loc["(bias)"].to_numpy(), head.bias.detach().numpy())
    sample = str(predictions.sample_id[-1])
    table = explain_sample(task, predictions, sample).table
    assert list(table.index) == [*CONCEPTS, "(residual)", "(bias)"]
    assert list(table.columns) == ["(probability)", "(truth)", *CLASSES]
    np.testing.assert_allclose(table[list(CLASSES)].sum().to_numpy(), predictions.logits[-1], atol=1e-5)
    np.testing.assert_array_equal(table.loc[list(CONCEPTS), "(truth)"], predictions.concept_targets[-1])
    odds = 1 / (1 + np.exp(-predictions.concept_logits[-1]))
    np.testing.assert_allclose(table.loc[list(CONCEPTS), "(probability)"], odds, atol=1e-6)
    np.testing.assert_allclose(table.loc["(residual)", list(CLASSES)].to_numpy(float), predictions.residual_logits[-1], atol=1e-6)
    by_hand = head.weight.detach().numpy().T * odds[:, None]
    np.testing.assert_allclose(table.loc[list(CONCEPTS), list(CLASSES)].to_numpy(float), by_hand, atol=1e-5)


def test_the_files_have_the_same_names(run: Path) -> None:
    _, _, predictions = open_bottleneck(run)
    sample = str(predictions.sample_id[-1])
    assert main(["explain", f"run={run}"]) == 0
    assert main(["explain", f"run={run}", f"sample='{sample}'"]) == 0
    rows = (run / "concept_weights.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["", *CONCEPTS, "(bias)"]
    assert rows[0] == f",{','.join(CLASSES)}"
    assert (run / "plots" / "concept_weights.png").is_file()
    (file,) = (run / "explanations").glob("*.json")
    said = json.loads(file.read_text())
    assert set(said["table"]) == {*CONCEPTS, "(residual)", "(bias)"}
    for k, name in enumerate(CLASSES):
        assert sum(row[name] for row in said["table"].values()) == pytest.approx(predictions.logits[-1, k], abs=1e-5)
    assert said["table"]["bias"]["(truth)"] == predictions.concept_targets[-1, 0]
    assert said["table"]["(bias)"]["(truth)"] is None
    assert file.with_suffix(".png").is_file()


def test_predictions_of_another_model_are_refused(run: Path) -> None:
    _, task, predictions = open_bottleneck(run)
    sample = str(predictions.sample_id[0])
    without = replace(predictions, concepts=None, concept_logits=None, concept_targets=None)
    for other in (replace(predictions, spec_hash="0" * 64), without):
        with pytest.raises(EvaluationError, match="not of this concept bottleneck"):
            explain_sample(task, other, sample)
