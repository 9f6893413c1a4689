"""What public datasets have beside one image, from files of their authors' form to the answers of an exported graph."""

from __future__ import annotations

import csv
import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import medzoo
from medzoo.cli import main
from medzoo.data.dataset import Dataset, readers_of
from medzoo.data.errors import ConfigError
from medzoo.data.registry import load_dataset
from medzoo.export import OnnxModel
from tests.data.datasets.trees import TREES

pytestmark = pytest.mark.slow

COMMON = [
    "model=fusion", "model.backbone=test_resnet", "model.fusion.width=16", "model.preprocess.size=32", "trainer.epochs=1",
    "trainer.trackers=[]", "trainer.batch_size=16", "device=cpu", "evaluation.replicates=5",
]  # fmt: skip
VOLUME = [f"+model.fusion.encoders.volume.{what}" for what in ("preprocess.size=[3,32,32]", "arguments.width=0.125")]
CASES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("chestxray14", {"inputs": ["age", "sex", "view"]}, []),
    ("scin", {"views": "case", "inputs": ["age", "sex", "body_parts"]}, []),
    ("scin", {"views": "image", "inputs": ["textures"]}, []),
    ("olives", {"modalities": ["fundus", "volume"], "inputs": ["bcva", "cst"], "target": "disease"}, VOLUME),
    ("olives", {"modalities": ["bscan", "fundus"], "inputs": ["cst"], "target": "biomarkers"}, []),
    ("derm1m", {"texts": ["caption"]}, []),
]
"""Dataset, its options beside those of its files, and what the model needs."""


def _overrides(options: dict[str, Any]) -> list[str]:
    return [
        f"data.{name}=[{','.join(value)}]" if isinstance(value, list) else f"data.{name}={value}"
        for name, value in options.items()
    ]


def _first_sample(dataset: Dataset) -> dict[str, Any]:
    """Return the test sample that has most, as a user gives it: pixels, of several views a list, text, values by their words."""
    rows = dataset.rows("test")
    row = rows.iloc[int(rows.notna().sum(axis=1).to_numpy().argmax())]
    sample: dict[str, Any] = {}
    for name, reader in readers_of(dataset).items():
        shown = []
        for values in reader.images(*(row[column] for column in reader.columns)).values():
            pixels = np.ascontiguousarray(np.moveaxis(reader.read(*values), 0, -1))
            shown.append(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
        sample[name] = shown if reader.views else shown[0]
    sample |= {name: row[f"text.{name}"] for name in dataset.texts}
    if dataset.inputs is None:
        return sample
    given = dict(zip(dataset.inputs.names, [row[f"input.{name}"] for name in dataset.inputs.names], strict=True))
    words = dataset.inputs.categories
    return sample | {
        "inputs": {name: words[name][int(v)] if name in words and not np.isnan(v) else v for name, v in given.items()}
    }


@pytest.mark.parametrize(("name", "own", "model"), CASES, ids=lambda given: given if isinstance(given, str) else "")
def test_from_files_to_answers(
    name: str, own: dict[str, Any], model: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, run = tmp_path / "data", tmp_path / "run"
    root.mkdir()
    options = {**TREES[name](root), **own}
    assert main(["train", f"data={name}", *_overrides(options), *COMMON, *model, f"run={run}"]) == 0
    if name == "chestxray14":  # training has evaluated the others already
        assert main(["evaluate", f"run={run}"]) == 0
    report = json.loads((run / "metrics.json").read_text())
    told = own.get("inputs") or own["texts"]
    assert any(f"{told[0]}" in part for part in map(json.dumps, report["modalities"].values()))
    assert main(["export", f"run={run}", "images=4"]) == 0

    torch_model, file = medzoo.load(run), OnnxModel(run / "model.onnx")
    whole = _first_sample(load_dataset(name, **options))
    spread = float(np.std(torch_model.predict([whole])["logits"]))
    for count in range(1, len(whole) + 1):
        for kept in combinations(whole, count):
            sample = {part: whole[part] for part in kept}
            ours, theirs = torch_model.predict([sample])["logits"], file.predict([sample])["logits"]
            assert np.abs(ours - theirs).max() <= 1e-3 * spread, kept
    if name == "chestxray14":
        _from_a_table(root, run, file, capsys)
    if own.get("views") == "case":
        _of_any_number_of_views(whole, torch_model, file, spread)


def _of_any_number_of_views(whole: dict[str, Any], torch_model: Any, file: OnnxModel, spread: float) -> None:
    """Photographs of one case, one to three and of any sizes, are averaged by the file as in torch; a fourth is one line."""
    rng = np.random.default_rng(0)
    views = [*whole["image"], *(rng.integers(0, 256, (30 + n, 40, 3), dtype=np.uint8) for n in range(3))][:3]
    given = [{**whole, "image": views[:count]} for count in (1, 2, 3)] + [{**whole, "image": views[0]}]
    ours, theirs = torch_model.predict(given)["logits"], file.predict(given)["logits"]
    assert np.abs(ours - theirs).max() <= 1e-3 * spread
    np.testing.assert_array_equal(theirs[0], theirs[3])  # one view is one image
    assert np.abs(theirs[1] - theirs[2]).max() > 1e-3 * spread
    back = file.predict({**whole, "image": views[::-1]})["logits"]
    assert np.abs(back - theirs[2:3]).max() <= 1e-3 * spread  # views have no order
    named = file.predict({**whole, "image": views[0], "image_2": views[1], "image_3": views[2]})["logits"]
    np.testing.assert_allclose(named, theirs[2:3], atol=1e-5)
    for asked in (torch_model, file):
        with pytest.raises(ConfigError, match="modality 'image' has 4 images, and the model takes up to 3 views of it"):
            asked.predict({**whole, "image": [*views, views[0]]})


def _from_a_table(root: Path, run: Path, file: OnnxModel, capsys: pytest.CaptureFixture[str]) -> None:
    """A table of values beside films says on the command line what `OnnxModel` is told by name; a wrong word is one line."""
    film = root / "images" / "00000001_000.png"
    for sex, status in (("female", 0), ("femal", 2)):
        with (run.parent / "rows.csv").open("w", newline="") as table:
            csv.writer(table).writerows([["image", "age", "sex", "view"], [film.name, "57", sex, ""]])
        capsys.readouterr()
        found = main(["predict", str(run / "model.onnx"), str(film), "--json", "--inputs", str(run.parent / "rows.csv")])
        assert found == status
        said = capsys.readouterr()
    assert "unknown category 'femal' of input 'sex'; did you mean 'female'" in said.err
    asked = file.predict({"image": film, "inputs": {"age": 57, "sex": "female"}})
    other = file.predict({"image": film, "inputs": {"age": 5, "sex": "male"}})
    assert np.abs(asked["logits"] - other["logits"]).max() > 0
