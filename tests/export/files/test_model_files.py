"""Models of any size become files: one, or a pair that is whole or does not pass."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from medzoo.data.errors import ExportError, OnnxFileError
from medzoo.export.files.integrity import check
from medzoo.export.files.model_files import write_model
from medzoo.export.runtime.model import OnnxModel
from tests.export.handmade import WEIGHT, build, write


def test_an_interrupted_pair_does_not_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "m.onnx", external=True)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    changed = build()
    weight = next(t for t in changed.graph.initializer if t.name == "weight")
    weight.raw_data = (WEIGHT + 1).tobytes()

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    from medzoo.export.files import model_files

    with monkeypatch.context() as patched:
        patched.setattr(model_files, "write_file", full)
        with pytest.raises(Exception, match="No space"):
            write_model(changed, path, limit=0)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before  # nothing new, nothing left over
    original = Path.replace

    def power_cut(self: Path, target: Path) -> Path:
        if str(target) == str(path):
            raise KeyboardInterrupt
        return original(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", power_cut)
        with pytest.raises(KeyboardInterrupt):
            write_model(changed, path, limit=0)
    with pytest.raises(OnnxFileError, match="SHA-256"):  # old graph, new weights
        check(path)
    write_model(changed, path, limit=0)
    check(path)


def test_a_smaller_model_in_its_place_takes_the_weights_file_away(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", external=True)
    write(path)
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]
    check(path)


def test_a_graph_of_another_name_keeps_its_weights(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", external=True)
    path.rename(tmp_path / "kept.onnx")
    write(path)  # whole, under the name that the pair had
    assert sorted(file.name for file in tmp_path.iterdir()) == ["kept.onnx", "m.onnx", "m.onnx.data"]
    check(tmp_path / "kept.onnx")


def test_files_may_be_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        path = write(tmp_path / "m.onnx", external=True)
    finally:
        os.umask(before)
    assert {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {"m.onnx": 0o640, "m.onnx.data": 0o640}
    check(path)


@pytest.mark.parametrize("external", [True, False])
def test_a_folder_in_the_place_of_the_weights_is_one_line(tmp_path: Path, external: bool) -> None:
    (tmp_path / "m.onnx.data").mkdir()
    with pytest.raises(ExportError, match="is a folder; the weights' file goes there"):
        write(tmp_path / "m.onnx", external=external)
    assert not (tmp_path / "m.onnx").exists()


def test_writing_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    model = build()
    before = model.SerializeToString()
    report = write_model(model, tmp_path / "m.onnx", limit=0)
    assert model.SerializeToString() == before
    assert report["external"] == "m.onnx.data"
    sizes = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert report["megabytes"] == round(sizes / 1e6, 2)


@pytest.mark.slow
def test_an_export_above_the_limit_is_a_pair(
    trained_run: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medzoo.export import export_onnx
    from medzoo.export.files import model_files
    from medzoo.store.checkpoint import find_checkpoint
    from medzoo.tasks.load import load_checkpoint

    monkeypatch.setattr(model_files, "LIMIT", 1000)  # the way of a model over 2 GiB, session and checker included
    images = [np.random.default_rng(i).integers(0, 256, (32, 32, 1), dtype=np.uint8) for i in range(4)]
    report = export_onnx(load_checkpoint(find_checkpoint(trained_run)), tmp_path / "m.onnx", images)
    assert report["external"] == "m.onnx.data"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data"]
    assert (tmp_path / "m.onnx").stat().st_size < (tmp_path / "m.onnx.data").stat().st_size
    ours, theirs = OnnxModel(tmp_path / "m.onnx").predict(images), OnnxModel(exported).predict(images)
    np.testing.assert_allclose(ours["logits"], theirs["logits"], atol=1e-6)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_model_over_two_gigabytes_exports_loads_and_runs(trained_run: Path, tmp_path: Path) -> None:
    """A linear layer of 23,000 by 23,500 float32 weights: 2.16 GB, above the 2 GiB that protobuf can serialise."""
    from medzoo.export import export_onnx
    from medzoo.store.checkpoint import find_checkpoint
    from medzoo.tasks.load import load_checkpoint

    class Wide(torch.nn.Module):
        def __init__(self, outputs: int) -> None:
            super().__init__()
            self.narrow = torch.nn.Linear(64, 23_000)
            self.wide = torch.nn.Linear(23_000, 23_500, bias=False)
            self.head = torch.nn.Linear(23_500, outputs)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            small = torch.nn.functional.adaptive_avg_pool2d(image.mean(dim=1, keepdim=True), 8).flatten(1)
            return self.head(torch.relu(self.wide(torch.relu(self.narrow(small)))))

    task = load_checkpoint(find_checkpoint(trained_run))
    assert task.spec.labels is not None
    torch.manual_seed(0)
    task.model = Wide(task.spec.labels.width).eval()
    images = [np.random.default_rng(i).integers(0, 256, (32, 32, 1), dtype=np.uint8) for i in range(4)]
    path = tmp_path / "m.onnx"
    try:
        report = export_onnx(task, path, images)
        assert report["external"] == "m.onnx.data"
        assert path.with_name("m.onnx.data").stat().st_size > 2**31
        with torch.no_grad():
            expected = task.deploy().eval()(torch.from_numpy(np.stack(images)))[0].numpy()
        found = OnnxModel(path).predict(images)["logits"]
        assert np.abs(found - expected).max() <= 1e-3 * expected.std()
        with path.with_name("m.onnx.data").open("r+b") as file:
            file.seek(2**31)
            byte = file.read(1)
            file.seek(2**31)
            file.write(bytes([byte[0] ^ 1]))
        with pytest.raises(OnnxFileError, match="SHA-256"):
            OnnxModel(path)
    finally:
        for file in tmp_path.iterdir():  # pytest keeps three runs' folders
            file.unlink()
