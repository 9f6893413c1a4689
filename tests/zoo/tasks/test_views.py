"""Cases of several photographs: pooled over those that are there, alike in torch and in the exported graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from medzoo.api import load
from medzoo.cli import main
from medzoo.data.errors import ImageError
from medzoo.export.runtime.model import OnnxModel

COMMON = [
    "model.backbone=test_resnet", "model.preprocess.size=32", "trainer.epochs=1", "trainer.trackers=[]", "trainer.batch_size=4",
    "evaluate=false",
]  # fmt: skip


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained on cases of one to three photographs."""
    folder = tmp_path_factory.mktemp("cases")
    rng = np.random.default_rng(0)
    lines = ["case,one,two,three,label"]
    for case in range(16):
        names = []
        for view in range(3):
            name = f"{case}-{view}.png" if view <= case % 3 else ""
            if name:
                Image.fromarray(rng.integers(0, 150, (40, 36, 3), dtype=np.uint8) + 100 * (case % 2)).save(folder / name)
            names.append(name)
        lines.append(f"c{case},{','.join(names)},{'ab'[case % 2]}")
    (folder / "cases.csv").write_text("\n".join(lines) + "\n")
    options = [
        "data=table",
        f"data.file={folder / 'cases.csv'}",
        "data.image=[one,two,three]",
        "data.id=case",
        "data.target=label",
    ]
    assert main(["train", *options, *COMMON, f"run={folder / 'run'}"]) == 0
    assert main(["export", f"run={folder / 'run'}", "images=3"]) == 0
    return folder


def test_absent_views_count_for_nothing(cases: Path) -> None:
    task = load(cases / "run").task
    images = torch.randint(0, 256, (3, 3, 3, 32, 32), dtype=torch.uint8)
    mask = torch.tensor([[True, True, True], [True, False, False], [True, False, True]])
    said = task.predict({"image": images, "view_mask": mask})["logits"]
    for case in range(3):
        alone = task.predict({"image": images[case][mask[case]]})["logits"].mean(dim=0)
        torch.testing.assert_close(said[case], alone)
    changed = images.clone()
    changed[~mask] = 255
    assert torch.equal(task.predict({"image": changed, "view_mask": mask})["logits"], said)
    task.train()
    changed_loss = task.training_step({"image": changed, "view_mask": mask, "target": torch.eye(2)[[0, 1, 0]]})["loss"]
    loss = task.training_step({"image": images, "view_mask": mask, "target": torch.eye(2)[[0, 1, 0]]})["loss"]
    assert torch.equal(loss, changed_loss)  # batch statistics included


def test_the_graph_answers_cases_as_training_saw_them(cases: Path) -> None:
    model, graph = load(cases / "run"), OnnxModel(cases / "run" / "model.onnx")
    given = [
        [cases / "0-0.png"],
        [cases / "2-0.png", cases / "2-1.png", cases / "2-2.png"],
        [cases / "1-0.png", cases / "1-1.png"],
    ]
    answers = graph.predict_cases(given)
    ours = model.predict_cases(given)
    np.testing.assert_allclose(answers["logits"], ours["logits"], atol=1e-4)
    np.testing.assert_allclose(answers["probabilities"], ours["probabilities"], atol=1e-5)
    np.testing.assert_allclose(answers["logits"][1], graph.predict(given[1])["logits"].mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(answers["probabilities"].sum(axis=1), 1, atol=1e-6)
    assert graph.spec["data"]["views"] == 3
    with pytest.raises(ImageError, match="case 1 has no image"):
        graph.predict_cases([given[0], []])


def test_mixing_cases_is_refused(cases: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [
        "data=table",
        f"data.file={cases / 'cases.csv'}",
        "data.image=[one,two,three]",
        "data.id=case",
        "data.target=label",
    ]
    assert main(["train", *options, *COMMON, "trainer.mixup=0.2", f"run={cases / 'mixed'}"]) == 2
    assert "not cases of several;" in capsys.readouterr().err
