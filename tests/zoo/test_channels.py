"""Images of more than three channels through every verb: planes of a file, and files that are the channels of one image."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import medzoo
from medzoo.cli import main
from medzoo.export import OnnxModel
from tests.data.images.series_files import write
from tests.export.service.served import running, service

nibabel = pytest.importorskip("nibabel")
tifffile = pytest.importorskip("tifffile")

FILES = 18
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
WORDS = ["trainer.epochs=1", "evaluation.replicates=10", "evaluation.splits=[val]", "trainer.trackers=[]", "data.target=y"]
WORDS += ["data.group=patient", "data.val_fraction=0.3", "device=cpu"]
SEQUENCES = ["t1", "t1ce", "t2", "flair"]


def scored(run: Path, data: list[str], model: list[str]) -> tuple[pd.DataFrame, np.ndarray]:
    """Train, evaluate and export through the command line; the validation rows and their logits as evaluation had them."""
    assert main(["train", *data, *model, *WORDS, f"run={run}"]) == 0
    assert main(["evaluate", f"run={run}", "evaluation.replicates=10", "evaluation.splits=[val]"]) == 0
    assert main(["export", f"run={run}", "images=2"]) == 0
    rows = pd.read_parquet(run / "predictions.parquet")
    return rows, rows[[name for name in rows.columns if name.startswith("logit.")]].to_numpy()


def said(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> list[dict[str, float]]:
    """What `medzoo predict --json` prints."""
    capsys.readouterr()
    assert main(["predict", *arguments, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def planes(root: Path, channels: int = 5) -> list[str]:
    """Write files of five planes, TIFF by pages or side by side and arrays in turn, and a table; returns the data's options."""
    rng, lines = np.random.default_rng(0), ["image,patient,y"]
    for number in range(FILES):
        pixels = rng.integers(0, 256, (channels, 24, 20), dtype=np.uint8)
        pixels[3] //= 1 + number % 2  # what the label is of: a channel that no reader of colours sees
        if number % 3 == 0:
            tifffile.imwrite(root / f"{number}.tif", pixels, photometric="minisblack")
        elif number % 3 == 1:
            tifffile.imwrite(root / f"{number}.tif", np.moveaxis(pixels, 0, -1), photometric="minisblack", planarconfig="contig")
        else:
            np.save(root / f"{number}.npy", pixels)
        lines.append(f"{number}.{'npy' if number % 3 == 2 else 'tif'},p{number},{'ab'[number % 2]}")
    (root / "t.csv").write_text("\n".join(lines))
    return ["data=table", f"data.file={root / 't.csv'}", f"data.channels={channels}"]


def stacked(root: Path, volumes: bool = False, lacking: bool = True) -> list[str]:
    """Write four files a case, of every third no FLAIR, and a table; returns the data's options."""
    rng, lines = np.random.default_rng(1), [",".join([*SEQUENCES, "patient", "y"])]
    for number in range(FILES):
        names = []
        for name in SEQUENCES:
            if name == "flair" and lacking and number % 3 == 0:
                names.append("")
                continue
            names.append(f"{name}-{number}.{'nii.gz' if volumes else 'png'}")
            if volumes:
                voxels = rng.integers(0, 256, (12, 10, 8), dtype=np.uint8)
                nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), root / names[-1])
            else:
                Image.fromarray(rng.integers(0, 256, (24, 20), dtype=np.uint8)).save(root / names[-1])
        lines.append(",".join([*names, f"p{number}", "ab"[number % 2]]))
    (root / "t.csv").write_text("\n".join(lines))
    missing = ["data.missing_channels=zeros"] if lacking else []
    return ["data=table", f"data.file={root / 't.csv'}", f"data.channel_columns=[{','.join(SEQUENCES)}]", *missing]


def test_five_planes_of_a_file_are_trained_exported_and_predicted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = planes(tmp_path)
    model = ["model.backbone=test_resnet", "model.preprocess.size=24", "data.modality=microscopy", "trainer.augment=microscopy"]
    rows, wanted = scored(tmp_path / "run", data, model)
    files = [tmp_path / name for name in rows["sample_id"]]
    model_file = tmp_path / "run" / "model.onnx"
    onnx = OnnxModel(model_file)
    for reader in (medzoo.load(tmp_path / "run"), onnx):
        np.testing.assert_allclose(reader.predict(files)["logits"], wanted, atol=1e-4)
        np.testing.assert_allclose(reader.predict([files[0].read_bytes()])["logits"], wanted[:1], atol=1e-4)
    spec = onnx.spec["preprocess"]
    assert (spec["channels"], spec["mean"], spec["std"]) == (5, [0.5] * 5, [0.5] * 5)
    printed = said(capsys, [str(model_file), *map(str, files)])
    exponents = np.exp(wanted - wanted.max(axis=1, keepdims=True))
    expected = (exponents / exponents.sum(axis=1, keepdims=True))[:, 0]
    np.testing.assert_allclose([line["probabilities"]["a"] for line in printed], expected, atol=1e-4)
    with running(service(model_file)) as address:
        for file, logits in zip(files[:2], wanted, strict=False):
            answer = httpx.post(f"{address}/predict", files=[("image", (file.name, file.read_bytes()))])
            assert answer.status_code == 200, answer.text
            np.testing.assert_allclose(list(answer.json()["results"][0]["logits"].values()), logits, atol=1e-4)
        refused = httpx.post(f"{address}/predict", files=[("image", ("x.png", PNG))])
        assert refused.status_code == 422
        assert "x.png: is PNG; 5 channels (data.channels) are read from TIFF" in refused.text
    tifffile.imwrite(tmp_path / "four.tif", np.zeros((4, 24, 20), np.uint8), photometric="minisblack")
    assert main(["predict", str(model_file), str(tmp_path / "four.tif")]) == 2
    assert "four.tif: holds 4 channels (4 pages), and 5 are asked for" in capsys.readouterr().err


