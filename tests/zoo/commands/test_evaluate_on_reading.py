"""Another hospital's files are read as the model's own: what `evaluate on=` scores is what the model says of the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

import medzoo
from medzoo.cli import main
from medzoo.evaluation.predictions import Predictions
from medzoo.store.spec import ModelSpec

SHORT = [
    "model.backbone=test_resnet", "model.preprocess.size=24", "trainer.epochs=1", "trainer.batch_size=16", "trainer.trackers=[]",
    "evaluate=false", "device=cpu",
]  # fmt: skip


def colours(folder: Path, seed: int) -> Path:
    """Colour photographs whose class is whether they are red or blue, which as gray are darker or brighter."""
    return _write(folder, seed, lambda rng, y: rng.normal(110, 25, (24, 24, 3)) + np.array([40 * y, 0, 40 * (1 - y)]))


def deep(folder: Path, seed: int) -> Path:
    """16-bit images of values from 0 to 4095."""
    return _write(folder, seed, lambda rng, y: rng.normal(1200 + 500 * y, 300, (24, 24)), np.uint16, 4095)


def _write(
    folder: Path, seed: int, drawn: Callable[[np.random.Generator, int], NDArray[Any]], dtype: type = np.uint8, most: int = 255
) -> Path:
    folder.mkdir()
    rng, rows = np.random.default_rng(seed), []
    for k in range(40):
        Image.fromarray(drawn(rng, k % 2).clip(0, most).astype(dtype)).save(folder / f"{seed}-{k}.png")
        rows.append({"image": f"{seed}-{k}.png", "patient": f"{seed}-{k}", "y": ["no", "yes"][k % 2]})
    pd.DataFrame(rows).to_csv(folder / "table.csv", index=False)
    return folder / "table.csv"


def train(run: Path, table: Path, *options: str) -> None:
    data = ["data=table", f"data.file={table}", "data.image=image", "data.group=patient", "data.target=y"]
    assert main(["train", *data, *SHORT, *options, f"run={run}"]) == 0


def on(run: Path, table: Path, name: str, *options: str) -> int:
    words = ["on=table", f"on.file={table}", "on.image=image", "on.group=patient", "on.target=y", *options]
    return main(["evaluate", f"run={run}", *words, f"name={name}", "evaluation.replicates=0", "device=cpu"])


def scored(run: Path, name: str) -> pd.DataFrame:
    said = Predictions.read(run / "external" / name / "predictions.parquet")
    return pd.DataFrame(said.probabilities, index=[str(one) for one in said.sample_id])


def served(run: Path, table: Path) -> pd.DataFrame:
    names = pd.read_csv(table)["image"]
    return pd.DataFrame(medzoo.load(run).predict([table.parent / name for name in names])["probabilities"], index=names)


@pytest.mark.parametrize("options", [[], ["on.channels=1"]])
def test_colours_are_read_as_gray_by_a_model_of_gray(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, other = tmp_path / "run", colours(tmp_path / "there", 1)
    train(run, colours(tmp_path / "here", 0), "data.channels=1", "model.preprocess.channels=3")
    assert on(run, other, "other", *options) == 0
    assert ("note: images are read as the model's own: colours as gray" in capsys.readouterr().out) == (not options)
    found, wanted = scored(run, "other"), served(run, other)
    np.testing.assert_allclose(found.loc[wanted.index], wanted, atol=1e-5)


def test_a_window_is_the_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, other = tmp_path / "run", deep(tmp_path / "there", 1)
    gray = ["data.channels=1", "data.deep=true"]
    train(run, deep(tmp_path / "here", 0), *gray, "data.window=[500,3000]")
    assert on(run, other, "other", "on.channels=1", "on.deep=true") == 0
    assert "note: images are read as the model's own: window=[500, 3000] of the values in" in capsys.readouterr().out
    found, wanted = scored(run, "other"), served(run, other)
    np.testing.assert_allclose(found.loc[wanted.index], wanted, atol=1e-5)
    assert on(run, other, "same", "on.channels=1", "on.deep=true", "on.window=[500,3000]") == 0
    np.testing.assert_array_equal(scored(run, "same"), found)
    assert on(run, other, "wide", "on.channels=1", "on.deep=true", "on.window=[0,4095]") == 2
    said = capsys.readouterr().err
    assert "on.window=[0, 4095]: the model was trained on images that were read by data.window=[500, 3000]" in said
    plain = tmp_path / "plain"
    train(plain, tmp_path / "here" / "table.csv", *gray)
    assert on(plain, other, "wide", "on.channels=1", "on.deep=true", "on.window=[0,4095]") == 0
    said = capsys.readouterr().out
    assert "note: images are read by on.window=[0, 4095], and the model was trained without a window" in said


def test_networks_that_read_files_otherwise_neither_vote_together_nor_teach_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, gray, colour = colours(tmp_path / "here", 0), tmp_path / "gray", tmp_path / "colour"
    train(gray, table, "data.channels=1", "model.preprocess.channels=3")
    train(colour, table)
    for first, second, said in ((gray, colour, "data.channels 3, {} of 1"), (colour, gray, "data.channels 1, {} of 3")):
        assert main(["ensemble", str(first), str(second), "--run", str(tmp_path / "both"), "--device", "cpu"]) == 2
        assert said.format(first) in capsys.readouterr().err
    data = ["data=table", f"data.file={table}", "data.image=image", "data.group=patient", "data.target=y"]
    assert main(["train", *data, *SHORT, f"trainer.teacher={gray}", f"run={tmp_path / 'taught'}"]) == 2
    assert "takes images of data.channels 1, the student of 3" in capsys.readouterr().err


def test_prepared_images_keep_that_their_files_became_gray(tmp_path: Path) -> None:
    table, packed = colours(tmp_path / "here", 0), tmp_path / "packed"
    data = ["data=table", f"data.file={table}", "data.image=image", "data.group=patient", "data.target=y", "data.channels=1"]
    assert main(["prepare", *data, "size=24", "channels=3", f"output={packed}"]) == 0
    assert main(["train", *data, f"data.packed={packed}", *SHORT, "model.preprocess.channels=3", f"run={tmp_path / 'run'}"]) == 0
    assert ModelSpec.read(tmp_path / "run" / "spec.json").data["channels"] == 1
    assert main(["evaluate", f"run={tmp_path / 'run'}", "device=cpu", "evaluation.replicates=0"]) == 0
    said, model = Predictions.read(tmp_path / "run" / "predictions.parquet"), medzoo.load(tmp_path / "run")
    for name, row in zip(said.sample_id, said.probabilities, strict=True):
        found = model.predict([table.parent / str(name)])["probabilities"][0]
        np.testing.assert_allclose(found, row, atol=1e-5)
