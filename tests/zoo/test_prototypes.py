"""Prototypes of concepts through the whole of it: trained, corrected, led elsewhere in torch and in files, resumed, refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import medzoo
from medzoo.cli import main
from medzoo.data.errors import EvaluationError, TrainingError
from medzoo.data.registry import load_dataset
from medzoo.data.samples.sample_dataset import collate
from medzoo.evaluation.predictions import Predictions
from medzoo.export.runtime.model import OnnxModel
from medzoo.inference.explain import concept_weights, explain_sample
from medzoo.inference.intervene import class_logits, correction_order, intervention_curve
from medzoo.inference.maps.explainer import class_explainer, concept_explainer
from medzoo.inference.maps.regions import look_past
from medzoo.losses.prototypes import prototype_contrast
from medzoo.models.heads.class_layer import set_intervention_means
from medzoo.models.heads.prototypes import PrototypeNetwork
from medzoo.store.checkpoint import find_checkpoint
from medzoo.store.spec import ModelSpec
from medzoo.tasks.load import load_checkpoint, task_from_spec
from medzoo.tasks.prototypes import PrototypeBottleneck, nearest_places
from medzoo.train.loop import Trainer
from tests.zoo.models.heads.test_prototypes import by_hand
from tests.zoo.random_corrections import corrected

SEEN = ["data=phantom", "data.size=24", "data.patients=30"]
TINY = [
    *SEEN, "model=cbm", "model.bottleneck.kind=prototype", "trainer.epochs=1", "model.bottleneck.prototypes.count=3",
    "model.bottleneck.prototypes.width=8", "model.backbone=test_resnet", "trainer.trackers=[]", "trainer.batch_size=16",
    "evaluation.replicates=5",
]  # fmt: skip
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 24, 24, 1), dtype=np.uint8)
BOX = [0, 0, 24, 9]
"""The upper row of the network's 3 by 3 places, and what it touches of the second."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prototypes") / "run"
    assert main(["train", *TINY, "model.bottleneck.regime=sequential", "model.bottleneck.penalty=0.01", f"run={path}"]) == 0
    assert main(["export", f"run={path}", "images=8", "map=true"]) == 0
    return path


def load(run: Path) -> PrototypeBottleneck:
    task = load_checkpoint(find_checkpoint(run, "best"))
    assert isinstance(task, PrototypeBottleneck)
    return task


def test_a_spec_says_what_the_network_is(run: Path) -> None:
    spec = ModelSpec.read(run / "spec.json")
    assert spec.objective["prototypes"] == {
        "count": 3, "width": 8, "weight": 1.0, "temperature": 0.05, "assignment": 0.1, "margin": 0.01
    }  # fmt: skip
    assert (spec.objective["kind"], spec.objective["regime"], spec.arguments["outputs"]) == ("prototype", "sequential", 5)
    again = task_from_spec(spec)
    assert isinstance(again, PrototypeBottleneck)
    assert isinstance(again.model, PrototypeNetwork)
    assert again.model.head.in_features == 5 * 3
    assert again.model.unfinished is not None
    assert load(run).model.unfinished is None


def test_corrections_are_the_same_in_torch_in_the_files_and_deployed(run: Path) -> None:
    task, model, deployed = load(run), medzoo.load(run), OnnxModel(run / "model.onnx")
    values, mask = corrected(5, 5)
    for given in ({}, {"concept_values": values, "concept_mask": mask}, {"concept_values": {"lesion": 1, "vessel": 0}}):
        ours, theirs = model.predict(IMAGES, **given), deployed.predict(list(IMAGES), **given)
        for name in ("logits", "probabilities", "concepts"):
            np.testing.assert_allclose(theirs[name], ours[name], atol=1e-4)
    said = model.predict(IMAGES)
    low, high, weight, bias = (
        part.detach().numpy().astype(np.float64)
        for part in (task.model.low, task.model.high, task.model.head.weight, task.model.head.bias)
    )
    scores = said["prototype_scores"].copy()
    for image, concept in zip(*np.nonzero(mask), strict=True):
        own = slice(3 * concept, 3 * concept + 3)
        scores[image, own] = low[own] + values[image, concept] * (high - low)[own]
    found = model.predict(IMAGES, concept_values=values, concept_mask=mask)
    np.testing.assert_allclose(found["logits"], scores @ weight.T + bias, atol=1e-4)
    np.testing.assert_array_equal(found["prototype_scores"], said["prototype_scores"])  # what was seen, corrected or not
    assert np.abs(found["logits"] - said["logits"]).max() > 1e-3
    predictions = Predictions.read(run / "predictions.parquet").of_split("test")
    assert predictions.prototype_scores.shape == (len(predictions), 15)
    np.testing.assert_allclose(class_logits(task, predictions), predictions.logits, atol=1e-4)
    samples = task.samples(load_dataset("phantom", size=24, patients=30), "test")
    truth, known = samples.concepts, np.ones_like(samples.concepts)
    pixels = np.stack([samples.pixels(index) for index in range(len(samples))])
    wanted = model.predict(pixels, concept_values=truth, concept_mask=known)["logits"]
    np.testing.assert_allclose(class_logits(task, predictions, truth, known), wanted, atol=1e-4)


