"""Samples of more than an image, and answers to other questions: several modalities, bags, several targets, pre-training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import medzoo
from medzoo.cli import main
from medzoo.export.runtime.model import OnnxModel
from medzoo.store.checkpoint import WEIGHTS, find_checkpoint, tensors_from_file
from tests.gpu.families import JOINED, PRECISIONS, Trained, distance, images_of
from tests.gpu.test_train import check_history

ANSWERS = [name for name in JOINED if name not in ("simclr", "dino", "mae")]
LIMIT = 1e-4
"""‖card − processor‖ / ‖processor‖ of float32 without TF32, as in tests/gpu/test_agreement.py."""


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("family", JOINED)
def test_each_learns_on_the_card(trained: Trained, family: str, precision: str) -> None:
    run = trained(family, precision)
    weights = find_checkpoint(run) / WEIGHTS
    assert json.loads((run / "facts.json").read_text())["bytes"] > weights.stat().st_size
    floats = [t for t in tensors_from_file(weights).values() if t.is_floating_point()]
    assert {t.dtype for t in floats} == {torch.float32}
    assert all(t.isfinite().all() for t in floats)
    check_history(run, epochs=2)


def columns(run: Path, kind: str) -> dict[str, Any]:
    """Return the predictions of a run by their folder: of several targets one each, of pre-training the embeddings."""
    files = sorted(run.glob(f"**/{kind}.parquet"))
    assert files
    return {str(path.relative_to(run)): pd.read_parquet(path) for path in files}


@pytest.mark.usefixtures("whole_float32")
@pytest.mark.parametrize("family", JOINED)
def test_evaluation_is_the_same_on_both(trained: Trained, family: str, card: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained(family), run)
    kind = "predictions" if family in ANSWERS else "embeddings"
    found = []
    for device in ("cpu", card):
        assert main(["evaluate", f"run={run}", f"device={device}", "evaluation.replicates=5"]) == 0
        found.append(columns(run, kind))
    ours, theirs = found
    assert list(ours) == list(theirs)
    for name, table in ours.items():
        other = theirs[name]
        assert list(table["sample_id"]) == list(other["sample_id"])
        numbers = [column for column in table if str(column).startswith(("logit", "image"))]
        assert numbers
        for column in numbers:
            one, two = (np.stack(list(part[column])) for part in (table, other))
            assert distance(two, one) < LIMIT, (name, column)


@pytest.mark.usefixtures("cuda_provider")
@pytest.mark.parametrize("family", [name for name in JOINED if name not in ("fusion", "bags")])
def test_a_file_of_images_answers_as_the_cpu_provider(trained: Trained, family: str) -> None:
    run = trained(family)
    images = images_of(run)
    found, by_cpu = (OnnxModel(run / "model.onnx", provider=provider).predict(images) for provider in ("cuda", "cpu"))
    assert set(found) == set(by_cpu)
    for name, values in by_cpu.items():
        assert distance(found[name], values) < 1e-3, name


@pytest.mark.usefixtures("cuda_provider")
def test_a_file_of_several_modalities_answers_whatever_is_missing(trained: Trained) -> None:
    run = trained("fusion")
    image, second = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 1), dtype=np.uint8)
    asked: list[dict[str, Any]] = [
        {"image": image, "second": second, "note": "Itching, worse at night.", "inputs": {"flag": 1.0}},
        {"second": second, "inputs": {"flag": 0.0}},
        {"image": image, "note": "She has had an itch since May."},
        {"inputs": {"flag": 1.0}},
    ]
    found, by_cpu = (OnnxModel(run / "model.onnx", provider=provider).predict(asked) for provider in ("cuda", "cpu"))
    by_torch = medzoo.load(run).predict(asked)
    assert distance(found["logits"], by_cpu["logits"]) < 1e-3
    assert distance(found["logits"], by_torch["logits"]) < 1e-2  # with the digits that TF32 keeps
    assert len({tuple(row) for row in np.round(found["logits"], 5)}) == len(asked)  # each says something


@pytest.mark.usefixtures("cuda_provider")
def test_a_file_of_bags_answers_with_its_weights(trained: Trained) -> None:
    run = trained("bags")
    rng = np.random.default_rng(0)
    bags = [[rng.integers(0, 255, (40, 36, 3), dtype=np.uint8) for _ in range(count)] for count in (1, 3, 2, 7)]
    found, by_cpu = (OnnxModel(run / "model.onnx", provider=provider).predict_cases(bags) for provider in ("cuda", "cpu"))
    assert distance(found["logits"], by_cpu["logits"]) < 1e-3
    np.testing.assert_allclose(np.nansum(found["attention"], axis=1), 1, atol=1e-4)
    np.testing.assert_allclose(found["attention"], by_cpu["attention"], atol=1e-3)
