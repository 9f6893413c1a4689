"""Exported files on ONNX Runtime's TensorRT provider, where TensorRT is installed; engines are kept where they are asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from medzoo.cli import main
from medzoo.export.runtime.model import OnnxModel
from tests.gpu.families import Trained, distances, images_of

pytestmark = [pytest.mark.usefixtures("tensorrt_provider"), pytest.mark.timeout(600)]  # an engine is built for each graph

TF32 = 1e-2
"""TensorRT too multiplies in TF32 unless told otherwise; see tests/gpu/test_onnxruntime.py."""
HALF = 5e-2


@pytest.mark.parametrize("family", ["cnn", "vit", "slices", "cbm"])
def test_files_answer_as_on_the_cpu(trained: Trained, tensorrt_provider: str, family: str, tmp_path: Path) -> None:
    run = trained(family)
    images = images_of(run, 8)
    reference = OnnxModel(run / "model.onnx").predict(images)
    model = OnnxModel(run / "model.onnx", provider=tensorrt_provider, engine_cache=tmp_path / "engines")
    assert max(distances(model.predict(images, batch_size=8), reference).values()) < TF32
    assert list((tmp_path / "engines").iterdir())


def test_half_precision_is_near(trained: Trained, tensorrt_provider: str) -> None:
    run = trained("cnn")
    images = images_of(run, 8)
    found = OnnxModel(run / "model.onnx", provider=tensorrt_provider, fp16=True).predict(images, batch_size=8)
    assert max(distances(found, OnnxModel(run / "model.onnx").predict(images)).values()) < HALF


def test_a_tensor_on_the_card_is_answered_there(trained: Trained, tensorrt_provider: str, card: str) -> None:
    run = trained("cnn")
    tensor = torch.from_numpy(np.stack(images_of(run, 8))).to(card)
    outputs = OnnxModel(run / "model.onnx", provider=tensorrt_provider).run_batch(tensor)
    assert torch.from_dlpack(outputs["logits"]).device.type == card


def test_predict_on_the_command_line(
    trained: Trained, tensorrt_provider: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained("cnn")
    np.savez(tmp_path / "images.npz", images=np.stack(images_of(run, 3)))
    words = [str(run / "model.onnx"), str(tmp_path / "images.npz"), "--key", "images", "--provider", tensorrt_provider]
    assert main(["predict", *words, "--engine-cache", str(tmp_path / "engines")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
