"""Every exported family passes its gate at every precision it offers: small models, trained until they know something."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file, save_file

from medzoo.cli import main
from medzoo.data.registry import load_dataset
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.export.runtime.model import OnnxModel
from medzoo.store.checkpoint import WEIGHTS, find_checkpoint
from medzoo.tasks.load import load_checkpoint
from tests.export.precision.test_precision import spoil
from tests.zoo.models.clip.clip_folder import write_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

TRAIN = [
    "data=phantom", "data.size=32", "data.patients=240", "trainer.trackers=[]", "trainer.batch_size=32", "trainer.epochs=6",
    "evaluate=false",
]  # fmt: skip
FAMILIES = {
    "cnn": ["model.backbone=test_resnet"],
    "vit": ["model=vit", "model.backbone=test_vit"],
    # At 224 pixels its training would take a minute.
    "zach_vit": ["model=zach_vit", "model.preprocess.size=64", "+model.arguments.patch_size=8", "trainer.learning_rate=2e-3"],
    "cnn3d": ["model=cnn3d", "data.dims=3", "data.size=16", "+model.arguments.width=0.125"],
    "slices": ["model=slices", "data.dims=3", "data.size=16", "model.backbone=test_resnet"],
    "ordinal": ["data.labels=ordinal", "loss=cumulative"],
    "multilabel": ["data.labels=multilabel"],
    "regression": ["data.labels=regression"],
    "neighbours": ["model.backbone=test_resnet", "model.neighbours=5", "trainer.epochs=20"],
    "bottleneck": ["model=cbm", "model.bottleneck.regime=sequential", "model.bottleneck.penalty=0.01"],
    "residual": ["model=cbm", "model.bottleneck.regime=sequential", "model.bottleneck.residual=true"],
    "embedding": ["model=cbm", "model.bottleneck.kind=embedding"],
    "posthoc": ["model=cbm_posthoc"],
    "language": ["model=cbm_language", "model.bottleneck.filter.class_similarity=1.01"],
    "clip": ["model=clip", "model.captions=labels", "trainer.epochs=15"],
    "clip_bert": ["model=clip", "model.captions=labels", "trainer.epochs=8"],
}
FROZEN = {"posthoc": "cnn", "language": "clip"}
"""Bottlenecks on another family's trained run."""
WARM = ("ordinal", "multilabel", "regression", "bottleneck", "residual", "embedding")
"""Those that go on from the classifier's network: two epochs teach them what six from nothing would."""
CONCEPT_KINDS = ("soft", "hard", "logit")
EXPORT = ["images=8", "gate.replicates=50"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder, made = tmp_path_factory.mktemp("precision"), {}

    def trained_before(family: str) -> list[str]:
        """What a family is built on."""
        if family in WARM or family in CONCEPT_KINDS:
            return [f"model.backbone={train('cnn')}", "trainer.epochs=2"]
        if family in FROZEN:
            return [f"model.backbone={train(FROZEN[family])}"]
        return [f"model.backbone=local-dir:{write_folder(folder / 'bert')}"] if family == "clip_bert" else []

    def train(family: str) -> Path:
        if family not in made:
            before = trained_before(family)
            kind = [f"model.bottleneck.kind={family}"] if family in CONCEPT_KINDS else []
            overrides = [*FAMILIES["bottleneck" if kind else family], *kind, *before]
            # Nothing is trained on a frozen network: settings of the trainer would be refused.
            general = [o for o in TRAIN if family not in FROZEN or not o.startswith("trainer.epochs")]
            assert main(["train", *general, *overrides, f"run={folder / family}"]) == 0
            made[family] = folder / family
        return made[family]

    return train


# Each family in 8 bits; in 16 those whose graphs have nodes of their own, and the dynamic scheme where there are matrix products.
FP16 = ("cnn", "zach_vit", "cnn3d", "ordinal", "neighbours", "bottleneck", "language", "clip")
CASES = [*[(f, "int8") for f in FAMILIES], *[(f, "fp16") for f in FP16], ("vit", "int8_dynamic"), ("clip_bert", "int8_dynamic")]


@pytest.mark.parametrize(("family", "precision"), CASES)
def test_every_family_passes_its_gate(trained: Callable[[str], Path], family: str, precision: str) -> None:
    run = trained(family)
    assert main(["export", f"run={run}", *EXPORT, f"precision={precision}"]) == 0
    names = ["image", "zeroshot", "zeroshot_open", "text"] if family.startswith("clip") else ["model"]
    if family == "clip_bert" and precision == "int8_dynamic":  # its image tower is convolutions
        names = ["text"]
    for name in names:
        path = run / f"{name}.{precision}.onnx"
        model = OnnxModel(path)
        report = json.loads({entry.key: entry.value for entry in onnx.load(path).metadata_props}["medzoo.report"])
        assert report["gate"]
        assert all(gate["passed"] for gate in report["gate"].values())
        assert report["precision"] == ("int8_dynamic" if name == "text" and precision == "int8" else precision)
        reduced = [layer for layer in report["layers"] if not layer["float32"]]
        assert 2 * len(reduced) >= len([layer for layer in report["layers"] if not layer["fixed"]])
        if name in ("model", "image", "zeroshot"):
            shape = (24, 40, 40) if model.spec["preprocess"]["size"][2:] else (40, 40)
            images = np.random.default_rng(0).integers(0, 256, (3, *shape, model.spec["preprocess"]["channels"]), dtype=np.uint8)
            assert all(np.isfinite(values).all() for values in model.predict(list(images)).values())
    if family in ("bottleneck", "residual", "embedding", "posthoc"):
        assert {"logits", "concepts"} == set(report["gate"])
    if family.startswith("clip"):
        both = {"zero-shot of both towers"} if len(names) > 1 else set()
        assert {"text_embedding", "zero-shot"} | both == set(report["gate"])
        for name in {"image", "zeroshot_open"} & set(names):
            image_report = json.loads((run / f"export.{precision}.json").read_text())[f"{name}.{precision}.onnx"]
            assert {"image_embedding", "zero-shot"} == set(image_report["gate"])


@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize("kind", CONCEPT_KINDS)
def test_corrected_concepts_count_exactly(trained: Callable[[str], Path], kind: str, precision: str) -> None:
    run = trained("bottleneck" if kind == "soft" else kind)  # soft is the default
    loose = ["gate.loss=0.05", "gate.agreement=0.9"]
    assert main(["export", f"run={run}", *EXPORT, *loose, f"precision={precision}"]) == 0
    task = load_checkpoint(find_checkpoint(run, "best"))
    samples = SampleDataset(load_dataset("phantom", size=32, patients=240), "val", task.spec.preprocess)
    truth = samples.concepts[:20]
    images = [samples.pixels(index) for index in range(len(truth))]
    model = OnnxModel(run / f"model.{precision}.onnx")
    with torch.no_grad():
        wanted = task.model.head(task.model.on_scale(torch.from_numpy(truth))).numpy()
    corrected = model.predict(images, concept_values=truth, concept_mask=np.ones_like(truth))
    np.testing.assert_allclose(corrected["logits"], wanted, atol=1e-5)
    assert np.abs(model.predict(images)["logits"] - wanted).max() > 1e-3  # without correction the image speaks


def test_int8_that_loses_points_of_auroc_is_refused(
    trained: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained("cnn"), run, ignore=shutil.ignore_patterns("model*.onnx", "model*.json"))
    file = find_checkpoint(run, "best") / WEIGHTS
    weights = load_file(file)
    spoil(weights)
    save_file(weights, file)
    capsys.readouterr()
    assert main(["export", f"run={run}", *EXPORT, "precision=int8", "gate.agreement=0.5"]) == 2
    error = capsys.readouterr().err
    assert "auroc" in error.lower()
    assert "limit 0.005" in error
    # What spoil() rescaled is what is named: the convolutions that read or write the stretched channels.
    named = error.split("error of a layer alone")[1]
    spoilt = [f"layer{n}.0.conv{k}" for n in (1, 2, 3, 4) for k in (1, 2)] + ["layer3.0.conv3"]
    assert sum(f"{layer} (" in named for layer in spoilt) >= 3
    assert error.count("\n") == 1
    assert not list(run.glob("model*"))
    assert main(["export", f"run={run}", "images=8"]) == 0  # float32 loses nothing by it
