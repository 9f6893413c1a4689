"""One checkpoint answers alike on the CPU and on the GPU, and is scored alike."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import medzoo
from medzoo.api import TrainedModel
from medzoo.cli import main
from medzoo.evaluation.predictions import Predictions
from tests.gpu.families import FAMILIES, SMOOTH, Trained, distance, distances, images_of, within

FLOAT32 = 1e-4
"""float32 carries 7 digits; sums in another order lose two, and a convolution by Winograd's algorithm a third."""
BFLOAT16 = 3e-2
"""bf16 carries 8 binary digits, 0.4%, and a network rounds once a layer."""


def answers(model: TrainedModel, images: list[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {**model.predict(images, batch_size=16), "features": model.features(images, batch_size=16)}


@pytest.mark.usefixtures("whole_float32")
@pytest.mark.parametrize("family", FAMILIES)
def test_the_card_computes_what_the_processor_does(trained: Trained, family: str, card: str) -> None:
    run = trained(family)
    images = images_of(run)
    ours, theirs = medzoo.load(run), medzoo.load(run, device=card)
    assert {parameter.device.type for parameter in theirs.task.model.parameters()} == {card}
    found, reference = answers(theirs, images), answers(ours, images)
    names = list(reference) if family in SMOOTH else ["features"]
    assert max(distances(found, reference, names).values()) < within(FLOAT32, family)
    if FAMILIES[family].towers:
        texts = ["a cyst", "no lesion", "a phantom with a calcified nodule"]
        with torch.no_grad():
            vectors = [model.task.embed_texts(texts).cpu().numpy() for model in (theirs, ours)]
        assert distance(*vectors) < FLOAT32


@pytest.mark.parametrize("family", SMOOTH)
def test_half_the_digits_are_half_the_digits(trained: Trained, family: str, card: str) -> None:
    run = trained(family)
    images = images_of(run)
    reference = medzoo.load(run).features(images)
    model = medzoo.load(run, device=card)
    with torch.autocast(card, dtype=torch.bfloat16):
        found = model.features(images)
    # Not the same bits: otherwise nothing was computed in bf16.
    assert 1e-5 < distance(found, reference) < BFLOAT16


@pytest.mark.usefixtures("whole_float32")
@pytest.mark.parametrize("family", FAMILIES)
def test_the_report_is_the_same(trained: Trained, family: str, card: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained(family), run)  # evaluate writes its report into the run
    reports, predictions = [], []
    for device in ("cpu", card):
        assert main(["evaluate", f"run={run}", f"device={device}", "evaluation.replicates=5"]) == 0
        reports.append(json.loads((run / "metrics.json").read_text())["splits"])
        predictions.append(Predictions.read(run / "predictions.parquet"))
    ours, theirs = predictions
    assert list(ours.sample_id) == list(theirs.sample_id)
    np.testing.assert_array_equal(ours.targets, theirs.targets)
    if family in SMOOTH:
        assert distance(theirs.logits, ours.logits) < within(FLOAT32, family)
    for split in reports[0]:
        for name, metric in reports[0][split]["metrics"].items():
            # Of some 40 samples one pair that swaps its ranks is 0.003 of an AUROC; a bin of the calibration error is more.
            other = reports[1][split]["metrics"][name]["value"]
            assert (metric["value"] is None) == (other is None)
            assert metric["value"] is None or other == pytest.approx(metric["value"], abs=0.02, rel=0.02), (split, name)
