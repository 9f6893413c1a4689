"""Concept embeddings through the whole of it: trained, corrected in torch, in files and on the command line, resumed, refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import medzoo
from medzoo.cli import main
from medzoo.data.errors import ConfigError, EvaluationError
from medzoo.data.registry import load_dataset
from medzoo.data.samples.sample_dataset import collate
from medzoo.evaluation.predictions import Predictions
from medzoo.export.runtime.model import OnnxModel
from medzoo.inference.explain import concept_weights, explain_sample
from medzoo.inference.intervene import class_logits, correction_order, intervention_curve
from medzoo.inference.maps.explainer import class_explainer, concept_explainer
from medzoo.inference.maps.regions import look_again, look_past
from medzoo.models.heads.concept_embeddings import EmbeddingNetwork
from medzoo.models.places import NotLinearError
from medzoo.store.checkpoint import find_checkpoint
from medzoo.store.spec import ModelSpec
from medzoo.tasks.concept_embeddings import EmbeddingBottleneck
from medzoo.tasks.load import load_checkpoint, task_from_spec
from medzoo.train.loop import Trainer
from tests.zoo.random_corrections import corrected

TINY = [
    "data=phantom", "data.size=24", "data.patients=30", "model=cbm", "model.bottleneck.kind=embedding", "trainer.epochs=1",
    "model.bottleneck.width=4", "model.backbone=test_resnet", "trainer.trackers=[]", "trainer.batch_size=16",
    "evaluation.replicates=5",
]  # fmt: skip
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 24, 24, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("embedding") / "run"
    assert main(["train", *TINY, f"run={path}"]) == 0
    assert main(["export", f"run={path}", "images=8"]) == 0
    return path


def load(run: Path) -> EmbeddingBottleneck:
    task = load_checkpoint(find_checkpoint(run, "best"))
    assert isinstance(task, EmbeddingBottleneck)
    return task


def test_a_spec_says_what_the_network_is(run: Path) -> None:
    spec = ModelSpec.read(run / "spec.json")
    said = {name: spec.objective[name] for name in ("kind", "regime", "width", "random_corrections")}
    assert said == {"kind": "embedding", "regime": "joint", "width": 4, "random_corrections": 0.25}
    assert spec.arguments["outputs"] == 5 * 2 * 4
    again = task_from_spec(ModelSpec.read(run / "spec.json"))
    assert isinstance(again, EmbeddingBottleneck)
    assert isinstance(again.model, EmbeddingNetwork)
    assert again.spec.hash == spec.hash
    assert again.model.head.in_features == 5 * 4


def test_corrections_are_the_same_in_torch_in_the_files_and_deployed(run: Path) -> None:
    task, model, deployed = load(run), medzoo.load(run), OnnxModel(run / "model.onnx")
    values, mask = corrected(5, 5)
    for given in ({}, {"concept_values": values, "concept_mask": mask}, {"concept_values": {"lesion": 1, "vessel": 0}}):
        ours, theirs = model.predict(IMAGES, **given), deployed.predict(list(IMAGES), **given)
        for name in ("logits", "probabilities", "concepts"):
            np.testing.assert_allclose(theirs[name], ours[name], atol=1e-4)
    said = model.predict(IMAGES)
    plain = said["concepts"]
    # By hand from what a prediction says of its own sample: linear in the concepts' probabilities.
    shown = np.where(mask == 1, values, plain)
    by_hand = said["absent_logits"] + np.einsum("nm,nmk->nk", shown, said["concept_effects"])
    found = model.predict(IMAGES, concept_values=values, concept_mask=mask)
    np.testing.assert_allclose(found["logits"], by_hand, atol=1e-4)
    np.testing.assert_array_equal(found["concepts"], plain)  # what was predicted, corrected or not
    assert np.abs(found["logits"] - said["logits"]).max() > 1e-4
    predictions = Predictions.read(run / "predictions.parquet").of_split("test")
    np.testing.assert_allclose(class_logits(task, predictions), predictions.logits, atol=1e-4)
    samples = task.samples(load_dataset("phantom", size=24, patients=30), "test")
    truth, known = samples.concepts, np.ones_like(samples.concepts)
    pixels = np.stack([samples.pixels(index) for index in range(len(samples))])
    wanted = model.predict(pixels, concept_values=truth, concept_mask=known)["logits"]
    np.testing.assert_allclose(class_logits(task, predictions, truth, known), wanted, atol=1e-4)
    assert np.abs(wanted - predictions.logits).max() > 1e-4


def test_orders_curves_and_explanations(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task, predictions = load(run), Predictions.read(run / "predictions.parquet").of_split("test")
    assert predictions.concept_effects.shape == (len(predictions), 5, len(predictions.labels.names))
    p = 1 / (1 + np.exp(-predictions.concept_logits.astype(np.float64)))
    expected = 2 * p * (1 - p) * np.abs(predictions.concept_effects).max(axis=2)
    order = correction_order(task, predictions, "effect")
    np.testing.assert_array_equal(order.argsort(axis=1)[:, 0], expected.argmax(axis=1))
    rows = intervention_curve(task, predictions, policy="random", replicates=0)
    report = json.loads((run / "metrics.json").read_text())["splits"]["test"]
    assert rows[0]["value"] == pytest.approx(report["metrics"]["auroc"]["value"], abs=1e-6)
    assert [row["corrected"] for row in rows] == [0, 1, 2, 3, 4, 5]
    explained = explain_sample(task, predictions, str(predictions.sample_id[3]))
    assert list(explained.table.index) == [*predictions.concepts.names, "(all absent)"]
    np.testing.assert_allclose(list(explained.outputs.values()), predictions.logits[3], atol=1e-4)
    added = explained.table.loc["vessel", list(predictions.labels.names)].to_numpy(float)
    np.testing.assert_allclose(added, p[3, 4] * predictions.concept_effects[3, 4], atol=1e-5)
    weights = concept_weights(task, predictions)
    np.testing.assert_allclose(weights.loc["lesion"], predictions.concept_effects[:, 0].mean(axis=0), atol=1e-6)
    assert main(["intervene", f"run={run}", "policies=[random,effect]", "replicates=5"]) == 0
    assert main(["intervene", f"run={run}", "set.lesion=1"]) == 0
    assert main(["explain", f"run={run}", f"sample='{predictions.sample_id[0]}'"]) == 0
    assert main(["explain", f"run={run}"]) == 0
    assert "(all absent)" in capsys.readouterr().out
    assert (run / "plots" / "concept_weights.png").is_file()


def test_predictions_without_the_effects_are_refused(run: Path) -> None:
    predictions = Predictions.read(run / "predictions.parquet")
    with pytest.raises(EvaluationError, match="lack what each concept does to its sample"):
        class_logits(load(run), replace(predictions, concept_effects=None))
    assert predictions.as_concepts().concept_effects is None
    taken = predictions.of_split("val")
    np.testing.assert_array_equal(taken.concept_effects, predictions.concept_effects[predictions.split == "val"])


def test_of_a_case_logits_and_embeddings_are_averaged(run: Path) -> None:
    task, case = load(run), list(IMAGES[:3])
    views = torch.from_numpy(IMAGES[:3]).movedim(-1, 1)[None]
    said = task.predict({"image": views, "view_mask": torch.ones(1, 3, dtype=torch.bool)})
    with torch.no_grad():
        logits, embeddings = task.model.concepts_and_features(task.input(views[0]))
        by_hand = task.model.classes(logits.mean(dim=0, keepdim=True), embeddings.mean(dim=0, keepdim=True)).numpy()
    np.testing.assert_allclose(said["logits"].numpy(), by_hand, atol=1e-5)
    found = medzoo.load(run).predict_cases([case, case[:1]])
    deployed = OnnxModel(run / "model.onnx").predict_cases([case, case[:1]])
    for answer in (found, deployed):
        np.testing.assert_allclose(answer["logits"][:1], by_hand, atol=1e-4)
        np.testing.assert_allclose(answer["logits"][1:], medzoo.load(run).predict(IMAGES[:1])["logits"], atol=1e-4)


def training_samples(task: EmbeddingBottleneck, seed: int = 0) -> Any:
    return task.samples(load_dataset("phantom", size=24, patients=30), "train", seed=seed, training=True)


def test_random_corrections_follow_from_seed_epoch_sample_and_concept_alone(run: Path) -> None:
    task = load(run)
    samples = training_samples(task)
    count = len(samples)
    drawn = {epoch: torch.stack([samples[epoch, index]["corrected"] for index in range(count)]) for epoch in range(12)}
    backwards = torch.stack([samples[3, index]["corrected"] for index in reversed(range(count))]).flip(0)
    assert torch.equal(backwards, drawn[3])  # whatever came before
    held = samples.fields([(3, index) for index in range(count)])["corrected"]
    assert torch.equal(held, drawn[3])  # on either way to the device
    assert torch.equal(collate([samples[3, 0], samples[3, 1]])["corrected"], drawn[3][:2])
    assert not torch.equal(drawn[3], drawn[4])
    assert not torch.equal(torch.stack([training_samples(task, 1)[3, index]["corrected"] for index in range(count)]), drawn[3])
    again = torch.stack([samples[3, index, 1]["corrected"] for index in range(count)])
    assert not torch.equal(again, drawn[3])  # of one that comes twice in an epoch, too
    whole = torch.cat(list(drawn.values())).double()
    spread = (0.25 * 0.75 / whole.numel()) ** 0.5
    assert abs(float(whole.mean()) - 0.25) < 4 * spread
    by_concept = torch.corrcoef(whole.T) - torch.eye(5)
    assert float(by_concept.abs().max()) < 5 / len(whole) ** 0.5  # each concept for itself
    for split in ("train", "val"):
        assert "corrected" not in task.samples(load_dataset("phantom", size=24, patients=30), split)[0]


def test_fewer_concepts_are_drawn_as_they_are_among_all(run: Path) -> None:
    samples = training_samples(load(run))
    whole = torch.stack([samples[0, index]["corrected"] for index in range(20)])
    samples.names = samples.names[2:]
    assert torch.equal(torch.stack([samples[0, index]["corrected"] for index in range(20)]), whole[:, 2:])


def test_only_what_is_known_of_a_sample_is_shown_and_the_loss_is_that_of_it(run: Path) -> None:
    task, samples = load(run).train(), training_samples(load(run))
    batch = collate([samples[0, index] for index in range(8)])
    truth = batch["concepts"].clone()
    batch["concepts"][:, 1], batch["concepts"][0] = torch.nan, torch.nan
    batch["corrected"][:] = True
    task.eval()
    found = task.training_step(batch)
    with torch.no_grad():
        logits, embeddings = task.model.concepts_and_features(task.input(batch["image"]))
    shown = logits.sigmoid()
    known = ~batch["concepts"].isnan()
    shown[known] = truth[known]
    present, absent = embeddings.unflatten(1, (5, 2, 4)).unbind(2)
    outputs = task.model.head((shown[..., None] * present + (1 - shown[..., None]) * absent).flatten(1))
    torch.testing.assert_close(found["logits"], outputs.detach())
    classes = -(batch["target"] * outputs.log_softmax(dim=1)).sum() / 8
    concepts = torch.nn.functional.binary_cross_entropy_with_logits(logits[known], truth[known], reduction="sum") / (8 * 5)
    torch.testing.assert_close(found["loss"], classes + concepts)
    # Nothing is corrected where nothing was drawn, and a validation batch has no draws.
    batch["corrected"][:] = False
    plain = task.training_step(batch)["logits"]
    del batch["corrected"]
    assert torch.equal(task.training_step(batch)["logits"], plain)
    assert not torch.equal(plain, found["logits"])


def test_a_training_that_was_stopped_goes_on_to_the_last_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = [*TINY, "trainer.epochs=2", "trainer.save_every=1", "evaluation.splits=[test]"]
    assert main(["train", *options, f"run={tmp_path / 'whole'}"]) == 0
    step = Trainer._step

    def power_cut(self: Trainer, *given: Any) -> float:
        if self.progress.step == 5:
            raise KeyboardInterrupt
        return step(self, *given)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_step", power_cut)
        assert main(["train", *options, f"run={tmp_path / 'cut'}"]) not in (0, None)
    assert not (tmp_path / "cut" / "predictions.parquet").exists()
    assert main(["train", f"resume={tmp_path / 'cut'}", "trainer.workers=1"]) == 0
    for file in ("checkpoints/last", "predictions.parquet", "history.csv"):
        whole, cut = (tmp_path / name / file for name in ("whole", "cut"))
        if file.startswith("checkpoints"):
            whole, cut = (find_checkpoint(tmp_path / name, "last") / "model.safetensors" for name in ("whole", "cut"))
        assert cut.read_bytes() == whole.read_bytes(), file


def test_maps_are_said_not_to_be_exact_and_regions_are_painted_over(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = load(run)
    for make in (class_explainer, concept_explainer):
        explainer = make(task)
        assert explainer.method == "gradcam"
        assert "not linear in the features" in explainer.why
        assert np.abs(explainer.map(IMAGES[0], explainer.names[0]).cells).max() > 0
        with pytest.raises(ConfigError, match="map=cam is exact or not made"):
            make(task, "cam")
    region = np.zeros((24, 24), bool)
    region[2:9, 3:15] = True
    with pytest.raises(NotLinearError, match="read off embeddings"):
        look_again(task, IMAGES[0], ~region)
    capsys.readouterr()
    assert main(["export", f"run={run}", "images=4", "map=true"]) == 2
    assert "read off embeddings, which are not linear in the features" in capsys.readouterr().err
    said = medzoo.load(run).predict(IMAGES[:1])
    found = look_past(task, IMAGES[0], region)
    np.testing.assert_allclose(found.logits["before"], said["logits"][0], atol=1e-5)
    one = look_past(task, IMAGES[0], region, ["vessel"])
    np.testing.assert_array_equal(one.concept_logits["after"][:4], found.concept_logits["before"][:4])
    assert one.concept_logits["after"][4] == found.concept_logits["after"][4]
    assert np.abs(one.logits["after"] - found.logits["before"]).max() > 0
    assert np.abs(one.logits["after"] - found.logits["after"]).max() > 0


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "kind", ["regression", pytest.param("binary", marks=SLOW), pytest.param("ordinal", marks=SLOW),
             pytest.param("multilabel", marks=SLOW)]
)  # fmt: skip
def test_every_kind_of_label(kind: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(["train", *TINY, f"data.labels={kind}", f"run={run}"]) == 0
    assert main(["export", f"run={run}", "images=4"]) == 0
    model, task, values = medzoo.load(run), load(run), np.zeros((5, 5), np.float32)
    predictions = Predictions.read(run / "predictions.parquet")
    np.testing.assert_allclose(class_logits(task, predictions), predictions.logits, rtol=1e-4, atol=1e-4)
    said = model.predict(IMAGES)
    none = model.predict(IMAGES, concept_values=values, concept_mask=values + 1)["logits"]
    np.testing.assert_allclose(none, said["absent_logits"], rtol=1e-4, atol=1e-4)
    deployed = OnnxModel(run / "model.onnx").predict(list(IMAGES), concept_values=values, concept_mask=values + 1)["logits"]
    np.testing.assert_allclose(deployed, none, rtol=1e-3, atol=1e-3)
    explained = explain_sample(task, predictions, str(predictions.sample_id[0]))
    spread = np.array(task.objective.std or 1.0)
    middle = np.array(task.objective.mean or 0.0)
    np.testing.assert_allclose(
        np.array(list(explained.outputs.values())) * spread + middle, predictions.logits[0], rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["model.bottleneck.regime=sequential"], "regime=sequential fits classes to concepts, and embeddings are learnt with"),
        (["model.bottleneck.regime=independent"], "regime=independent fits classes to concepts"),
        (["model.bottleneck.regime=posthoc"], "a posthoc bottleneck has model.bottleneck.kind=logit, not embedding"),
        (["model.bottleneck.regime=language"], "a language bottleneck has model.bottleneck.kind=score, not embedding"),
        (["model.bottleneck.residual=true"], "residual=true is a path beside the concepts, which embeddings are already"),
        (["model.bottleneck.width=0"], "model.bottleneck.width=0 must be at least 1"),
        (["model.bottleneck.random_corrections=1.5"], "random_corrections=1.5 is not between 0 and 1"),
        (["model.bottleneck.kind=soft"], "model.bottleneck.width is of model.bottleneck.kind=embedding, not of soft"),
        (
            ["model.bottleneck.kind=hard", "model.bottleneck.width=16", "model.bottleneck.random_corrections=0"],
            "random_corrections is of model.bottleneck.kind=embedding, not of hard",
        ),
        (["model.bottleneck.kind=embeddings"], "did you mean 'embedding'"),
    ],
)
def test_what_cannot_be_is_one_line(options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [*TINY, *options]
    if "model.bottleneck.kind=embeddings" in options:
        given.remove("model.bottleneck.width=4")
    assert main(["train", *given, f"run={tmp_path / 'run'}"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


@SLOW
def test_others_start_from_its_network_and_it_from_others(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soft = [word for word in TINY if not word.startswith(("model.bottleneck", "model.backbone"))]
    assert main(["train", *soft, f"model.backbone={run}", f"run={tmp_path / 'soft'}"]) == 0
    assert "with a new last layer" in capsys.readouterr().out
    back = [word for word in TINY if not word.startswith("model.backbone")]
    assert main(["train", *back, f"model.backbone={tmp_path / 'soft'}", f"run={tmp_path / 'back'}"]) == 0
    assert "with a new last layer" in capsys.readouterr().out
    posthoc = ["data=phantom", "data.size=24", "data.patients=30", "model=cbm_posthoc", "evaluation.replicates=5"]
    assert main(["train", *posthoc, f"model.backbone={run}", f"run={tmp_path / 'posthoc'}"]) == 0
