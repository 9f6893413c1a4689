"""Post-hoc and language bottlenecks: scores by hand, concept vectors against scikit-learn, the one command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import medzoo
from medzoo.cli import main
from medzoo.data.errors import ConfigError
from medzoo.data.registry import load_dataset
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.data.text.concepts import read_concepts
from medzoo.evaluation.predictions import Predictions
from medzoo.export.runtime.model import OnnxModel
from medzoo.inference.explain import explain_sample
from medzoo.models.heads.concept_scores import ConceptScores, absent_concepts, redundant_concepts
from medzoo.models.heads.linear_layer import PENALTIES
from medzoo.settings.schema import ModelConfig, PreprocessConfig
from medzoo.store.checkpoint import find_checkpoint
from medzoo.tasks.bottleneck import Bottleneck
from medzoo.tasks.load import load_checkpoint
from medzoo.tasks.prepare import concept_truth
from medzoo.tasks.setup.contrast import contrast_with_weights
from medzoo.tasks.setup.frozen import unit_means
from tests.zoo.models.clip.clip_folder import write_folder

PHANTOM = ["data=phantom", "data.size=24", "data.patients=30", "trainer.batch_size=16", "evaluation.replicates=10"]
LIST = """
name: signs
version: "1"
source: made up for this test
templates: ["a scan with {}", "{} in an organ"]
concepts:
  mass: {texts: [a mass, one nodule], column: lesion}
  grain: {texts: [bright grain], column: bright spots, group: texture}
  ring: {texts: [a dark ring], group: texture}
  line: {texts: [a bright line], column: vessel}
