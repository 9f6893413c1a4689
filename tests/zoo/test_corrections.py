"""Corrected concepts through the whole of it: by name and by rows, in torch, deployed, in a stream and on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from medzoo.api import load
from medzoo.cli import main
from medzoo.data.corrections import check_corrections
from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.export import OnnxModel
from medzoo.export.precision.layers import GraphLayers
from medzoo.store.checkpoint import find_checkpoint
from medzoo.tasks.bottleneck import Bottleneck
from medzoo.tasks.load import load_checkpoint

TINY = [
    "data=phantom", "data.size=24", "data.patients=24", "model=cbm", "model.bottleneck.regime=sequential", "trainer.trackers=[]",
    "trainer.epochs=1", "trainer.batch_size=16", "evaluation.replicates=20", "model.bottleneck.penalty=0.01",
]  # fmt: skip
IMAGES = list(np.random.default_rng(0).integers(0, 256, (5, 24, 24, 1), dtype=np.uint8))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corrections") / "run"
    assert main(["train", *TINY, "model.backbone=test_resnet", f"run={path}"]) == 0
    assert main(["export", f"run={path}", "images=8"]) == 0
    return path


def lesion(model: Any, rows: int) -> dict[str, NDArray[np.float32]]:
    values, mask = np.zeros((rows, len(model.concepts)), "f4"), np.zeros((rows, len(model.concepts)), "f4")
    values[:, model.concepts.index("lesion")] = mask[:, model.concepts.index("lesion")] = 1
    return {"concept_values": values, "concept_mask": mask}


def test_corrections_go_with_their_images_into_the_pieces_of_a_batch(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, whole = OnnxModel(run / "model.onnx", threads=2), OnnxModel(run / "model.onnx", threads=2, split_batches=False)
    calls: list[int] = []
    real = model._batches.run
    # A batch that fails is run again image by image: the answers would be right, and nothing would be cut.
    monkeypatch.setattr(model._batches, "run", lambda *given: [calls.append(1), real(*given)][1])
    images, given = [IMAGES[0]] * 16, lesion(model, 16)
    given["concept_values"][::3] = 0  # not the same for every image
    found, expected = model.predict(images, batch_size=16, **given), whole.predict(images, batch_size=16, **given)
    assert len(calls) == 1
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-5)
    assert np.abs(np.diff(found["logits"], axis=0)).max() > 1e-3


def test_by_name_by_one_row_and_by_rows_are_the_same(run: Path) -> None:
    deployed, trained = OnnxModel(run / "model.onnx"), load(run)
    for model in (deployed, trained):
        rows = model.predict(IMAGES, **lesion(model, 5))
        one = model.predict(IMAGES, **lesion(model, 1))
        named = model.predict(IMAGES, concept_values={"lesion": 1})
        for name, values in rows.items():
            np.testing.assert_array_equal(values, one[name])
            np.testing.assert_array_equal(values, named[name])
        assert np.abs(rows["logits"] - model.predict(IMAGES)["logits"]).max() > 1e-3
    plain, other = deployed.predict(IMAGES), trained.predict(IMAGES)
    np.testing.assert_allclose(plain["concepts"], other["concepts"], atol=1e-4)
    streamed = list(deployed.stream(iter(IMAGES), batch_size=2, concept_values={"lesion": 1}))
    np.testing.assert_allclose(
        [p.outputs["logits"] for p in streamed], deployed.predict(IMAGES, **lesion(deployed, 5))["logits"], atol=1e-5
    )


def test_nothing_has_every_output_in_its_own_width(run: Path) -> None:
    found = OnnxModel(run / "model.onnx").predict([])
    assert {name: values.shape for name, values in found.items()} == {
        "logits": (0, 4),
        "probabilities": (0, 4),
        "concepts": (0, 5),
    }


def test_the_command_line_says_and_corrects_concepts(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = OnnxModel(run / "model.onnx")
    command = ["predict", str(run / "model.onnx"), str(run / "samples" / "val-0.png"), "--json"]
    capsys.readouterr()
    assert main(command) == 0
    said = json.loads(capsys.readouterr().out)
    expected = model.predict([run / "samples" / "val-0.png"])
    assert list(said["concepts"]) == list(model.concepts)
    np.testing.assert_allclose(list(said["concepts"].values()), expected["concepts"][0], rtol=1e-6)
    assert main([*command, "--set", "lesion=1", "--set", "vessel=0"]) == 0
    corrected = json.loads(capsys.readouterr().out)
    expected = model.predict([run / "samples" / "val-0.png"], concept_values={"lesion": 1, "vessel": 0})
    np.testing.assert_allclose(list(corrected["logits"].values()), expected["logits"][0], rtol=1e-5)
    for wrong, message in (("lesion", "--set 'lesion' is not CONCEPT=VALUE"), ("lesoin=1", "'lesion'"), ("lesion=2", "in 0..1")):
        assert main([*command, "--set", wrong]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("values", "mask", "message"),
    [
        (None, [[1, 0]], "together"),
        ([[1, 0]], None, "together"),
        ([[1, 0]], [[0.5, 0]], "must be 1 where a concept is corrected and 0 elsewhere"),
        ([[1, 0]], [[np.nan, 0]], "must be 1 where"),
        ([[1.5, 0]], [[1, 0]], "numbers in 0..1"),
        ([[np.nan, 0]], [[1, 0]], "numbers in 0..1"),
        ([[1, 0, 0]], [[1, 0]], r"concept_values has shape \[1, 3\], not \[4, 2\]"),
        (np.zeros((3, 2)), np.zeros((3, 2)), r"has shape \[3, 2\], not \[4, 2\]"),
        ({"a": 1}, {"a": 1}, "need no concept_mask"),
        ({"a": "yes"}, None, "give a number in 0..1"),
        ([[1, 0]], {"a": 1}, "concept_mask is a dict"),
    ],
)
def test_corrections_that_mean_nothing_are_refused(values: Any, mask: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_corrections(4, ("a", "b"), values, mask)


def test_corrections_by_hand() -> None:
    found = check_corrections(2, ("a", "b", "c"), {"c": 0.25, "a": True}, None)
    np.testing.assert_array_equal(found["concept_values"], [[1, 0, 0.25]] * 2)
    np.testing.assert_array_equal(found["concept_mask"], [[1, 0, 1]] * 2)
    assert check_corrections(2, (), None, None) == {}
    with pytest.raises(UnknownNameError, match="'lesion'"):
        check_corrections(1, ("lesion",), {"lesions": 1}, None)
    with pytest.raises(ConfigError, match="no concepts to correct"):
        check_corrections(1, (), {"lesion": 1}, None)
    np.testing.assert_array_equal(check_corrections(2, ("a",), [0.5], [True])["concept_mask"], [[1], [1]])


def test_a_bottleneck_that_was_interrupted_is_not_used_until_it_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from medzoo.commands import train as command

    run = tmp_path / "run"

    def power_cut(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(command, "complete_checkpoints", power_cut)
        assert main(["train", *TINY, "model.backbone=test_resnet", f"run={run}"]) not in (0, None)
    capsys.readouterr()
    for verb in ("evaluate", "export", "explain", "intervene"):
        assert main([verb, f"run={run}"]) == 2
        error = capsys.readouterr().err
        assert "training was interrupted before its last step" in error or verb in ("explain", "intervene")
        assert error.count("\n") == 1
    assert main(["train", f"resume={run}"]) == 0
    task = load_checkpoint(find_checkpoint(run))
    assert isinstance(task, Bottleneck)
    assert task.model.unfinished is None
    assert main(["export", f"run={run}", "images=8"]) == 0


def test_a_transformers_blocks_do_not_follow_the_corrections(tmp_path: Path) -> None:
    """The class token's batch size is read from whatever input has one: that is no dependency on its values."""
    run = tmp_path / "run"
    assert main(["train", *TINY, "model.backbone=test_vit", "evaluate=false", f"run={run}"]) == 0
    assert main(["export", f"run={run}", "images=8"]) == 0
    found = GraphLayers(onnx.load(run / "model.onnx"))
    assert len(found.layers) >= 20
    assert {"head.weight", "head"} & {layer.name for layer in found.fixed}