def test_scores_are_the_largest_cosines_and_the_classes_follow_from_them_alone(run: Path) -> None:
    task = load(run)
    batch = {"image": torch.from_numpy(IMAGES).movedim(-1, 1)}
    maps, said = task.similarity_maps(batch), task.predict(batch)
    assert maps.shape == (5, 5, 3, 3, 3)
    torch.testing.assert_close(said["prototype_scores"], maps.amax(dim=(3, 4)).flatten(1))
    torch.testing.assert_close(said["logits"], task.model.head(said["prototype_scores"]).detach())
    assert float(maps.abs().max()) <= 1 + 1e-5
    # A correction is on the scale of what the training split's scores are where the concept is there, and where it is not.
    dataset = load_dataset("phantom", size=24, patients=30)
    train = task.samples(dataset, "train")
    task.prepare(train, dataset)
    pixels = torch.stack([train[0, index]["image"] for index in range(len(train))])
    scores = task.predict({"image": pixels})["prototype_scores"].numpy().reshape(len(train), 5, 3)
    low, high = (end.numpy().reshape(5, 3) for end in (task.model.low, task.model.high))
    for concept in range(5):
        has = train.concepts[:, concept] == 1
        np.testing.assert_allclose(high[concept], scores[has, concept].mean(axis=0), atol=1e-4)
        np.testing.assert_allclose(low[concept], scores[~has, concept].mean(axis=0), atol=1e-4)


def test_what_a_correction_stands_for_is_told_by_what_is_known_alone() -> None:
    network, scores = by_hand(), torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]])
    set_intervention_means(network, scores, torch.tensor([[1.0, 0], [0, torch.nan], [1, 1]]))
    torch.testing.assert_close(network.high, torch.tensor([5.0, 6, 11, 12]))
    torch.testing.assert_close(network.low, torch.tensor([5.0, 6, 3, 4]))
    assert network.unfinished is None


@pytest.mark.parametrize(("value", "message"), [(1.0, "every sample of the train split has concept 'vessel'"),
                                                (0.0, "every sample of the train split lacks concept 'vessel'")])  # fmt: skip
def test_a_concept_of_one_kind_alone_is_refused(value: float, message: str, run: Path) -> None:
    task, dataset = load(run), load_dataset("phantom", size=24, patients=30)
    samples = task.samples(dataset, "train")
    task.prepare(samples, dataset)
    task.require(samples)
    samples.concepts[:, 4] = value
    samples.concepts[0, 4] = np.nan
    with pytest.raises(TrainingError, match=message):
        task.require(samples)


def test_the_file_of_the_run_says_which_place_of_which_training_image_is_nearest(run: Path) -> None:
    task, found = load(run), pd.read_csv(run / "prototypes.csv")
    assert list(found.columns) == ["concept", "prototype", "sample", "row", "column", "rows", "columns", "similarity"]
    assert list(zip(found["concept"], found["prototype"], strict=True)) == [
        (name, number) for name in task.concept_labels.names for number in range(3)
    ]
    dataset = load_dataset("phantom", size=24, patients=30)
    train = task.samples(dataset, "train")
    task.prepare(train, dataset)
    maps = task.similarity_maps({"image": torch.stack([train[0, index]["image"] for index in range(len(train))])}).numpy()
    for row in found.itertuples():
        concept = task.concept_labels.names.index(row.concept)
        own = maps[:, concept, row.prototype]
        place = list(train.sample_ids).index(row.sample)
        assert train.concepts[place, concept] == 1
        assert own[place, row.row, row.column] == pytest.approx(row.similarity, abs=1e-4)
        assert own[train.concepts[:, concept] == 1].max() == pytest.approx(row.similarity, abs=1e-4)
    assert (found["rows"] == 3).all()