"""
LOOSE = ["model.bottleneck.filter.class_similarity=1.01", "model.bottleneck.filter.concept_similarity=1.01"]


@pytest.fixture(scope="module")
def signs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lists") / "signs.yaml"
    path.write_text(LIST, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("weights") / "clip")


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory, signs: Path, clip: Path) -> Path:
    run = tmp_path_factory.mktemp("language") / "run"
    words = [f"model.backbone=local-dir:{clip}", f"model.bottleneck.concepts={signs}", "model.bottleneck.penalty=0.3", *LOOSE]
    assert main(["train", *PHANTOM, "model=cbm_language", *words, f"run={run}"]) == 0
    assert main(["export", f"run={run}", "images=7"]) == 0
    return run


@pytest.fixture(scope="module")
def posthoc(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("posthoc")
    plain = ["model.backbone=test_resnet", "trainer.epochs=2", "trainer.trackers=[]", "evaluate=false"]
    assert main(["train", *PHANTOM, *plain, f"run={folder / 'plain'}"]) == 0
    words = ["model=cbm_posthoc", f"model.backbone={folder / 'plain'}"]
    assert main(["train", *PHANTOM, *words, f"run={folder / 'run'}"]) == 0
    assert main(["export", f"run={folder / 'run'}", "images=7"]) == 0
    return folder / "plain", folder / "run"


def bottleneck(run: Path) -> Bottleneck:
    task = load_checkpoint(find_checkpoint(run))
    assert isinstance(task, Bottleneck)
    return task


def images_of(split: str) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    dataset = load_dataset("phantom", size=24, patients=30)
    rows = dataset.rows(split)
    images = [dataset.reader.read(*(rows[c].iloc[i] for c in dataset.reader.columns)) for i in range(len(rows))]
    concepts = rows[[f"concept.{name}" for name in dataset.concepts.names]].to_numpy(dtype=np.float32)
    return [np.moveaxis(image, 0, -1) for image in images], concepts, rows["target"].to_numpy()


def test_language_scores_are_the_similarities_of_open_clip_by_hand(language: Path, clip: Path) -> None:
    import open_clip
    from torch.nn.functional import normalize

    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{clip}")
    model.eval()
    tokenizer = open_clip.get_tokenizer(f"local-dir:{clip}")
    texts = {
        "mass": ["a scan with a mass", "a mass in an organ", "a scan with one nodule", "one nodule in an organ"],
        "grain": ["a scan with bright grain", "bright grain in an organ"],
        "ring": ["a scan with a dark ring", "a dark ring in an organ"],
        "line": ["a scan with a bright line", "a bright line in an organ"],
    }
    task = bottleneck(language)
    assert task.spec.concepts.names == tuple(texts)
    assert task.spec.concepts.groups == {"texture": ("grain", "ring")}
    with torch.no_grad():
        vectors = torch.stack(
            [normalize(normalize(model.encode_text(tokenizer(t)), dim=1).mean(0), dim=0) for t in texts.values()]
        )
    found = {}
    for split in ("train", "test"):
        images, *_ = images_of(split)
        batch = torch.from_numpy(np.stack(images)).movedim(-1, 1)
        from medzoo.data.samples.preprocess import fit, normalise

        with torch.no_grad():
            pixels = normalise(fit(batch, task.spec.preprocess), task.spec.preprocess)
            similar = normalize(model.encode_image(pixels), dim=1) @ vectors.T
        scores = task.model.backbone.get_classifier()
        assert isinstance(scores, ConceptScores)
        np.testing.assert_allclose(scores.similarities(task.features({"image": batch})).numpy(), similar.numpy(), atol=1e-5)
        found[split] = similar.double().numpy()
    mean, spread = found["train"].mean(axis=0), found["train"].std(axis=0)
    ours = Predictions.read(language / "predictions.parquet").of_split("test")
    np.testing.assert_allclose(ours.concept_logits, (found["test"] - mean) / spread, atol=2e-2)
    low, high = np.quantile((found["train"] - mean) / spread, (0.05, 0.95), axis=0)
    np.testing.assert_allclose(task.model.low.numpy(), low, atol=2e-2)
    np.testing.assert_allclose(task.model.high.numpy(), high, atol=2e-2)


def test_what_the_data_know_of_listed_concepts_is_scored_and_corrected(language: Path) -> None:
    predictions = Predictions.read(language / "predictions.parquet").of_split("test")
    _, concepts, _ = images_of("test")
    names = load_dataset("phantom").concepts.names
    for place, column in ((0, "lesion"), (1, "bright spots"), (3, "vessel")):
        np.testing.assert_array_equal(predictions.concept_targets[:, place], concepts[:, names.index(column)])
    assert np.isnan(predictions.concept_targets[:, 2]).all()
    measured = json.loads((language / "metrics.json").read_text())["splits"]["test"]["concepts"]
    assert set(measured) == {"auroc", "ap"}
    assert list(measured["auroc"]["undefined"]) == ["mass", "ring"]  # every test image has a lesion
    assert main(["intervene", f"run={language}", "policies=[random,uncertainty]", "replicates=10"]) == 0
    curve = json.loads((language / "interventions.json").read_text())["curves"]["uncertainty"]
    assert [row["corrected"] for row in curve] == [0, 1, 2, 3]  # of nothing is the truth known for the fourth
    assert curve[-1]["share"] == pytest.approx(3 / 4)


@pytest.mark.parametrize("which", ["language", "posthoc"])
def test_corrections_in_python_and_in_onnx_are_the_class_layer_on_their_scale(
    which: str, language: Path, posthoc: tuple[Path, Path]
) -> None:
    run = language if which == "language" else posthoc[1]
    task, graph, model = bottleneck(run), OnnxModel(run / "model.onnx"), medzoo.load(run)
    images, *_ = images_of("test")
    width = len(graph.concepts)
    values = np.random.default_rng(0).random((len(images), width)).astype(np.float32)
    everything = np.ones_like(values)
    low, high = task.model.low.numpy(), task.model.high.numpy()
    weight, bias = task.model.head.weight.detach().numpy(), task.model.head.bias.detach().numpy()
    by_hand = (low + values * (high - low)) @ weight.T + bias
    np.testing.assert_allclose(
        model.predict(images, concept_values=values, concept_mask=everything)["logits"], by_hand, atol=1e-5
    )
    answer = graph.predict(images, concept_values=values, concept_mask=everything)
    np.testing.assert_allclose(answer["logits"], by_hand, atol=1e-5)
    plain = Predictions.read(run / "predictions.parquet").of_split("test")
    shown = plain.concept_logits
    expected = np.clip((shown - low) / (high - low), 0, 1) if which == "language" else 1 / (1 + np.exp(-shown))
    np.testing.assert_allclose(answer["concepts"], expected, atol=1e-3)
    explained = explain_sample(task, plain, str(plain.sample_id[0]))
    np.testing.assert_allclose(list(explained.outputs.values()), plain.logits[0], atol=1e-4)
    with pytest.raises(ConfigError, match=rf"concept_mask has shape \[{len(images)}, 2\]"):
        model.predict(images, concept_values=values, concept_mask=everything[:, :2])
    with pytest.raises(ConfigError, match="together"):
        model.predict(images, concept_values=values)
    for wrong in (values * 3 + 1, np.full_like(values, np.nan)):
        with pytest.raises(ConfigError, match=r"must be numbers in 0\.\.1"):
            model.predict(images, concept_values=wrong, concept_mask=everything)
        with pytest.raises(ConfigError, match=r"must be numbers in 0\.\.1"):
            graph.predict(images, concept_values=wrong, concept_mask=everything)
    assert np.isfinite(graph.predict(images, concept_values=values * np.nan, concept_mask=0 * everything)["logits"]).all()


def test_concept_vectors_equal_scikit_learn_on_the_trained_networks_features(posthoc: tuple[Path, Path]) -> None:
    plain, run = posthoc
    images, concepts, _ = images_of("train")
    features = medzoo.load(plain).features(images)
    np.testing.assert_allclose(medzoo.load(run).features(images), features, atol=1e-5)  # the network is as it was
    scaler = StandardScaler().fit(features.astype(np.float64))
    ours = medzoo.load(run).predict(images)["concept_logits"]
    distance = {}
    for penalty in PENALTIES:
        theirs = np.stack(
            [LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=50_000).fit(scaler.transform(features), c)
             .decision_function(scaler.transform(features)) for c in concepts.T], axis=1,
        )  # fmt: skip
        distance[penalty] = float(np.abs(1 / (1 + np.exp(-theirs)) - 1 / (1 + np.exp(-ours))).max())
    assert min(distance.values()) < 1e-3  # the one whose penalty was chosen


@pytest.mark.slow
def test_concepts_may_come_from_another_dataset(posthoc: tuple[Path, Path], tmp_path: Path) -> None:
    source = "model.bottleneck.concept_data={name: phantom, size: 24, patients: 40, seed: 5, labels: binary}"
    words = ["model=cbm_posthoc", f"model.backbone={posthoc[0]}", source, "model.bottleneck.concepts=[lesion,vessel]"]
    words += ["model.bottleneck.l1_ratio=0", "model.bottleneck.residual=true", "evaluation.splits=[test]"]
    assert main(["train", *PHANTOM, *words, f"run={tmp_path / 'run'}"]) == 0
    task = bottleneck(tmp_path / "run")
    assert task.spec.concepts.names == ("lesion", "vessel")
    left = Predictions.read(tmp_path / "run" / "predictions.parquet").residual_logits
    assert left is not None
    assert left.std(axis=0).max() > 0.1  # it says something, on whatever scale the features are
    same = bottleneck(posthoc[1]).model.backbone.get_classifier().weight[[0, 4]]
    assert not torch.allclose(task.model.backbone.get_classifier().weight, same)


def test_redundant_and_absent_concepts_are_left_out_with_the_reason() -> None:
    vectors = np.eye(4, dtype=np.float32)
    vectors[1] = vectors[0] * 0.99 + vectors[3] * np.sqrt(1 - 0.99**2)
    classes = np.array([[0, 0, 0.96, 0.28]], dtype=np.float32)
    names = ["a", "near a", "class", "d"]
    dropped = redundant_concepts(names, vectors, classes, class_similarity=0.95, concept_similarity=0.98)
    assert list(dropped) == ["near a", "class"]
    assert "of 'a' (similarity 0.990, limit 0.98)" in dropped["near a"]
    assert "similarity 0.960, limit 0.95" in dropped["class"]
    scores = np.array([[0.1, 0.5], [0.1, 0.2], [0.1, 0.1], [0.1, 0.3], [0.1, 0.4], [0.1, 0.0]], dtype=np.float32)
    assert list(absent_concepts(["same", "varies"], scores, activation=None)) == ["same"]
    assert "0.300, limit 0.31" in absent_concepts(["same", "varies"], scores, activation=0.31)["varies"]
    assert "varies" not in absent_concepts(["same", "varies"], scores, activation=0.3)


def test_a_concept_that_training_never_shows_in_both_states_has_no_direction(
    posthoc: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    for value, message in ((np.nan, "says anything of concept 'vessel'"), (1.0, "concept 'vessel' in one state only")):

        def silent(spec: object, samples: SampleDataset, dataset: object, value: float = value) -> np.ndarray:
            truth = concept_truth(spec, samples, dataset)
            truth[:, 4] = value
            return truth

        monkeypatch.setattr("medzoo.tasks.bottleneck.concept_truth", silent)
        assert main(["train", *PHANTOM, "model=cbm_posthoc", f"model.backbone={posthoc[0]}", f"run={tmp_path / 'run'}"]) == 2
        assert message in capsys.readouterr().err


def nearest_but_one(clip: Path, signs: Path) -> float:
    """Return a similarity that the nearest pair of the listed concepts exceeds and no other."""
    task = contrast_with_weights(ModelConfig(backbone=f"local-dir:{clip}", preprocess=PreprocessConfig(mode="auto")))
    listed = read_concepts(signs)
    vectors = unit_means(task, {name: tuple(listed.texts(name)) for name in listed.names}).numpy()
    similar = np.sort((vectors @ vectors.T)[np.triu_indices(len(vectors), 1)])
    assert similar[-1] > similar[-2]
    return float((similar[-1] + similar[-2]) / 2)


def test_concepts_left_out_are_named_in_the_spec(signs: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    words = [f"model.backbone=local-dir:{clip}", f"model.bottleneck.concepts={signs}", *LOOSE, "evaluate=false"]
    similar = f"model.bottleneck.filter.concept_similarity={nearest_but_one(clip, signs)}"
    assert main(["train", *PHANTOM, "model=cbm_language", *words, similar, f"run={tmp_path / 'run'}"]) == 0
    task = bottleneck(tmp_path / "run")
    dropped = task.spec.objective["dropped"]
    assert len(dropped) == 1
    assert len(task.spec.concepts.names) == 3
    assert {*task.spec.concepts.names, *dropped} == {"mass", "grain", "ring", "line"}
    assert set(task.spec.objective["texts"]) == set(task.spec.concepts.names)
    said = capsys.readouterr().out
    assert f"concept left out: {next(iter(dropped))}: its wording is that of" in said
    weights = task.model.backbone.get_classifier().weight
    assert weights.shape[0] == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model=cbm_posthoc"], "needs a trained run"),
        (["model=cbm_posthoc", "model.backbone={run}", "model.bottleneck.concepts=[lesio]"], "did you mean 'lesion'"),
        (["model=cbm_posthoc", "model.backbone={run}", "model.bottleneck.concepts=[lesion,lesion]"], "names 'lesion' twice"),
        (["model=cbm_posthoc", "model.backbone={run}", "trainer.mixup=0.2"], "trains nothing"),
        (["model=cbm_posthoc", "model.backbone={run}", "model.bottleneck.kind=soft"], "model.bottleneck.kind=logit, not soft"),
        (["model=cbm_posthoc", "model.backbone={run}", "+model.arguments.x=1"], "model.arguments has no effect"),
        (["model=cbm", "model.bottleneck.regime=sequential", "model.bottleneck.penalty=null"], "penalty=null is for posthoc"),
        (["model=cbm", "model.bottleneck.concepts=phantom"], "is not a list of the data's concepts"),
        (["model=cbm", "model.bottleneck.class_layer_rate=0"], "must be positive"),
        (["model=cbm", "model.bottleneck.penalty=7"], "have no effect on a class layer that is trained jointly"),
        (["model=cbm_posthoc", "model.backbone={run}", "model.bottleneck.penalty=0"], "needs a penalty above 0"),
        (["model=cbm_posthoc", "model.backbone={run}", "loss.label_smoothing=0.1"], "loss.* has no effect"),
        (["model=cbm_posthoc", "model.backbone={run}", "trainer.learning_rate=0.7"], "trains nothing"),
        (["model=cbm_posthoc", "model.backbone={run}", "model.bottleneck.concept_data={{size: 24}}"], "needs the name"),
        (["model=cbm_language", "model.backbone=clip_tiny"], "random weights"),
        (["model=cbm_language", "model.backbone={clip}", "model.bottleneck.concepts=phanto"], "did you mean 'phantom'"),
        (["model=cbm_language", "model.backbone={clip}", "model.bottleneck.concepts=[lesion]"], "is not a list file"),
        (["model=cbm_language", "model.backbone={run}"], "is no image-text model"),
    ],
)  # fmt: skip
def test_bad_settings_end_with_one_line(
    words: list[str], message: str, posthoc: tuple[Path, Path], clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    given = [word.format(run=posthoc[0], clip=f"local-dir:{clip}") for word in words]
    assert main(["train", *PHANTOM, *given, f"run={tmp_path / 'run'}"]) == 2
    said = capsys.readouterr().err.strip()
    assert message in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("column: lesion", "column: lesoin"), "lesoin"),
        (("  ring:", "  mass:"), "twice"),
        (("  ring: {texts: [a dark ring]", "  ring: {texts: [bright grain]"), "grain"),
        (("  ring:", "  cyst:"), "cyst"),
    ],
)
def test_a_bad_concept_list_ends_with_one_line(
    change: tuple[str, str], message: str, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "list.yaml"
    path.write_text(LIST.replace(*change), encoding="utf-8")
    words = ["model=cbm_language", f"model.backbone=local-dir:{clip}", f"model.bottleneck.concepts={path}"]
    assert main(["train", *PHANTOM, *words, f"run={tmp_path / 'run'}"]) == 2
    said = capsys.readouterr().err.strip()
    assert message in said
    assert len(said.splitlines()) == 1
