"""The exported file says what torch says, or there is no file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

import medzoo
from medzoo.cli import main
from medzoo.data.errors import ExportError, ImageError, OnnxFileError, ProviderError
from medzoo.export import OnnxModel, export_onnx
from medzoo.export.commands.proof import format_proof
from medzoo.export.graph.parity import _check_embeddings, _size_variants
from medzoo.store.checkpoint import find_checkpoint
from medzoo.tasks.load import load_checkpoint

MODES = ["L", "RGB", "RGBA", "LA", "P", "I;16"]


def picture(mode: str, size: tuple[int, int], seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    width, height = size
    smooth = Image.fromarray(rng.integers(0, 256, (8, 8, 4), dtype=np.uint8), "RGBA").resize((width, height))
    if mode == "I;16":
        return Image.fromarray(np.asarray(smooth.convert("L")).astype(np.uint16) * 257 + 3)
    return smooth.convert("RGB").convert(mode) if mode == "P" else smooth.convert(mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(32, 32), (57, 91), (20, 33)])
def test_the_same_png_through_torch_and_onnx(
    exported: Path, trained_run: Path, tmp_path: Path, mode: str, size: tuple[int, int]
) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(7)]
    for i, path in enumerate(paths):
        picture(mode, size, i).save(path)
    ours, theirs = medzoo.load(trained_run), OnnxModel(exported)
    expected = ours.predict(paths)["logits"]
    for batch in (1, 2, 3, 7):
        logits = theirs.predict(paths, batch_size=batch)["logits"]
        assert np.abs(logits - expected).max() <= 1e-3 * expected.std()
    np.testing.assert_allclose(theirs.predict(paths)["probabilities"], ours.predict(paths)["probabilities"], atol=1e-4)


def test_mixed_sizes_come_back_in_order(exported: Path, trained_run: Path) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (30 + i % 3, 40, 1), dtype=np.uint8) for i in range(8)]
    together = OnnxModel(exported).predict(images, batch_size=2)["logits"]
    alone = np.concatenate([OnnxModel(exported).predict([image])["logits"] for image in images])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(medzoo.load(trained_run).predict(images)["logits"], alone, atol=1e-4)


def test_the_file_tells_no_path_of_the_machine_that_made_it(exported: Path, trained_run: Path) -> None:
    content = exported.read_bytes()
    for place in (Path(medzoo.__file__).parent, Path(torch.__file__).parent, Path.cwd(), Path.home(), trained_run):
        assert str(place).encode() not in content
    assert b'File "' not in content
    assert any(
        entry.key == "pkg.torch.onnx.name_scopes" for node in onnx.load(exported).graph.node for entry in node.metadata_props
    )


def test_the_file_describes_itself(exported: Path, trained_run: Path) -> None:
    onnx.checker.check_model(str(exported), full_check=True)
    model = OnnxModel(exported)
    assert model.spec == json.loads((find_checkpoint(trained_run) / "spec.json").read_text())
    assert model.labels == medzoo.load(trained_run).labels
    assert model.outputs == ("logits", "probabilities")
    report = json.loads(exported.with_suffix(".json").read_text())
    assert report["parity"]["relative"] <= 1e-3
    assert report["parity"]["agreement"] == 1.0
    assert len(report["parity"]["sizes"]) == 3
    assert report["parity"]["batches"] == [1, 2, 3, 7]
    assert report["metric"]["torch"] == pytest.approx(report["metric"]["onnx"], abs=1e-6)


def test_the_report_counts_what_was_compared(exported: Path) -> None:
    # Batches of 1, 2, 3 and 7 are 13 images, however many were given.
    assert json.loads(exported.with_suffix(".json").read_text())["parity"]["images"] <= 13


def test_copies_of_an_image_count_once_and_an_undefined_metric_is_said(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = load_checkpoint(find_checkpoint(trained_run))
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 1), dtype=np.uint8)
    report = export_onnx(task, tmp_path / "m.onnx", [image] * 20 + [image + 1], task.spec.labels.one_hot([0] * 21))
    assert report["parity"]["images"] == 1  # the other is the 21st
    assert "is undefined on these 21 validation images: no class has both" in report["metric_not_checked"]
    assert format_proof(report)[1] == f"metric not checked: {report['metric_not_checked']}"
    assert main(["export", f"run={trained_run}", "images=1", f"output={tmp_path / 'one.onnx'}"]) == 0
    said = capsys.readouterr().out
    assert "1 images" in said
    assert "metric not checked: " in said


def test_volumes_are_compared_at_another_depth() -> None:
    volumes = [np.zeros((8, 12, 10, 1), np.uint8)]
    assert [variant[0].shape[:-1] for variant in _size_variants(volumes)] == [(8, 12, 10), (8, 9, 10), (8, 12, 20), (6, 12, 10)]


@pytest.mark.parametrize("damage", ["truncated", "metadata", "weights", "foreign", "absent"])
def test_a_damaged_file_is_refused(exported: Path, tmp_path: Path, damage: str) -> None:
    content, path = exported.read_bytes(), tmp_path / "m.onnx"
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "metadata":
        assert content.count(b"tumour") > 1
        path.write_bytes(content.replace(b"tumour", b"benign"))
    elif damage == "weights":
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    elif damage == "foreign":
        path.write_bytes(b"not a model")
    with pytest.raises(OnnxFileError) as error:
        OnnxModel(path)
    assert "\n" not in str(error.value)


def test_no_file_without_proof(trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = load_checkpoint(find_checkpoint(trained_run))
    images = [np.random.default_rng(i).integers(0, 256, (32, 32, 1), dtype=np.uint8) for i in range(4)]
    from medzoo.export.graph import onnx_file

    original = onnx_file._to_onnx

    def wrong(graph: torch.nn.Module, extras: object) -> onnx.ModelProto:
        model = original(graph, extras)
        largest = max((t for t in model.graph.initializer if len(t.dims) == 2), key=lambda t: len(t.raw_data))
        values = np.frombuffer(largest.raw_data, np.float32) * 1.01
        largest.raw_data = values.astype(np.float32).tobytes()
        return model

    monkeypatch.setattr(onnx_file, "_to_onnx", wrong)
    with pytest.raises(ExportError, match="differs from torch"):
        export_onnx(task, tmp_path / "m.onnx", images)
    assert not list(tmp_path.iterdir())


def test_what_the_runtime_refuses(exported: Path) -> None:
    model = OnnxModel(exported)
    with pytest.raises(ImageError):
        model.predict([np.zeros((4, 4), np.int64)])
    with pytest.raises(ImageError):
        model.predict([np.full((4, 4), 7.5, np.float32)])
    with pytest.raises(ImageError, match="shape"):
        model.predict([np.zeros((2, 3, 4, 5, 6), np.uint8)])
    if not torch.cuda.is_available():
        with pytest.raises(ProviderError, match="CUDA"):
            OnnxModel(exported, provider="cuda")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "mode"),  # each of either once: the geometry comes before the network, which does not know of it
    [
        ("resnet18", "stretch"), ("densenet121", "pad"), ("efficientnet_b0", "crop"), ("convnext_atto", "stretch"),
        ("vit_tiny_patch16_224", "pad"),
    ],
)  # fmt: skip
def test_backbones_export_with_parity(backbone: str, mode: str, tmp_path: Path) -> None:
    from medzoo.settings.schema import LossConfig, ModelConfig, PreprocessConfig
    from medzoo.tasks.setup.families import task_from_config

    dataset = medzoo.load_dataset("phantom", patients=10, size=48)
    size = 224 if backbone.startswith("vit") else 64
    config = ModelConfig(backbone=backbone, preprocess=PreprocessConfig(size=size, mode=mode))
    task = task_from_config(config, LossConfig(), dataset, seed=0)
    with torch.no_grad():
        for p in task.model.parameters():
            if p.std() == 0 or p.numel() == 1:  # zero-initialised residuals would hide what is behind them
                p.add_(0.1 * torch.randn_like(p))
    images = [np.random.default_rng(i).integers(0, 256, (48, 48, 1), dtype=np.uint8) for i in range(7)]
    report = export_onnx(task.eval(), tmp_path / "m.onnx", images)
    assert report["parity"]["relative"] < 1e-3


def test_embeddings_without_a_direction_are_not_torchs() -> None:
    ours = np.eye(3, dtype=np.float32)
    assert _check_embeddings(ours, ours, 3, ()).cosine == 1
    for theirs in (np.zeros((3, 3), np.float32), ours * np.array([[1], [1], [0]], np.float32)):
        with pytest.raises(ExportError, match="smallest cosine 0"):  # not NaN, below which nothing is
            _check_embeddings(ours, theirs, 3, ())


def test_what_torch_says_of_a_failed_export_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "backbone=densenet121_3d", "family=cnn3d", "size=[8,32,32]", "channels=1"]) == 2
    error = capsys.readouterr().err
    assert "cannot export densenet121_3d: RuntimeError: input image (T: 1 H: 4 W: 4) smaller than kernel size" in error
    assert error.count("\n") == 1
