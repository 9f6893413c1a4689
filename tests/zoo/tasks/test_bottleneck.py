"""Concept bottlenecks: fitted heads against scikit-learn, interventions by hand, in torch and in ONNX."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge

import medzoo
from medzoo.cli import main
from medzoo.data.errors import ConfigError, EvaluationError
from medzoo.data.registry import load_dataset
from medzoo.data.samples.sample_dataset import SampleDataset, collate
from medzoo.evaluation.predictions import Predictions
from medzoo.export.runtime.model import OnnxModel
from medzoo.inference.explain import concept_weights, explain_sample
from medzoo.inference.intervene import class_logits, correction_order, intervention_curve
from medzoo.models.heads.bottleneck import BottleneckNetwork
from medzoo.models.heads.linear_layer import fit_linear
from medzoo.settings.schema import TrainerConfig
from medzoo.store.checkpoint import find_checkpoint
from medzoo.tasks.bottleneck import Bottleneck
from medzoo.tasks.load import load_checkpoint
from medzoo.train.optim import make_optimizer, set_learning_rate

TINY = [
    "data=phantom", "data.size=24", "data.patients=30", "model=cbm", "model.backbone=test_resnet", "trainer.trackers=[]",
    "trainer.batch_size=16", "evaluation.replicates=10",
]  # fmt: skip


def trained(run: Path, *options: str) -> Path:
    assert main(["train", *TINY, "trainer.epochs=2", *options, f"run={run}"]) == 0
    return run


@pytest.fixture(
    scope="module", params=["soft", pytest.param("hard", marks=pytest.mark.slow), pytest.param("logit", marks=pytest.mark.slow)]
)
def sequential(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("sequential") / request.param
    trained(run, "model.bottleneck.regime=sequential", f"model.bottleneck.kind={request.param}", "model.bottleneck.penalty=0.5")
    assert main(["export", f"run={run}", "images=7"]) == 0
    return run


def load(run: Path) -> Bottleneck:
    task = load_checkpoint(find_checkpoint(run, "best"))
    assert isinstance(task, Bottleneck)
    return task


def split_of(run: Path, split: str) -> tuple[dict, np.ndarray, np.ndarray]:
    dataset = load_dataset("phantom", size=24, patients=30)
    samples = SampleDataset(dataset, split, load(run).spec.preprocess)
    batch = collate([samples[i] for i in range(len(samples))])
    return batch, samples.concepts, samples.targets


def test_the_sequential_head_equals_scikit_learn_on_the_predicted_concepts(sequential: Path) -> None:
    task = load(sequential)
    batch, _, targets = split_of(sequential, "train")
    shown = task.model.shown(task.predict(batch)["concept_logits"]).numpy()
    theirs = LogisticRegression(C=1 / 0.5, tol=1e-9, max_iter=20_000).fit(shown.astype(np.float64), targets.argmax(1))
    test, *_ = split_of(sequential, "test")
    predicted = task.predict(test)
    shown = task.model.shown(predicted["concept_logits"]).numpy().astype(np.float64)
    np.testing.assert_allclose(predicted["probabilities"].numpy(), theirs.predict_proba(shown), atol=1e-3)


def test_the_independent_head_equals_scikit_learn_on_the_true_concepts(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", "model.bottleneck.regime=independent")
    _, concepts, targets = split_of(run, "train")
    theirs = LogisticRegression(C=1.0, tol=1e-9, max_iter=20_000).fit(concepts.astype(np.float64), targets.argmax(1))
    weights = concept_weights(load(run), Predictions.read(run / "predictions.parquet"))
    ours = weights.loc[list(load(run).spec.concepts.names)].to_numpy().T
    # Softmax outputs may all be shifted alike: differences between classes are what counts.
    np.testing.assert_allclose(ours - ours.mean(0), theirs.coef_ - theirs.coef_.mean(0), atol=1e-3)


def test_fitted_layers_equal_scikit_learn_for_every_kind_of_label() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 4))
    quantity = x @ rng.normal(size=(4, 2)) + rng.normal(size=(120, 2))
    weight, bias = fit_linear(torch.from_numpy(x), torch.from_numpy(quantity), "regression", penalty=3.0)
    ridge = Ridge(alpha=3.0).fit(x, quantity)
    np.testing.assert_allclose(weight.numpy(), ridge.coef_, atol=1e-4)
    np.testing.assert_allclose(bias.numpy(), ridge.intercept_, atol=1e-4)
    findings = (quantity > 0).astype(np.float32)
    findings[:30, 0] = np.nan
    weight, _ = fit_linear(torch.from_numpy(x), torch.from_numpy(findings), "multilabel", penalty=2.0)
    for k, rows in ((0, slice(30, None)), (1, slice(None))):
        theirs = LogisticRegression(C=0.5, tol=1e-9, max_iter=5000).fit(x[rows], findings[rows, k])
        np.testing.assert_allclose(weight[k].numpy(), theirs.coef_[0], atol=1e-4)


def test_correcting_every_concept_is_the_class_head_on_the_truth(sequential: Path) -> None:
    task = load(sequential)
    predictions = Predictions.read(sequential / "predictions.parquet").of_split("test")
    truth = predictions.concept_targets
    corrected = class_logits(task, predictions, truth, np.ones_like(truth))
    with torch.no_grad():
        by_hand = task.model.head(task.model.on_scale(torch.from_numpy(truth))).numpy()
    np.testing.assert_allclose(corrected, by_hand, atol=1e-5)
    graph = OnnxModel(sequential / "model.onnx")
    dataset = load_dataset("phantom", size=24, patients=30)
    rows = dataset.rows("test")
    values = [[rows[c].iloc[i] for c in dataset.reader.columns] for i in range(len(rows))]
    images = [np.moveaxis(dataset.reader.read(*row), 0, -1) for row in values]
    answer = graph.predict(images, concept_values=truth, concept_mask=np.ones_like(truth))
    np.testing.assert_allclose(answer["logits"], by_hand, atol=1e-5)
    plain = graph.predict(images)
    np.testing.assert_allclose(plain["logits"], predictions.logits, atol=1e-3)
    np.testing.assert_allclose(plain["concepts"], 1 / (1 + np.exp(-predictions.concept_logits)), atol=1e-4)
    np.testing.assert_allclose(answer["concepts"], plain["concepts"], atol=1e-6)  # what was predicted, corrected or not
    one = np.zeros_like(truth)
    one[:, 0] = 1
    part = graph.predict(images, concept_values=truth, concept_mask=one)["logits"]
    np.testing.assert_allclose(part, class_logits(task, predictions, truth, one), atol=1e-3)
    with pytest.raises(ConfigError, match=r"concept_mask has shape \[\d+, 4\]"):
        graph.predict(images, concept_values=truth, concept_mask=one[:, :4])
    with pytest.raises(EvaluationError, match="the model has 5 concepts"):
        class_logits(task, predictions, truth[:, :3], one[:, :3])


def test_joint_training_learns_both_and_missing_concepts_add_nothing() -> None:
    torch.manual_seed(0)
    spec_model = BottleneckNetwork(_Flat(6, 3), concepts=3, outputs=2, kind="soft")
    concepts = torch.tensor([[1.0, 0, float("nan")], [float("nan")] * 3])
    logits, _ = spec_model.concepts_and_features(torch.randn(2, 6))
    from medzoo.losses.masked import binary_cross_entropy

    loss, count = binary_cross_entropy(logits, concepts)
    loss.backward()
    gradient = spec_model.backbone.fc.weight.grad
    assert count == 2
    assert torch.equal(gradient[2], torch.zeros(6))
    assert gradient[:2].abs().sum() > 0


class _Flat(torch.nn.Module):
    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(width, outputs)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        return x if pre_logits else self.fc(x)

    def get_classifier(self) -> torch.nn.Module:
        return self.fc


def test_a_hard_bottleneck_steps_and_passes_the_gradient_straight() -> None:
    network = BottleneckNetwork(_Flat(4, 2), concepts=2, outputs=2, kind="hard")
    logits = torch.tensor([[0.3, -2.0]], requires_grad=True)
    shown = network.train().shown(logits)
    torch.testing.assert_close(shown, torch.tensor([[1.0, 0.0]]))
    shown.sum().backward()
    soft = torch.tensor([[0.3, -2.0]]).sigmoid()
    torch.testing.assert_close(logits.grad, soft * (1 - soft))
    assert torch.equal(network.eval().shown(torch.tensor([[0.3, -2.0]])), torch.tensor([[1.0, 0.0]]))


def test_curves_orders_and_explanations(sequential: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = load(sequential)
    predictions = Predictions.read(sequential / "predictions.parquet").of_split("test")
    rows = intervention_curve(task, predictions, policy="random", replicates=20)
    assert [row["corrected"] for row in rows] == [0, 1, 2, 3, 4, 5]
    assert rows[0]["share"] == 0
    assert rows[-1]["share"] == 1
    report = json.loads((sequential / "metrics.json").read_text())["splits"]["test"]
    assert rows[0]["value"] == pytest.approx(report["metrics"]["auroc"]["value"], abs=1e-6)
    uncertain = correction_order(task, predictions, "uncertainty")
    distance = np.abs(1 / (1 + np.exp(-predictions.concept_logits)) - 0.5)
    assert (np.take_along_axis(distance, uncertain.argsort(1), 1)[:, 0] == distance.min(1)).all()
    together = correction_order(task, predictions, "effect", groups=True)
    assert (together[:, :4] == together[:, [0]]).all()  # the phantom's four concepts of a lesion are one group
    assert set(np.unique(together)) == {0, 1}
    sample = str(predictions.sample_id[0])
    explanation = explain_sample(task, predictions, sample)
    for k, name in enumerate(predictions.labels.names):
        assert explanation.outputs[name] == pytest.approx(float(predictions.logits[0, k]), abs=1e-4)
    assert main(["intervene", f"run={sequential}", "replicates=5"]) == 0
    assert main(["intervene", f"run={sequential}", "set.bright spots=0", "randomise=[vessel]"]) == 0
    assert "with bright spots = 0, vessel at random" in capsys.readouterr().out
    assert json.loads((sequential / "interventions_set.json").read_text())["set"] == {"bright spots": 0.0}
    assert "curves" in json.loads((sequential / "interventions.json").read_text())  # which these do not replace
    assert main(["explain", f"run={sequential}"]) == 0
    assert main(["explain", f"run={sequential}", f"sample='{sample}'"]) == 0
    assert list((sequential / "explanations").glob("*.png"))
    assert set(report["concepts"]["auroc"]["classes"]) == set(predictions.concepts.names)


def test_a_residual_path_explains_what_concepts_left_over(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", "model.bottleneck.regime=sequential", "model.bottleneck.residual=true")
    predictions = Predictions.read(run / "predictions.parquet").of_split("val")
    assert predictions.residual_logits is not None
    assert np.abs(predictions.residual_logits).max() > 1e-3
    np.testing.assert_allclose(class_logits(load(run), predictions), predictions.logits, atol=1e-4)
    assert main(["export", f"run={run}", "images=4"]) == 0


@pytest.mark.slow
def test_shuffled_concepts_are_those_of_other_samples(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", "model.bottleneck.regime=sequential", "model.bottleneck.shuffle_concepts=true")
    plain = trained(tmp_path / "plain", "model.bottleneck.regime=sequential")
    assert not torch.equal(load(run).model.head.weight, load(plain).model.head.weight)
    truth = Predictions.read(run / "predictions.parquet").concept_targets
    np.testing.assert_array_equal(truth, Predictions.read(plain / "predictions.parquet").concept_targets)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "kind", ["binary", pytest.param("ordinal", marks=SLOW), "multilabel", pytest.param("regression", marks=SLOW)]
)
def test_every_kind_of_label_goes_through_a_bottleneck(kind: str, tmp_path: Path) -> None:
    run = trained(tmp_path / "run", f"data.labels={kind}", "model.bottleneck.regime=independent", "trainer.epochs=1")
    assert main(["intervene", f"run={run}", "policies=[random]", "replicates=5"]) == 0
    assert main(["export", f"run={run}", "images=4"]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["data=medmnist", "data.set=retinamnist"], "has no concepts"),
        (["model.bottleneck.kind=sof"], "did you mean 'soft'"),
        (["model.bottleneck.regime=joined"], "joint"),
        (["model.bottleneck.concept_weight=0"], "concept_weight=0 must be positive"),
        (["model.bottleneck.regime=sequential", "trainer.monitor=auroc"], "fitted after training"),
        (["data.labels=ordinal", "loss=corn"], "not for concept bottlenecks"),
    ],
)
def test_what_cannot_be_is_one_line(options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = list(TINY)
    if "data=medmnist" in options:
        arrays = {}
        for split, count in (("train", 20), ("val", 10), ("test", 10)):
            arrays[f"{split}_images"] = np.zeros((count, 28, 28, 3), np.uint8)
            arrays[f"{split}_labels"] = (np.arange(count) % 5)[:, None].astype(np.uint8)
        np.savez(tmp_path / "retinamnist.npz", **arrays)
        given = [word for word in TINY if not word.startswith("data")] + [f"data.root={tmp_path}", "data.verify=false"]
    assert main(["train", *given, *options, f"run={tmp_path / 'run'}"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_mistakes_in_interventions_are_one_line(sequential: Path, trained_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        (["intervene", f"run={sequential}", "set.lesio=0"], "did you mean 'lesion'"),
        (["intervene", f"run={sequential}", "set.lesion=2"], "not to a number in 0..1"),
        (["intervene", f"run={sequential}", "set.lesion=yes"], "is not a number"),
        (["intervene", f"run={sequential}", "set.lesion=1", "randomise=[lesion]"], "both set and randomised"),
        (["intervene", f"run={sequential}", "policies=[]"], "policies is empty"),
        (["intervene", f"run={sequential}", "policies=[randm]"], "did you mean 'random'"),
        (["intervene", f"run={trained_run}"], "no concept bottleneck"),
        (["explain", f"run={sequential}", "sample=nobody"], "unknown sample"),
    ):
        capsys.readouterr()
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def test_cases_of_several_photographs_are_averaged_at_the_concepts(sequential: Path) -> None:
    task = load(sequential)
    images = np.random.default_rng(0).integers(0, 256, (3, 24, 24, 1), dtype=np.uint8)
    views = torch.from_numpy(images).movedim(-1, 1)[None]
    case = task.predict({"image": views, "view_mask": torch.ones(1, 3, dtype=torch.bool)})
    found = medzoo.load(sequential).predict_cases([list(images)])
    np.testing.assert_allclose(found["logits"], case["logits"].numpy(), atol=1e-5)
    np.testing.assert_allclose(found["probabilities"], case["probabilities"].numpy(), atol=1e-5)
    deployed = OnnxModel(sequential / "model.onnx").predict_cases([list(images)])
    np.testing.assert_allclose(deployed["logits"], case["logits"].numpy(), atol=1e-3)
    np.testing.assert_allclose(deployed["probabilities"], case["probabilities"].numpy(), atol=1e-3)


@pytest.mark.slow
def test_a_run_may_use_some_of_the_datas_concepts(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", "model.bottleneck.regime=sequential", "model.bottleneck.concepts=[vessel,bright spots]")
    task = load(run)
    assert task.spec.concepts.names == ("bright spots", "vessel")  # in the data's order
    assert task.spec.concepts.groups == {"lesion": ("bright spots",), "surroundings": ("vessel",)}
    predictions = Predictions.read(run / "predictions.parquet").of_split("test")
    rows = load_dataset("phantom", size=24, patients=30).rows("test")
    np.testing.assert_array_equal(predictions.concept_targets, rows[["concept.bright spots", "concept.vessel"]].to_numpy())


def test_a_jointly_trained_class_layer_learns_at_its_own_rate() -> None:
    network = BottleneckNetwork(_Flat(6, 3), concepts=3, outputs=2, kind="soft", class_layer_rate=20.0)
    optimizer = make_optimizer(network, TrainerConfig())
    set_learning_rate(optimizer, 0.01)
    rates = {id(p): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    assert len(rates) == len(list(network.parameters()))  # none lost, none twice
    assert rates[id(network.head.weight)] == pytest.approx((0.2, 0.05 / 20))
    assert rates[id(network.head.bias)] == pytest.approx((0.2, 0.0))
    assert rates[id(network.backbone.fc.weight)] == pytest.approx((0.01, 0.05))