def test_nearest_places_by_hand_of_volumes_and_of_views() -> None:
    found = {
        "similarity": np.array([[0.9, 0.1], [0.5, 0.8], [0.7, 0.9]]),
        "place": np.array([[0.0, 1], [7, 2], [5, 3]]), "view": np.array([[0.0, 0], [0, 0], [1, 0]])
    }  # fmt: skip
    truth = np.array([[0, 1], [1, np.nan], [1, 0]], np.float32)
    table = nearest_places(found, truth, ("a", "b"), ("x", "y", "z"), (2, 2, 2), several=True)
    first = table.iloc[0]
    assert (first["sample"], first["view"], first["slice"], first["row"], first["column"]) == ("z", 1, 1, 0, 1)
    assert first["similarity"] == 0.7  # the image of 0.9 has no such concept
    assert list(table.iloc[1]) == ["b", 0, "x", 0, 0, 0, 1, 2, 2, 0.1]
    flat = nearest_places(found, truth, ("a",), ("x", "y", "z"), (4, 2))
    assert list(flat["row"]) == [2, 1]
    assert not {"view", "slice"} & set(flat.columns)


def test_of_several_views_the_nearest_place_is_of_those_that_are_there(run: Path) -> None:
    task = load(run)
    views = torch.from_numpy(IMAGES[:4]).movedim(-1, 1).reshape(2, 2, 1, 24, 24)
    mask = torch.tensor([[True, True], [True, False]])
    found = task._places({"image": views, "view_mask": mask})
    maps = task.similarity_maps({"image": torch.from_numpy(IMAGES[:3]).movedim(-1, 1)}).flatten(3).flatten(1, 2)
    tops, places = maps.max(dim=2)
    torch.testing.assert_close(found["similarity"], torch.stack([tops[:2].amax(dim=0), tops[2]]))
    view = tops[:2].argmax(dim=0)
    assert torch.equal(found["view"], torch.stack([view, torch.zeros_like(view)]))
    assert torch.equal(found["place"], torch.stack([places[:2].gather(0, view[None])[0], places[2]]))


def test_a_box_takes_places_from_maps_and_prototypes_in_torch_and_deployed_alike(run: Path) -> None:
    task, model, deployed = load(run), medzoo.load(run), OnnxModel(run / "model.onnx")
    plain = model.predict(IMAGES)
    maps = task.similarity_maps({"image": torch.from_numpy(IMAGES).movedim(-1, 1)}).numpy()
    vessel = task.concept_labels.names.index("vessel")
    for region, left in (({"remove": BOX}, maps[..., 2:, :]), ({"within": [0, 16, 24, 8]}, maps[..., 2:, :])):
        ours, theirs = model.predict(IMAGES, regions=region), deployed.predict(list(IMAGES), regions=region)
        for name in ("logits", "probabilities", "concepts"):
            np.testing.assert_allclose(theirs[name], ours[name], atol=1e-4)
        np.testing.assert_allclose(ours["prototype_scores"], left.max(axis=(3, 4)).reshape(5, -1), atol=1e-5)
        only = {**region, "only": ["vessel"]}
        some, deployed_some = model.predict(IMAGES, regions=only), deployed.predict(list(IMAGES), regions=only)
        np.testing.assert_allclose(deployed_some["logits"], some["logits"], atol=1e-4)
        by_concept = some["prototype_scores"].reshape(5, 5, 3)
        np.testing.assert_array_equal(by_concept[:, vessel], ours["prototype_scores"].reshape(5, 5, 3)[:, vessel])
        kept = np.delete(by_concept, vessel, axis=1)
        np.testing.assert_allclose(kept, np.delete(plain["prototype_scores"].reshape(5, 5, 3), vessel, axis=1), atol=1e-6)
        assert np.abs(ours["logits"] - plain["logits"]).max() > 1e-4
    region = np.zeros((24, 24), bool)
    region[2:9, 3:15] = True
    found = look_past(task, IMAGES[0], region, ["vessel"])
    np.testing.assert_array_equal(found.concept_logits["after"][:vessel], found.concept_logits["before"][:vessel])
    np.testing.assert_allclose(found.logits["before"], plain["logits"][0], atol=1e-5)


