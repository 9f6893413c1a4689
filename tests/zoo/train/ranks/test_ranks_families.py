"""Losses that hold samples against each other, or lack much, are of the whole batch for any number of processes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from medzoo.store.checkpoint import WEIGHTS, find_checkpoint, tensors_from_file
from tests.zoo.train.ranks.forked import run_together
from tests.zoo.train.ranks.plans import OPTIONS, RESNET, VIT, assert_trained_alike
from tests.zoo.train.runs import assert_same, state

FAMILIES = {
    "identities": [*VIT, "loss.group={column: sex, how: fis}", "data.missing=0.3"],
    # Weights at which the penalty has its say: without it the networks would be the same, too.
    "features of groups alike": [*VIT, "loss.group={column: sex, how: coral, weight: 100, means: 1}", "data.missing=0.3"],
    "one layer for all groups": [*VIT, "loss.group={column: sex, how: irm, weight: 3, after: 2}", "data.missing=0.3"],
    "groups not told": [*VIT, "loss.group={column: sex, how: adversarial, rise: 4, hidden: 8}", "data.missing=0.3"],
    "concepts and classes": [*VIT[1:], "model=cbm", "data.missing=0.3"],
    "concepts alone": [*VIT[1:], "model=cbm", "model.bottleneck.regime=sequential", "data.missing=0.3"],
    "prototypes": [
        "model=cbm",
        "model.backbone=zach_vit",
        "model.preprocess.size=32",
        "+model.arguments.head=[]",
        "+model.arguments.drop_rate=0",
        "data.missing=0.3",
        "model.bottleneck.kind=prototype",
        "model.bottleneck.prototypes.count=2",
        "model.bottleneck.prototypes.width=8",
    ],
    "several targets": [*VIT, "data.targets=[multiclass,regression]", "data.missing=0.4"],
    "several targets of weighed classes": [
        *VIT,
        "data.targets=[multiclass,ordinal,regression]",
        "loss.targets={multiclass: {class_weights: balanced}, ordinal: {name: corn}}",
    ],
    "hidden patches": [
        *VIT[1:],
        "model=ssl",
        "model.family=vit",
        "model.ssl.objective=mae",
        "model.ssl.decoder=[32,1]",
        "+model.arguments.patch_size=8",
    ],
}
IN_DOUBLE = {
    "views": [*RESNET, "model=ssl", "model.ssl.hidden=32"],
    "own average": [*RESNET, "model=ssl", "model.ssl.hidden=32", "model.ssl.objective=dino", "model.ssl.outputs=64"],
    # Batch normalisation of the visible places of all images of the batch.
    "hidden parts": [
        *RESNET, "model=ssl", "model.preprocess.size=64", "model.ssl.objective=spark", "model.ssl.decoder=[16,1]",
    ],
    # A batch's share has 1 or 2 of 5 samples, and of those 2 in 5 of the images: often none of a modality.
    "modalities": [
        *RESNET, "model=fusion", "data.modalities=[image,second]", "data.inputs=[flag,value]", "data.texts=[note]",
        "data.absent=0.6",
    ],
    "modalities accumulated": [
        *RESNET, "model=fusion", "data.modalities=[image,second]", "data.absent=0.6", "trainer.accumulate=2",
    ],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("double", [False, True])
def test_three_processes_hold_against_each_other_what_one_does(double: bool, tmp_path: Path) -> None:
    families = IN_DOUBLE if double else FAMILIES
    assert_trained_alike(families, OPTIONS, tmp_path, double=double)
    if not double:  # the class layer that is fitted when the loop is done
        one, other = (tensors_from_file(find_checkpoint(tmp_path / "concepts alone" / n) / WEIGHTS) for n in ("1", "3"))
        assert one["head.weight"].abs().max() > 0.01
        for name, tensor in one.items():
            torch.testing.assert_close(other[name], tensor, atol=1e-5, rtol=1e-5, msg=name)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_shares_of_groups_are_those_of_one_process_saved_and_gone_on_with_as_any_number(tmp_path: Path) -> None:
    words = [*OPTIONS, *VIT, "loss.group={column: sex, how: dro, step: 0.3}", "data.missing=0.3", "trainer.epochs=2"]
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    done = run_together(
        (1, [*words, f"run={whole}"]), (2, [*words, f"run={parted}"]), (3, ["train", f"resume={parted}"]), stop=3
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "stopped as asked in epoch 1, after step 4" in done.stderr
    assert abs(state(whole)["beside.groups.shares"] - 0.5).max() > 0.05  # they have moved
    assert_same(whole, parted)
