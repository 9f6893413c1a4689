"""Files of several frames, from training to the exported file: members and volumes are the same in torch and without it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

import medzoo
from medzoo.cli import main
from medzoo.data.images.decode import decode_image
from medzoo.data.images.frames import Frame, frames_of
from medzoo.export import OnnxModel
from tests.data.images.makers import RAMP, animation, dicom, encoded, film, item, nifti

REST = ["trainer.epochs=1", "trainer.batch_size=4", "evaluation.replicates=100", "trainer.trackers=[]"]


def cine(number: int, frames: int) -> bytes:
    """A film whose frames have windows of their own."""
    own = [item(FrameVOILUTSequence=[item(WindowCenter=2000 + 100 * n, WindowWidth=1000 + 50 * number)]) for n in range(frames)]
    return film(np.stack([np.roll(RAMP, 3 * n + number, axis=1) for n in range(frames)]), PerFrameFunctionalGroupsSequence=own)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of six films in three splits, of 3 to 5 frames each."""
    pytest.importorskip("pydicom")
    folder = tmp_path_factory.mktemp("films")
    for number in range(12):
        path = folder / ("train", "val", "test")[number // 4] / "ab"[number % 2] / f"{number:02d}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cine(number, 3 + number % 3))
    return folder


def trained(films: Path, run: Path, *options: str) -> OnnxModel:
    data = ["data=folder", f"data.root={films}", "data.channels=1", *options]
    assert main(["train", *data, *REST, f"run={run}"]) == 0
    assert main(["export", f"run={run}", "images=4"]) == 0
    return OnnxModel(run / "model.onnx")


def answers(out: str) -> tuple[list[str], NDArray[np.float64]]:
    rows = [json.loads(line) for line in out.splitlines()]
    return [Path(row["image"]).name for row in rows], np.array([list(row["logits"].values()) for row in rows])


def test_a_model_that_never_saw_a_film_takes_its_frames_when_asked(
    exported: Path, trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pydicom")
    (tmp_path / "b.dcm").write_bytes(cine(0, 3))
    (tmp_path / "a.png").write_bytes(encoded(Image.fromarray(RAMP.astype(np.uint8))))
    (tmp_path / "c.gif").write_bytes(animation([Image.new("L", (20, 20), shade) for shade in (10, 200)], "GIF"))
    assert main(["predict", str(exported), str(tmp_path), "--json", "--on-error", "skip"]) == 0
    captured = capsys.readouterr()
    assert answers(captured.out)[0] == ["a.png"]
    refused = captured.err.splitlines()
    assert ["b.dcm: holds 3 frames; take" in line for line in refused[:2]] == [True, False]
    assert all(line.endswith("or medzoo predict --frames members") for line in refused[:2])
    assert main(["predict", str(exported), str(tmp_path), "--json", "--frames", "members"]) == 0
    names, logits = answers(capsys.readouterr().out)
    assert names == ["a.png", "b.dcm[0]", "b.dcm[1]", "b.dcm[2]", "c.gif[0]", "c.gif[1]"]
    sources = [tmp_path / "a.png", *frames_of(tmp_path / "b.dcm"), *frames_of((tmp_path / "c.gif").read_bytes())]
    np.testing.assert_allclose(OnnxModel(exported).predict(sources)["logits"], logits, atol=1e-5)
    np.testing.assert_allclose(medzoo.load(trained_run).predict(sources)["logits"], logits, atol=1e-4)
    by_hand = [decode_image(source, channels=1, dtype="uint8") for source in sources]
    np.testing.assert_allclose(OnnxModel(exported).predict(by_hand)["logits"], logits, atol=1e-5)
    assert np.ptp(logits[1:4], axis=0).max() > 1e-3  # no frame is another
    assert main(["predict", str(exported), str(tmp_path), "--frames", "members", "--limit", "3"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    (tmp_path / "cut.dcm").write_bytes(film(np.stack([RAMP] * 3), NumberOfFrames=9))
    assert main(["predict", str(exported), str(tmp_path / "cut.dcm"), "--frames", "members"]) == 2
    assert "cut.dcm: its NumberOfFrames (0028,0008) is 9, but it is cut short: there are pixels for 3" in capsys.readouterr().err


def test_a_model_trained_on_members_predicts_members(films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    model = trained(films, run, "data.frames=members", "model.backbone=test_resnet", "model.preprocess.size=16")
    assert model.frames == medzoo.load(run).frames == "members"
    predictions = pd.read_parquet(run / "predictions.parquet")
    expected = sorted(f"{path.relative_to(films)}[{n}]" for path in films.rglob("*.dcm") for n in range(len(frames_of(path))))
    held_out = [name for name in expected if not name.startswith("train")]
    assert set(predictions["sample_id"]) <= set(expected)
    assert set(held_out) >= set(predictions["sample_id"]) >= {name for name in held_out if name.startswith("test")}
    assert set(predictions["group"]) == {name.rpartition("[")[0] for name in predictions["sample_id"]}
    assert main(["evaluate", f"run={run}"]) == 0
    pd.testing.assert_frame_equal(pd.read_parquet(run / "predictions.parquet"), predictions)
    capsys.readouterr()
    assert main(["predict", str(run / "model.onnx"), str(films / "test"), "--json"]) == 0
    names, logits = answers(capsys.readouterr().out)
    paths = sorted((films / "test").rglob("*.dcm"))
    frames = [Frame(path, n) for path in paths for n in range(len(frames_of(path)))]
    assert names == [Path(str(frame)).name for frame in frames]
    np.testing.assert_allclose(medzoo.load(run).predict(frames)["logits"], logits, atol=1e-4)
    stored = predictions.set_index("sample_id").loc[[str(Path(str(frame)).relative_to(films)) for frame in frames]]
    columns = [column for column in stored if column.startswith("logit")]
    np.testing.assert_allclose(stored[columns].to_numpy(), logits, atol=1e-4)


@pytest.mark.slow
def test_a_model_trained_on_films_as_volumes_predicts_them_so(
    films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    network = ["model=cnn3d", "+model.arguments.width=0.125", "model.preprocess.size=[4,16,16]"]
    model = trained(films, run, "data.frames=volume", *network)
    assert model.frames == medzoo.load(run).frames == "volume"
    paths = sorted((films / "test").rglob("*.dcm"))
    by_hand = [np.stack([decode_image(frame, channels=1, dtype="uint8") for frame in frames_of(path)]) for path in paths]
    expected = model.predict(by_hand)["logits"]
    np.testing.assert_allclose(model.predict(paths)["logits"], expected, atol=1e-5)
    np.testing.assert_allclose(model.predict([path.read_bytes() for path in paths])["logits"], expected, atol=1e-5)
    np.testing.assert_allclose(medzoo.load(run).predict(paths)["logits"], expected, atol=1e-4)
    stored = pd.read_parquet(run / "predictions.parquet").set_index("sample_id").loc[[str(p.relative_to(films)) for p in paths]]
    np.testing.assert_allclose(stored[[c for c in stored if c.startswith("logit")]].to_numpy(), expected, atol=1e-4)
    capsys.readouterr()
    for path in paths:
        (tmp_path / "mixed" / path.name).parent.mkdir(exist_ok=True)
        (tmp_path / "mixed" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "mixed/x.nii.gz").write_bytes(nifti(np.zeros((4, 4, 4), np.uint8)))
    (tmp_path / "mixed/one.dcm").write_bytes(dicom())
    assert main(["predict", str(run / "model.onnx"), str(tmp_path / "mixed"), "--json", "--on-error", "skip"]) == 0
    captured = capsys.readouterr()
    names, logits = answers(captured.out)
    assert names == sorted(path.name for path in paths)
    order = np.argsort([path.name for path in paths])
    np.testing.assert_allclose(logits, expected[order], atol=1e-5)
    assert "left out: 1 nii.gz" in captured.err
    assert "one.dcm: holds one frame, and a volume is read from several" in captured.err
    assert main(["predict", str(run / "model.onnx"), str(paths[0]), "--frames", "members"]) == 2
    assert "--frames members is for models of images, and this one takes volumes" in capsys.readouterr().err
