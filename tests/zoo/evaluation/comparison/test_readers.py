"""Human readers: how their answers are read, what is refused, and their figures against scikit-learn's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from medzoo.data.errors import ConfigError, DatasetError, EvaluationError, UnknownNameError
from medzoo.evaluation.bootstrap import Interval, group_codes, replicate_weights
from medzoo.evaluation.comparison.answers import answer_estimates, model_answers
from medzoo.evaluation.comparison.paired import MEAN_READER, Asked, paired_report
from medzoo.evaluation.comparison.readers import find_readers
from medzoo.evaluation.comparison.setting import Setting
from medzoo.evaluation.metrics import scored
from medzoo.evaluation.predictions import Predictions
from tests.zoo.evaluation.comparison.samples import predictions

INTERVAL = Interval(50)


def class_table(part: Predictions, right: float, seed: int) -> list[str]:
    """Return the classes a reader says, right as often as that."""
    rng, names = np.random.default_rng(seed), part.labels.names
    truth = np.nan_to_num(part.targets).argmax(axis=1)
    return [names[t if rng.random() < right else rng.integers(len(names))] for t in truth]


def test_classes_are_read_by_name_in_any_order_of_rows(tmp_path: Path) -> None:
    part = predictions("ordinal")
    table = pd.DataFrame({"sample_id": part.sample_id, "anna": class_table(part, 0.9, 0), "bob": class_table(part, 0.5, 1)})
    table.loc[3, "bob"] = ""
    extra = pd.DataFrame({"sample_id": ["elsewhere"], "anna": ["mild"], "bob": ["mild"]})
    shuffled = pd.concat([table, extra]).sample(frac=1, random_state=0)
    shuffled.to_csv(tmp_path / "reads.csv", index=False)
    shuffled.to_parquet(tmp_path / "reads.parquet")
    for name in ("reads.csv", "reads.parquet"):
        readers, notes = find_readers([str(tmp_path / name)], part)
        assert [reader.name for reader in readers] == ["anna", "bob"]
        said = [part.labels.names[k] for k in readers[0].said.argmax(axis=1)]
        assert said == table["anna"].tolist()
        assert np.flatnonzero(~readers[1].read[:, 0]).tolist() == [3]
        assert notes == [
            f"1 rows of {name} are of no sample compared here and were left out",
            "bob has not read 1 of 120 samples: compared on those read",
        ]
    readers, _ = find_readers([str(tmp_path / "reads.csv"), "bob"], part)
    assert [reader.name for reader in readers] == ["bob"]


def test_findings_have_a_column_each_or_are_not_read(tmp_path: Path) -> None:
    part = predictions("multilabel", patients=2, images=1)
    pd.DataFrame({"sample_id": part.sample_id, "anna.mass": [1, None], "anna.nodule": [0, 1], "bob.mass": [1, 1]}).to_csv(
        tmp_path / "reads.csv", index=False
    )
    readers, _ = find_readers([str(tmp_path / "reads.csv")], part)
    assert [reader.name for reader in readers] == ["anna", "bob"]
    assert readers[0].said.tolist() == [[True, False], [False, True]]
    assert readers[0].read.tolist() == [[True, True], [False, True]]
    assert readers[1].read.tolist() == [[True, False], [True, False]]


def test_columns_that_predictions_carry_are_readers() -> None:
    part = predictions("binary", patients=3, images=1)
    carried = replace(part, subgroups=pd.DataFrame({"site": ["x", "y", "z"], "anna": ["benign", "malignant", ""]}))
    readers, _ = find_readers(["anna"], carried)
    assert readers[0].said[:, 1].tolist() == [False, True, False]
    assert readers[0].read[:, 0].tolist() == [True, True, False]
    with pytest.raises(UnknownNameError, match="did you mean 'anna'"):
        find_readers(["ana"], carried)
    with pytest.raises(DatasetError, match="'x', not one of benign, malignant, nothing"):
        find_readers(["site"], carried)


def test_mistakes_are_named(tmp_path: Path) -> None:
    part, file = predictions("binary", patients=2, images=1), tmp_path / "reads.csv"

    def refused(text: str, error: type[Exception], message: str, kind: Predictions = part) -> None:
        file.write_text(text)
        with pytest.raises(error, match=message):
            find_readers([str(file)], kind)

    refused(
        "sample_id,anna\np0/i0,benign\np1/i0,unsure\n", DatasetError, "line 3: 'anna' is 'unsure', not one of benign, malignant"
    )
    refused("sample_id,anna\np0/i0,benign\np0/i0,benign\n", DatasetError, "sample 'p0/i0' stands on lines 2 and 3")
    refused("sample_id,anna\nq,benign\n", EvaluationError, "anna of reads.csv has read none of the 2 samples")
    refused("case,anna\np0/i0,benign\n", DatasetError, "sample_id")
    refused("sample_id,anna.mass\np0/i0,2\n", DatasetError, "not 0, 1 or empty", predictions("multilabel", patients=1))
    refused("sample_id,anna\np0/i0,1\n", ConfigError, "has no reader anna: .* anna.mass, 0 or 1", predictions("multilabel"))
    refused("sample_id,anna\np0/i0,1\n", EvaluationError, "labels here are quantities", predictions("regression"))
    with pytest.raises(DatasetError, match=r"gone\.csv is not there"):
        find_readers([str(tmp_path / "gone.csv")], part)
    with pytest.raises(EvaluationError, match=r"reads\.xlsx: save the readers' table as \.csv or \.parquet"):
        find_readers([str(tmp_path / "reads.xlsx")], part)


def test_blanks_around_an_answer_and_the_fraction_of_a_whole_grade_do_not_count(tmp_path: Path) -> None:
    part = predictions("ordinal", patients=3, images=1)
    grades = replace(part, labels=replace(part.labels, names=("0", "1", "2")))
    (tmp_path / "reads.csv").write_text("sample_id,anna,bob\np0/i0,2.0,\u00a01\np1/i0,,0 \np2/i0,0.0,2\n", encoding="utf-8")
    (anna, bob), _ = find_readers([str(tmp_path / "reads.csv")], grades)
    assert (anna.said.argmax(axis=1)[[0, 2]].tolist(), anna.read[:, 0].tolist()) == ([2, 0], [True, False, True])
    assert bob.said.argmax(axis=1).tolist() == [1, 0, 2]


@pytest.mark.parametrize("kind", ["binary", "multiclass", "ordinal"])
def test_figures_of_classes_equal_a_loop_of_sklearn(kind: str, tmp_path: Path) -> None:
    part = predictions(kind, patients=30)
    pd.DataFrame({"sample_id": part.sample_id[6:], "anna": class_table(part, 0.6, 0)[6:]}).to_csv(tmp_path / "r.csv", index=False)
    (reader,), _ = find_readers([str(tmp_path / "r.csv")], part)
    data = scored(part.labels, part.targets, part.logits)
    found = answer_estimates(reader.said, reader.read, data, list(part.group), INTERVAL, "patient")
    weights = np.concatenate(list(replicate_weights(group_codes(part.group), INTERVAL.replicates, 0)))
    for place, row in enumerate([np.ones(len(part)), *weights]):
        rows = np.repeat(np.arange(len(part)), row.astype(int))
        rows = rows[rows >= 6]
        truth, said = part.targets[rows].argmax(axis=1), reader.said[rows].argmax(axis=1)
        classes = [1] if kind == "binary" else range(3)
        expected = {
            "accuracy": sk.accuracy_score(truth, said),
            "sensitivity": np.mean([sk.recall_score(truth == k, said == k) for k in classes]),
            "specificity": np.mean([sk.recall_score(truth != k, said != k) for k in classes]),
            "kappa": sk.cohen_kappa_score(truth, said, weights="quadratic" if kind == "ordinal" else None),
        }
        for name, value in expected.items():
            drawn = found[name].drawn
            assert drawn is not None
            assert (found[name].value if place == 0 else drawn[place - 1]) == pytest.approx(value, abs=1e-12), name


def test_figures_of_findings_equal_sklearn() -> None:
    part = predictions("multilabel", patients=30)
    data = scored(part.labels, part.targets, part.logits)
    said, read = np.random.default_rng(0).random((2, len(part), 2)) < np.array([0.5, 0.8])[:, None, None]
    found = answer_estimates(said, read, data, list(part.group), INTERVAL, "patient")
    expected: dict[str, list[float]] = {"accuracy": [], "sensitivity": [], "specificity": [], "kappa": []}
    for k in range(2):
        rows = read[:, k] & ~np.isnan(part.targets[:, k])
        truth, answer = part.targets[rows, k], said[rows, k]
        expected["accuracy"].append(sk.accuracy_score(truth, answer))
        expected["sensitivity"].append(sk.recall_score(truth, answer))
        expected["specificity"].append(sk.recall_score(1 - truth, ~answer))
        expected["kappa"].append(sk.cohen_kappa_score(truth, answer))
    assert {name: one.value for name, one in found.items()} == pytest.approx({n: np.mean(v) for n, v in expected.items()})


def test_a_model_answers_at_a_threshold() -> None:
    part = predictions("binary")
    data = scored(part.labels, part.targets, part.logits)
    assert model_answers(data, None)[:, 1].tolist() == (data.probabilities[:, 1] > 0.5).tolist()
    low = model_answers(data, 0.2)
    assert low[:, 1].tolist() == (data.probabilities[:, 1] > 0.2).tolist()
    assert (low.sum(axis=1) == 1).all()
    findings = predictions("multilabel")
    many = scored(findings.labels, findings.targets, findings.logits)
    assert (model_answers(many, 0.3) == (many.probabilities > 0.3)).all()
    three = predictions("ordinal")
    with pytest.raises(ConfigError, match="of 3 the most probable is taken"):
        model_answers(scored(three.labels, three.targets, three.logits), 0.3)
    with pytest.raises(ConfigError, match="not between 0 and 1"):
        model_answers(data, 1.0)


def test_a_model_is_held_against_each_reader_and_their_mean_on_the_rows_they_read(tmp_path: Path) -> None:
    part = predictions("binary", skill=3.0)
    table = pd.DataFrame({"sample_id": part.sample_id, "anna": class_table(part, 0.9, 0), "bob": class_table(part, 0.3, 1)})
    table.loc[:29, "anna"] = ""
    table.to_csv(tmp_path / "r.csv", index=False)
    setting = Setting("model", "", ("model",), (part,), (), Interval(200))
    asked = Asked(("auroc",), Interval(200), ("0.1",), differences=False, readers=(str(tmp_path / "r.csv"),))
    report = paired_report([setting], asked)
    truth = part.targets.argmax(axis=1)
    right = {name: table[name] == np.array(part.labels.names)[truth] for name in ("anna", "bob")}
    ours = scored(part.labels, part.targets, part.logits).probabilities.argmax(axis=1) == truth
    expected = {"anna": ours[30:].mean() - right["anna"][30:].mean(), "bob": ours.mean() - right["bob"].mean()}
    expected[MEAN_READER] = (expected["anna"] + expected["bob"]) / 2
    found = {one["first"]: one for one in report["against_readers"] if one["metric"] == "accuracy"}
    assert {name: one["difference"] for name, one in found.items()} == pytest.approx(expected)
    assert found["bob"]["verdict"] == "superior"
    assert found["bob"]["p"] == pytest.approx(2 / 201)
    assert found["bob"]["p_holm"] > found["bob"]["p"]
    assert report["p"]["tests"] == 12
    assert any("readers are taken as they are" in note for note in report["notes"])