def test_files_that_are_channels_are_trained_exported_and_predicted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = stacked(tmp_path)
    rows, wanted = scored(tmp_path / "run", data, ["model.backbone=test_resnet", "model.preprocess.size=24"])
    table = pd.read_csv(tmp_path / "t.csv").set_index("t1", drop=False)
    cases = [
        {name: tmp_path / table.loc[first, name] for name in SEQUENCES if isinstance(table.loc[first, name], str)}
        for first in rows["sample_id"]
    ]
    assert {len(case) for case in cases} == {3, 4}
    model_file = tmp_path / "run" / "model.onnx"
    for reader in (medzoo.load(tmp_path / "run"), OnnxModel(model_file)):
        np.testing.assert_allclose(reader.predict(cases)["logits"], wanted, atol=1e-4)
    whole = next(place for place, case in enumerate(cases) if len(case) == 4)
    array = np.stack([np.asarray(Image.open(cases[whole][name])) for name in SEQUENCES], axis=-1)
    np.testing.assert_allclose(OnnxModel(model_file).predict([array])["logits"], wanted[whole : whole + 1], atol=1e-4)
    firsts = [str(case["t1"]) for case in cases]
    printed = said(capsys, [str(model_file), *firsts, "--inputs", str(_without_labels(tmp_path))])
    exponents = np.exp(wanted - wanted.max(axis=1, keepdims=True))
    expected = (exponents / exponents.sum(axis=1, keepdims=True))[:, 0]
    np.testing.assert_allclose([line["probabilities"]["a"] for line in printed], expected, atol=1e-4)
    assert main(["predict", str(model_file), firsts[0]]) == 2
    assert "4 channels (data.channels) are read from TIFF, .npy and NIfTI files" in capsys.readouterr().err


def _without_labels(root: Path) -> Path:
    pd.read_csv(root / "t.csv")[SEQUENCES].to_csv(root / "given.csv", index=False)
    return root / "given.csv"


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        ["model=vit", "model.backbone=test_vit", "model.preprocess.size=32", "trainer.augment=skin"],
        ["model=cnn", "model.backbone=test_convnext", "model.preprocess.size=32", "trainer.augment=fundus"],
    ],
    ids=["vit", "cnn"],
)
def test_families_take_planes(tmp_path: Path, model: list[str]) -> None:
    data = [*planes(tmp_path), "data.deep=true"]
    rows, wanted = scored(tmp_path / "run", data, model)
    files = [tmp_path / name for name in rows["sample_id"]]
    for reader in (medzoo.load(tmp_path / "run"), OnnxModel(tmp_path / "run" / "model.onnx")):
        np.testing.assert_allclose(reader.predict(files)["logits"], wanted, atol=1e-4)


@pytest.mark.slow
def test_four_sequences_are_channels_of_a_volume(tmp_path: Path) -> None:
    data = stacked(tmp_path, volumes=True, lacking=False)
    model = ["model=cnn3d", "model.preprocess.size=[8,16,16]", "+model.arguments.width=0.125", "trainer.augment=volume"]
    rows, wanted = scored(tmp_path / "run", data, model)
    cases = [{n: tmp_path / name.replace("t1-", f"{n}-") for n in SEQUENCES} for name in rows["sample_id"]]
    for reader in (medzoo.load(tmp_path / "run"), OnnxModel(tmp_path / "run" / "model.onnx")):
        np.testing.assert_allclose(reader.predict(cases)["logits"], wanted, atol=1e-4)
    # One file of four dimensions is the same volume.
    voxels = [np.asarray(nibabel.load(path).dataobj) for path in cases[0].values()]
    nibabel.save(nibabel.Nifti1Image(np.stack(voxels, axis=-1), np.eye(4)), tmp_path / "four.nii.gz")
    found = OnnxModel(tmp_path / "run" / "model.onnx").predict([tmp_path / "four.nii.gz"])["logits"]
    np.testing.assert_allclose(found, wanted[:1], atol=1e-4)


@pytest.mark.slow
def test_a_directory_of_slices_is_a_volume_through_every_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["series,patient,y"]
    for number in range(FILES):
        write(tmp_path / f"s{number}", [number + 2.5 * place for place in range(5)], RescaleIntercept=-1024 + 40 * number)
        lines.append(f"s{number},p{number},{'ab'[number % 2]}")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    data = ["data=table", f"data.file={tmp_path / 't.csv'}", "data.image=series", "data.channels=1", "data.window=[-1000,1000]"]
    model = ["model=cnn3d", "model.preprocess.size=[8,16,16]", "+model.arguments.width=0.125"]
    rows, wanted = scored(tmp_path / "run", data, model)
    folders = [tmp_path / name for name in rows["sample_id"]]
    for reader in (medzoo.load(tmp_path / "run"), OnnxModel(tmp_path / "run" / "model.onnx")):
        np.testing.assert_allclose(reader.predict(folders)["logits"], wanted, atol=1e-4)
    printed = said(capsys, [str(tmp_path / "run" / "model.onnx"), str(tmp_path)])  # all directories below
    assert {line["image"] for line in printed} == {str(tmp_path / f"s{number}") for number in range(FILES)}
    write(folders[0], names="vwxyz", SeriesInstanceUID="1.2.4")
    assert main(["predict", str(tmp_path / "run" / "model.onnx"), str(folders[0])]) == 2
    assert "holds 2 series" in capsys.readouterr().err
    assert len(said(capsys, [str(tmp_path / "run" / "model.onnx"), str(folders[0]), "--series", "1.2.3"])) == 1
