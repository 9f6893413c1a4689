"""What a file says of itself: operating points that come with it, and those that are not what medzoo writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medzoo.cli import main
from medzoo.data.errors import OnnxFileError
from medzoo.data.labels import LabelSpace, log_odds
from medzoo.data.operating_points import OperatingPoint, OperatingPoints
from medzoo.export.files.model_files import write_model
from medzoo.export.runtime.metadata import POINTS
from medzoo.export.runtime.model import OnnxModel
from tests.export.handmade import CLASSES, build, expected_logits, write

LABELS = LabelSpace("multiclass", CLASSES)
IMAGES = [np.random.default_rng(i).integers(0, 256, (6, 5, 3), dtype=np.uint8) for i in range(12)]
ODDS = log_odds(expected_logits(IMAGES), LABELS)[:, 1]
MIDDLE = float(np.sort(ODDS)[5:7].mean())
"""Between the images, so that no rounding turns a call."""
POINT = OperatingPoints(LABELS, (OperatingPoint("youden", (None, MIDDLE), ("unattainable", ""), ({}, {})),))


def with_metadata(path: Path, text: str) -> Path:
    model = build()
    model.metadata_props.add(key=POINTS, value=text)
    write_model(model, path)
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_metadata(tmp_path_factory.mktemp("points") / "m.onnx", json.dumps(POINT.to_dict()))


def test_every_way_of_asking_calls_alike(file: Path) -> None:
    model = OnnxModel(file, threads=1)
    assert model.points == POINT
    expected = np.stack([np.full(12, np.nan), ODDS >= MIDDLE], axis=1)[:, None, :]
    assert 0 < expected[:, 0, 1].sum() < 12
    np.testing.assert_array_equal(model.predict(IMAGES)["calls"], expected)
    np.testing.assert_array_equal([row.outputs["calls"] for row in model.stream(IMAGES)], expected)
    np.testing.assert_array_equal(model.predict(torch.from_numpy(np.stack(IMAGES)), batch_size=5)["calls"], expected)
    model.spec["objective"] = {}  # which the handmade file does not name
    np.testing.assert_array_equal(model.predict_cases([[image] for image in IMAGES])["calls"], expected)
    mean = log_odds(expected_logits(IMAGES[:3]).mean(axis=0)[None], LABELS)[0, 1]
    assert model.predict_cases([IMAGES[:3]])["calls"][0, 0, 1] == (mean >= MIDDLE)
    assert model.predict([])["calls"].shape == (0, 1, 2)


def test_a_file_without_points_answers_as_before(tmp_path: Path) -> None:
    model = OnnxModel(write(tmp_path / "m.onnx"), threads=1)
    assert model.points is None
    assert set(model.predict(IMAGES)) == {"logits", "probabilities"}


def test_the_command_names_what_is_called(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "images.npz", images=np.stack(IMAGES))
    assert main(["predict", str(file), str(tmp_path / "images.npz")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert ["[youden: malignant]" in line for line in lines] == (ODDS >= MIDDLE).tolist()
    assert ["[youden: none]" in line for line in lines] == (ODDS < MIDDLE).tolist()
    assert main(["predict", str(file), str(tmp_path / "images.npz"), "--json"]) == 0
    said = [json.loads(line)["calls"] for line in capsys.readouterr().out.splitlines()]
    assert said == [{"youden": {"benign": None, "malignant": bool(call)}} for call in ODDS >= MIDDLE]


def spoilt(change: Callable[[dict[str, Any]], Any]) -> str:
    told = POINT.to_dict()
    change(told)
    return json.dumps(told)


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "null", "[]", "[" * 100_000, spoilt(lambda told: told.update(format=9)),
        spoilt(lambda told: told.update(labels=LabelSpace("multiclass", ("malignant", "benign")).to_dict())),
        spoilt(lambda told: told["points"][0].update(rule="\x1b]0;title\x07")),
        spoilt(lambda told: told["points"][0]["classes"]["malignant"].update(score="__import__('os')")),
        spoilt(lambda told: told["points"][0]["classes"]["malignant"].update(score=float("nan"))),
    ],
)  # fmt: skip
def test_points_that_are_not_medzoos_are_one_line(text: str, tmp_path: Path) -> None:
    path = with_metadata(tmp_path / "m.onnx", text)
    with pytest.raises(OnnxFileError, match=r"medzoo\.operating_points in its metadata cannot be used"):
        OnnxModel(path, threads=1)


def test_points_of_a_model_without_labels_are_refused(tmp_path: Path) -> None:
    model = build()
    next(entry for entry in model.metadata_props if entry.key == "medzoo.labels").value = "null"
    model.metadata_props.add(key=POINTS, value=json.dumps(POINT.to_dict()))
    write_model(model, tmp_path / "m.onnx")
    with pytest.raises(OnnxFileError, match="without labels"):
        OnnxModel(tmp_path / "m.onnx", threads=1)


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        *((f"medzoo.{key}", text, "cannot be used") for key in ("spec", "labels", "outputs") for text in ("{", "[" * 100_000)),
        ("medzoo.spec", "{}", "cannot be used"),
        ("medzoo.spec", "[]", "cannot be used"),
        ("medzoo.spec", '{"preprocess": {"size": [0, 8], "channels": 3, "dtype": "uint8"}}', "a size of"),
        ("medzoo.labels", "[]", "cannot be used"),
        ("medzoo.labels", json.dumps(LabelSpace("multiclass", ("a", "b", "c")).to_dict()), "gives 2 probabilities, .* names 3"),
        ("medzoo.outputs", "[]", "does not give anything"),
        ("medzoo.outputs", '["logits", "other"]', "does not give logits, other"),
    ],
)
def test_metadata_sealed_by_another_program_is_one_line(key: str, text: str, said: str, tmp_path: Path) -> None:
    """The sum is no signature: whoever changes a file can seal it anew."""
    model = build()
    (entry,) = [entry for entry in model.metadata_props if entry.key == key]
    entry.value = text
    write_model(model, tmp_path / "m.onnx")
    with pytest.raises(OnnxFileError, match=said) as error:
        OnnxModel(tmp_path / "m.onnx")
    assert len(str(error.value)) < 500
    assert "\n" not in str(error.value)
