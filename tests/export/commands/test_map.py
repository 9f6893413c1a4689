"""`medzoo export map=true`: the exact map as an output of the file, with torch as its judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medzoo.cli import main
from medzoo.data.labels import LabelSpace
from medzoo.data.samples.preprocess import Preprocess
from medzoo.export.graph.onnx_file import export_graph
from medzoo.export.runtime.model import OnnxModel
from medzoo.inference.maps.explainer import class_explainer
from medzoo.models.places import NotLinearError
from medzoo.models.registry import create_model
from medzoo.store.spec import ModelSpec
from medzoo.tasks.classify import Classify

CNN = ["model.backbone=test_resnet"]
COMMON = [
    "data=phantom",
    "data.size=32",
    "data.patients=16",
    "trainer.epochs=1",
    "evaluation.replicates=0",
    "trainer.augment=none",
]


def made(name: str, size: tuple[int, ...], family: str, arguments: dict[str, Any]) -> Classify:
    network = create_model(name, outputs=3, family=family, channels=1, size=size, arguments=arguments)
    with torch.no_grad():  # statistics as after images
        network.train()(torch.rand(4, 1, *size, generator=torch.Generator().manual_seed(1)))
    labels, preprocess = LabelSpace("multiclass", ("a", "b", "c")), Preprocess(size, channels=1, mean=(0.0,), std=(1.0,))
    spec = ModelSpec(
        family, "classify", name, preprocess, labels,
        objective={"loss": "cross_entropy"}, arguments=arguments,
    )  # fmt: skip
    return Classify(spec, network.eval())


@pytest.mark.parametrize(
    ("name", "size", "family", "arguments", "grid"),
    [
        ("test_resnet", (64, 96), "cnn", {}, (2, 3)),
        ("zach_vit", (32, 48), "vit", {"head": []}, (2, 3)),
        ("test_resnet", (3, 64, 64), "slices", {}, (3, 2, 2)),
    ],
    ids=["cnn", "tokens", "slices"],
)
def test_the_files_map_is_torchs(
    name: str, size: tuple[int, ...], family: str, arguments: dict[str, Any], grid: tuple[int, ...], tmp_path: Path
) -> None:
    task = made(name, size, family, arguments)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (*size, 1), dtype=np.uint8) for _ in range(3)]
    export_graph(task.deploy_map(), tmp_path / "m.onnx", images)
    found = OnnxModel(tmp_path / "m.onnx").predict(images)
    assert found["map"].shape == (3, 3, *grid)
    explainer = class_explainer(task)
    for row, image in enumerate(images):
        for k, label in enumerate(explainer.names):
            ours = explainer.map(image, label)
            np.testing.assert_allclose(found["map"][row, k], ours.cells, atol=1e-4)
            assert found["map"][row, k].mean() + ours.bias == pytest.approx(found["logits"][row, k], abs=1e-5)


def test_a_head_that_is_not_linear_is_refused_by_name() -> None:
    with pytest.raises(NotLinearError, match="ZachViT does not read the plain mean"):
        made("zach_vit", (32, 32), "vit", {}).deploy_map()


def test_the_command_line_writes_concept_maps_and_says_why_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "cbm"
    assert main(["train", *COMMON, *CNN, "model=cbm", f"run={run}"]) == 0
    assert main(["export", f"run={run}", "map=true", "images=4"]) == 0
    model = OnnxModel(run / "model.onnx")
    assert model.outputs == ("logits", "probabilities", "concepts", "map")
    images = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 1), dtype=np.uint8)
    found = model.predict(images)
    odds = np.log(found["concepts"] / (1 - found["concepts"]))
    shift = odds - found["map"].mean(axis=(2, 3))
    np.testing.assert_allclose(shift[0], shift[1], atol=1e-4)  # the same bias for every image
    assert main(["export", f"run={run}", "map=true", "precision=fp16"]) == 2
    vit = tmp_path / "vit"
    assert main(["train", *COMMON, "model=zach_vit", "model.preprocess.size=32", f"run={vit}"]) == 0
    assert main(["export", f"run={vit}", "map=true"]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("medzoo: ")]
    assert "map=true is proven in float32 alone" in lines[0]
    assert "map=true is for exact maps, which need no gradients: ZachViT does not read the plain mean" in lines[1]
