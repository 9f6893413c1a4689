"""Interventions where truth is missing, and runs whose predictions are of another checkpoint or model."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from medzoo.cli import main
from medzoo.data.errors import ConfigError, EvaluationError
from medzoo.evaluation.predictions import Predictions
from medzoo.inference.bottleneck_run import open_bottleneck
from medzoo.inference.intervene import class_logits, correction_order, intervention_curve
from medzoo.store.checkpoint import find_checkpoint
from medzoo.tasks.bottleneck import Bottleneck
from medzoo.tasks.load import load_checkpoint

TINY = [
    "data=phantom", "data.size=24", "data.patients=30", "model=cbm", "model.backbone=test_resnet", "trainer.epochs=1",
    "trainer.trackers=[]", "evaluation.replicates=5",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("intervene") / "run"
    assert main(["train", *TINY, f"run={folder}"]) == 0
    return folder


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


@pytest.fixture(scope="module")
def opened(run: Path) -> tuple[Bottleneck, Predictions]:
    _, task, predictions = open_bottleneck(run)
    return task, predictions.of_split("test")


def with_truth(predictions: Predictions, known: np.ndarray) -> Predictions:
    assert predictions.concept_targets is not None
    return replace(predictions, concept_targets=np.where(known, predictions.concept_targets, np.nan).astype(np.float32))


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_the_checkpoint_is_the_one_the_predictions_are_of(copy: Path) -> None:
    last = find_checkpoint(copy, "last")
    assert last != find_checkpoint(copy, "best")
    weights = safetensors.torch.load_file(last / "model.safetensors")
    weights["head.weight"] = weights["head.weight"] * 3 + 1
    weights["fc.weight" if "fc.weight" in weights else "head.bias"] += 0.5
    (last / "model.safetensors").write_bytes(safetensors.torch.save(weights))
    assert main(["evaluate", f"run={copy}", "checkpoint=last", "evaluation.replicates=5"]) == 0
    _, task, predictions = open_bottleneck(copy)
    assert torch.equal(task.model.head.weight, weights["head.weight"])
    np.testing.assert_allclose(class_logits(task, predictions), predictions.logits, atol=1e-4)
    assert main(["intervene", f"run={copy}", "policies=[random]", "replicates=5"]) == 0
    said = json.loads((copy / "interventions.json").read_text())
    assert said["curves"]["random"][0]["value"] == pytest.approx(said["before"], abs=1e-6)
    assert main(["explain", f"run={copy}"]) == 0
    first = (copy / "concept_weights.csv").read_text().splitlines()[1].split(",")[1:]
    np.testing.assert_allclose(np.array(first, dtype=np.float64), weights["head.weight"][:, 0].numpy(), atol=1e-5)


@pytest.mark.parametrize("command", ["intervene", "explain"])
def test_predictions_of_another_model_or_checkpoint_are_one_line(
    command: str, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = copy / "predictions.parquet"
    own = Predictions.read(file)
    assert own.details["checkpoint"] == "best"
    without = replace(own, concepts=None, concept_targets=None, concept_logits=None)
    for other in (without, replace(without, spec_hash="0" * 64), replace(own, spec_hash="0" * 64)):
        other.write(file)
        assert "not of this concept bottleneck" in refused([command, f"run={copy}"], capsys)
    replace(own, details={}).write(file)
    assert "does not say which checkpoint" in refused([command, f"run={copy}"], capsys)
    file.unlink()
    assert "medzoo evaluate" in refused([command, f"run={copy}"], capsys)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("metric=soft_cross_entropy", "soft_cross_entropy is undefined on the test split (no target is soft)"),
        ("metric=top5_accuracy", "top5_accuracy is undefined on the test split (there are 4 classes)"),
        ("level=3", "level=3 is not between 0 and 1"),
        ("level=0", "level=0 is not between 0 and 1"),
        ("replicates=-3", "replicates=-3 must be at least 0"),
    ],
)
def test_settings_that_cannot_be_are_one_line(setting: str, message: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in refused(["intervene", f"run={run}", setting], capsys)
    assert message in refused(["intervene", f"run={run}", setting, "set.lesion=1"], capsys)


def test_the_curve_of_an_undefined_metric_has_no_values(opened: tuple[Bottleneck, Predictions]) -> None:
    rows = intervention_curve(*opened, metric="top5_accuracy", replicates=5)
    assert {(row["value"], row["low"], row["high"]) for row in rows} == {(None, None, None)}
    for wrong in ({"replicates": -1}, {"level": 1.0}):
        with pytest.raises(ConfigError, match=r"must be at least 0|not between 0 and 1"):
            intervention_curve(*opened, **wrong)


def test_without_any_truth_nothing_can_be_corrected(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = copy / "predictions.parquet"
    own = Predictions.read(file)
    in_test = own.split == "test"
    with_truth(own, ~in_test[:, None]).write(file)
    assert "the truth of no concept is known in the test split: nothing can be corrected; set.<concept>=... works" in refused(
        ["intervene", f"run={copy}"], capsys
    )
    assert not (copy / "interventions.json").exists()
    assert main(["intervene", f"run={copy}", "split=val", "replicates=5"]) == 0
    assert main(["intervene", f"run={copy}", "set.lesion=1"]) == 0


@pytest.mark.parametrize("policy", ["random", "uncertainty", "effect"])
def test_each_step_corrects_one_more_known_concept_of_every_sample(policy: str, opened: tuple[Bottleneck, Predictions]) -> None:
    task, whole = opened
    rng = np.random.default_rng(0)
    known = rng.random(whole.concept_targets.shape) < 0.5
    known[0], known[1] = False, [True, True, False, True, True]  # none known of one sample, four of another, never all five
    known[:, 2] = False
    predictions = with_truth(whole, known)
    count = known.sum(axis=1)
    place = correction_order(task, predictions, policy)
    np.testing.assert_array_equal(np.sort(place, axis=1), np.tile(np.arange(5), (len(place), 1)))
    for step in range(6):
        np.testing.assert_array_equal(((place < step) & known).sum(axis=1), np.minimum(step, count))
    rows = intervention_curve(task, predictions, policy=policy, replicates=0)
    assert [row["corrected"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["share"] for row in rows] == pytest.approx([np.minimum(k, count).sum() / known.size for k in range(5)])
    # Among the known ones the order is that of the whole.
    full = correction_order(task, whole, policy)
    for mine, theirs, seen in zip(place, full, known, strict=True):
        np.testing.assert_array_equal(mine[seen].argsort(), theirs[seen].argsort())


def test_a_group_of_which_nothing_is_known_comes_last(opened: tuple[Bottleneck, Predictions]) -> None:
    task, whole = opened  # four concepts of the lesion are one group, the vessel is another
    known = np.ones_like(whole.concept_targets, dtype=bool)
    known[0, :4] = False  # the vessel alone
    known[1, 4] = False  # the lesion alone
    known[2, :3] = False  # both, of the lesion one concept
    for policy in ("random", "uncertainty", "effect"):
        predictions = with_truth(whole, known)
        place = correction_order(task, predictions, policy, groups=True)
        assert place[0].tolist() == [1, 1, 1, 1, 0]
        assert place[1].tolist() == [0, 0, 0, 0, 1]
        single = correction_order(task, predictions, policy)
        assert (place[2, 3] < place[2, 4]) == (single[2, 3] < single[2, 4])
        rows = intervention_curve(task, predictions, policy=policy, groups=True, replicates=0)
        assert [row["corrected"] for row in rows] == [0, 1, 2]
        assert rows[-1]["share"] == pytest.approx(known.mean())


def test_predictions_of_a_file_are_read_without_a_warning(
    opened: tuple[Bottleneck, Predictions], recwarn: pytest.WarningsRecorder
) -> None:
    task, predictions = opened
    logits = predictions.concept_logits.copy()
    logits.setflags(write=False)  # as arrays of a file may be
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        frozen = replace(predictions, concept_logits=logits)
        class_logits(task, frozen)
        for policy in ("uncertainty", "effect"):
            correction_order(task, frozen, policy)
    finally:
        torch.set_warn_always(always)
    assert not [w for w in recwarn if "writable" in str(w.message)]


def test_orders_and_logits_are_for_the_models_own_predictions(run: Path, opened: tuple[Bottleneck, Predictions]) -> None:
    task, predictions = opened
    other = replace(predictions, spec_hash="0" * 64)
    for call in (class_logits, lambda t, p: correction_order(t, p, "random"), intervention_curve):
        with pytest.raises(EvaluationError, match="not of this concept bottleneck"):
            call(task, other)
    assert isinstance(load_checkpoint(find_checkpoint(run, "best")), Bottleneck)
