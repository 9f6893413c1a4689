from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medzoo.cli import main

BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "pandas", "hydra", "timm", "onnx", "accelerate"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocker())
from medzoo.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name in ("b.png", "a.jpg", "deep/c.tif"):
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(tmp_path / "in" / name)
    return tmp_path / "in"


def test_a_folder_without_torch(exported: Path, folder: Path) -> None:
    command = [sys.executable, "-c", BLOCKED, "predict", str(exported), str(folder), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(row["image"]).name for row in rows] == ["a.jpg", "b.png", "c.tif"]
    for row in rows:
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert row["class"] == max(row["probabilities"], key=row["probabilities"].get)


def test_training_without_torch_says_what_to_install() -> None:
    done = subprocess.run([sys.executable, "-c", BLOCKED, "train"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "medzoo[train" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_npz_needs_a_key_when_there_are_several(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.npz"
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    np.savez(path, val_images=images, test_images=images, test_labels=np.zeros(5))
    assert main(["predict", str(exported), str(path)]) == 2
    assert "--key" in capsys.readouterr().err
    assert main(["predict", str(exported), str(path), "--key", "test_images", "--limit", "3"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    np.savez(path, images=np.array(3))
    assert main(["predict", str(exported), str(path)]) == 2
    assert "array 'images' has shape [], not (N, H, W) or (N, H, W, C)" in capsys.readouterr().err
    Image.fromarray(images[0]).save(tmp_path / "a.png")
    assert main(["predict", str(exported), str(tmp_path / "a.png"), "--key", "test_images"]) == 2
    assert "--key test_images names an array of an .npz file, and none is given" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n0000", b"hello"])
def test_a_corrupt_image_stops_or_is_skipped(
    exported: Path, folder: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (folder / "bad.png").write_bytes(content)
    assert main(["predict", str(exported), str(folder)]) == 2
    assert "bad.png" in capsys.readouterr().err
    assert main(["predict", str(exported), str(folder), "--on-error", "skip"]) == 0
    captured = capsys.readouterr()
    assert [Path(line.split()[0]).name for line in captured.out.splitlines()] == ["a.jpg", "b.png", "c.tif"]  # none shifted
    first, second = captured.err.splitlines()
    assert first.startswith("medzoo: skipped: ")
    assert "bad.png" in first
    assert second == "medzoo: 1 of 4 images skipped"


def test_paths_that_hold_nothing(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(exported), str(tmp_path)]) == 2
    assert "no image in folder" in capsys.readouterr().err
    assert main(["predict", str(exported), str(tmp_path / "none.png")]) == 2
    assert "no such file" in capsys.readouterr().err