def test_orders_curves_and_explanations(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task, predictions = load(run), Predictions.read(run / "predictions.parquet").of_split("test")
    names, classes = predictions.concepts.names, list(predictions.labels.names)
    p = 1 / (1 + np.exp(-predictions.concept_logits.astype(np.float64)))
    every = {
        value: np.stack([class_logits(task, predictions, np.full((1, 5), value), np.eye(5)[[m]]) for m in range(5)], axis=1)
        for value in (0, 1)
    }
    moved = {value: np.abs(found - predictions.logits[:, None]) for value, found in every.items()}
    expected = (p[..., None] * moved[1] + (1 - p[..., None]) * moved[0]).max(axis=2)
    order = correction_order(task, predictions, "effect")
    np.testing.assert_array_equal(order.argsort(axis=1)[:, 0], expected.argmax(axis=1))
    rows = intervention_curve(task, predictions, policy="random", replicates=0)
    assert [row["corrected"] for row in rows] == [0, 1, 2, 3, 4, 5]
    explained = explain_sample(task, predictions, str(predictions.sample_id[3]))
    assert list(explained.table.index) == [*names, "(bias)"]
    np.testing.assert_allclose(list(explained.outputs.values()), predictions.logits[3], atol=1e-4)
    weight = task.model.head.weight.detach().numpy()
    added = explained.table.loc["vessel", classes].to_numpy(float)
    np.testing.assert_allclose(added, weight[:, 12:] @ predictions.prototype_scores[3, 12:], atol=1e-5)
    weights = concept_weights(task, predictions)
    np.testing.assert_array_equal(weights.loc["vessel 1", classes].to_numpy(float), weight[:, 13])
    assert len(weights) == 16
    assert main(["intervene", f"run={run}", "policies=[random,effect]", "replicates=5"]) == 0
    assert main(["intervene", f"run={run}", f"sample='{predictions.sample_id[0]}'", f"remove={BOX}"]) == 0
    assert main(["explain", f"run={run}", f"sample='{predictions.sample_id[0]}'"]) == 0
    assert main(["explain", f"run={run}"]) == 0
    assert "lesion 0" in capsys.readouterr().out
    with pytest.raises(EvaluationError, match="lack the scores of the prototypes"):
        class_logits(task, replace(predictions, prototype_scores=None))
    assert predictions.as_concepts().prototype_scores is None
    assert concept_explainer(task).method == "cam"
    assert class_explainer(task).method == "gradcam"


def test_of_a_case_scores_are_averaged(run: Path) -> None:
    task, case = load(run), list(IMAGES[:3])
    views = torch.from_numpy(IMAGES[:3]).movedim(-1, 1)[None]
    said = task.predict({"image": views, "view_mask": torch.ones(1, 3, dtype=torch.bool)})
    scores = task.predict({"image": views[0]})["prototype_scores"].mean(dim=0, keepdim=True)
    by_hand = task.model.head(scores).detach().numpy()
    np.testing.assert_allclose(said["logits"].numpy(), by_hand, atol=1e-5)
    for answer in (medzoo.load(run).predict_cases([case]), OnnxModel(run / "model.onnx").predict_cases([case])):
        np.testing.assert_allclose(answer["logits"], by_hand, atol=1e-4)


def learning_batch(task: PrototypeBottleneck, count: int = 8) -> dict[str, Any]:
    dataset = load_dataset("phantom", size=24, patients=30)
    samples = task.samples(dataset, "train", training=True)
    task.prepare(samples, dataset)
    return collate([samples[0, index] for index in range(count)])


@pytest.mark.parametrize("regime", ["sequential", "joint"])
def test_the_loss_and_what_learns_by_it(regime: str, run: Path) -> None:
    task = load(run).eval()
    task.regime = regime
    batch = learning_batch(task)
    batch["concepts"][0], batch["concepts"][2, 1] = torch.nan, torch.nan
    found = task.training_step(batch)["loss"]
    logits, places = task.model.concepts_and_places(task.input(batch["image"]))
    known = ~batch["concepts"].isnan()
    concepts = torch.nn.functional.binary_cross_entropy_with_logits(logits[known], batch["concepts"][known], reduction="sum")
    vectors = task.model.projected(task.model.local_vectors(places))
    mean, count = prototype_contrast(vectors, task.model.directions(), batch["concepts"])
    wanted = (concepts + mean * count) / (8 * 5)
    if regime == "joint":
        outputs = task.model.head(task.model.beside(places))
        wanted = wanted - (batch["target"] * outputs.log_softmax(dim=1)).sum() / 8
    torch.testing.assert_close(found, wanted)
    # The backbone learns of what is not about concepts jointly alone.
    task.concept_weight = 0.0
    task.zero_grad()
    task.training_step(batch)["loss"].backward()
    learnt = {name: p.grad is not None and float(p.grad.abs().max()) > 0 for name, p in task.model.named_parameters()}
    assert learnt["prototypes"]
    assert learnt["projector.0.weight"]
    assert learnt["backbone.conv1.weight"] == learnt["head.weight"] == (regime == "joint")
    # Losses are sums over what is known: halves of a batch weigh as the whole does.
    halves = [task.training_step({name: value[part] for name, value in batch.items() if isinstance(value, torch.Tensor)})["loss"]
              for part in (slice(0, 4), slice(4, 8))]  # fmt: skip
    torch.testing.assert_close((halves[0] + halves[1]) / 2, task.training_step(batch)["loss"])


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
    assert not (tmp_path / "cut" / "prototypes.csv").exists()
    assert main(["train", f"resume={tmp_path / 'cut'}", "trainer.workers=1"]) == 0
    for file in ("predictions.parquet", "history.csv", "prototypes.csv"):
        assert (tmp_path / "cut" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), file
    whole, cut = (find_checkpoint(tmp_path / name, "last") / "model.safetensors" for name in ("whole", "cut"))
    assert cut.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["model.bottleneck.regime=independent"], "regime=independent fits classes to true concepts, and no truth says"),
        (["model.bottleneck.regime=posthoc"], "a posthoc bottleneck has model.bottleneck.kind=logit, not prototype"),
        (["model.bottleneck.regime=language"], "a language bottleneck has model.bottleneck.kind=score, not prototype"),
        (["model.bottleneck.residual=true"], "residual=true is a path beside the concepts, and classes read the scores"),
        (["model.bottleneck.prototypes.count=0"], "model.bottleneck.prototypes.count=0 must be at least 1"),
        (["model.bottleneck.prototypes.temperature=0"], "model.bottleneck.prototypes.temperature=0 must be positive"),
        (["model.bottleneck.prototypes.margin=-1"], "model.bottleneck.prototypes.margin=-1 must be at least 0"),
        (["model.bottleneck.concepts=[lesion]"], "by contrast between concepts, and here is one alone"),
        (["model.bottleneck.kind=soft"], "model.bottleneck.prototypes is of model.bottleneck.kind=prototype, not of soft"),
        (["model.bottleneck.width=4"], "model.bottleneck.width is of model.bottleneck.kind=embedding, not of prototype"),
        (["model.backbone=test_vit"], "does not read the plain mean of its features over places; take a backbone"),
        (["model.bottleneck.kind=prototypes"], "did you mean 'prototype'"),
    ],
)
def test_what_cannot_be_is_one_line(options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [word for word in TINY if options != ["model.bottleneck.kind=prototypes"] or ".prototypes." not in word]
    assert main(["train", *given, *options, f"run={tmp_path / 'run'}"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


SLOW = pytest.mark.slow


@SLOW
@pytest.mark.parametrize("labels", ["regression", "multilabel", "ordinal"])
def test_every_kind_of_label(labels: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(["train", *TINY, f"data.labels={labels}", f"run={run}"]) == 0
    assert main(["export", f"run={run}", "images=4", "map=true"]) == 0
    values, mask = corrected(5, 5)
    ours = medzoo.load(run).predict(IMAGES, concept_values=values, concept_mask=mask)["logits"]
    deployed = OnnxModel(run / "model.onnx").predict(list(IMAGES), concept_values=values, concept_mask=mask)["logits"]
    np.testing.assert_allclose(deployed, ours, rtol=1e-3, atol=1e-3)
    predictions = Predictions.read(run / "predictions.parquet")
    np.testing.assert_allclose(class_logits(load(run), predictions), predictions.logits, rtol=1e-4, atol=1e-4)


@SLOW
def test_others_start_from_its_network_and_it_from_others(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soft = ["model=cbm", *SEEN, "trainer.epochs=1", "trainer.trackers=[]", "evaluation.replicates=5"]
    assert main(["train", *soft, f"model.backbone={run}", f"run={tmp_path / 'soft'}"]) == 0
    assert "its last layer included" in capsys.readouterr().out  # both say concepts by a linear layer
    back = [word for word in TINY if not word.startswith("model.backbone")]
    assert main(["train", *back, f"model.backbone={tmp_path / 'soft'}", f"run={tmp_path / 'back'}"]) == 0
    assert "its last layer included" in capsys.readouterr().out
