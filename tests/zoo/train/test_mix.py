"""Mixup and cutmix by hand, balanced sampling through the loader, and their determinism."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from medzoo.cli import main
from medzoo.data.samples.loader import EpochBatches
from medzoo.data.seeding import generator
from medzoo.settings.schema import TrainerConfig
from medzoo.store.checkpoint import find_checkpoint, tensors_from_file
from medzoo.train.mix import mix_batch


def batch(dtype: torch.dtype = torch.uint8) -> dict[str, torch.Tensor]:
    images = torch.arange(4).reshape(4, 1, 1, 1).expand(4, 1, 8, 10).to(dtype) * (50 if dtype == torch.uint8 else 0.2)
    targets = torch.eye(4)
    targets[3] = float("nan")
    return {"image": images.to(dtype), "target": targets}


def test_off_changes_nothing() -> None:
    given = batch()
    assert mix_batch(given, TrainerConfig(), generator(0)) is given


@pytest.mark.parametrize("seed", range(5))
def test_mixup_blends_images_and_targets_alike(seed: int) -> None:
    given = batch()
    mixed = mix_batch(given, TrainerConfig(mixup=1.0), generator(seed))
    rng = generator(seed)
    share = rng.beta(1.0, 1.0)
    partner = rng.permutation(4)
    levels = given["image"].float() / 255
    torch.testing.assert_close(mixed["image"], (share * levels + (1 - share) * levels[partner]))
    for i in range(3):
        if partner[i] != 3:
            expected = share * given["target"][i] + (1 - share) * given["target"][partner[i]]
            torch.testing.assert_close(mixed["target"][i].double(), expected.double(), rtol=1e-5, atol=1e-6)
        else:
            assert mixed["target"][i].isnan().all()  # missing in either is missing in the mixture
    assert mixed["target"][3].isnan().all()
    assert torch.equal(given["image"], batch()["image"])


@pytest.mark.parametrize("seed", range(5))
def test_cutmix_shares_targets_by_the_area_that_was_put_in(seed: int) -> None:
    given = batch(torch.float32)
    mixed = mix_batch(given, TrainerConfig(cutmix=1.0), generator(seed))
    rng = generator(seed)
    rng.beta(1.0, 1.0)
    partner = rng.permutation(4)
    for i in range(3):
        own = (mixed["image"][i] == given["image"][i]).float().mean().item()
        if partner[i] != i and partner[i] != 3:
            assert mixed["target"][i, i].item() == pytest.approx(own, abs=1e-6)
            assert mixed["target"][i, partner[i]].item() == pytest.approx(1 - own, abs=1e-6)


def test_mixing_is_a_function_of_the_seed(tmp_path: Path) -> None:
    options = [
        "data=phantom", "data.size=16", "data.patients=16", "model.backbone=test_resnet", "trainer.trackers=[]",
        "trainer.epochs=1", "trainer.batch_size=16", "evaluate=false", "trainer.mixup=0.4", "trainer.cutmix=1",
        "trainer.sampling=balanced",
    ]  # fmt: skip
    weights = []
    for name, workers in (("a", 0), ("b", 2)):
        assert main(["train", *options, f"trainer.workers={workers}", f"run={tmp_path / name}"]) == 0
        weights.append(tensors_from_file(find_checkpoint(tmp_path / name, "last") / "model.safetensors"))
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_balanced_batches_draw_by_probability_and_number_what_comes_again() -> None:
    probabilities = np.array([0.5, 0.25, 0.25] + [0.0] * 997)
    batches = EpochBatches(1000, 64, seed=3, shuffle=True, probabilities=probabilities)
    batches.set_epoch(2)
    keys = [key for part in batches for key in part]
    assert len(keys) == len(set(keys)) == 1000
    counts = Counter(key[1] for key in keys)
    assert set(counts) == {0, 1, 2}
    assert 430 < counts[0] < 570
    assert sorted(key[2] if len(key) == 3 else 0 for key in keys if key[1] == 0) == list(range(counts[0]))
    shared = [EpochBatches(1000, 64, seed=3, shuffle=True, probabilities=probabilities, rank=r, world=2) for r in range(2)]
    for part in shared:
        part.set_epoch(2)
    assert sorted(k for part in shared for b in part for k in b) == sorted(keys)


@pytest.mark.parametrize("how", ["mixup", "cutmix"])
def test_concepts_are_mixed_like_targets(how: str) -> None:
    given = batch()
    given["concepts"] = torch.tensor([[1.0, 0], [0, 0], [1, float("nan")], [0, 1]])
    mixed = mix_batch(given, TrainerConfig(**{how: 1.0}), generator(1))
    same = mix_batch({**given, "target": given["concepts"]}, TrainerConfig(**{how: 1.0}), generator(1))
    torch.testing.assert_close(mixed["concepts"], same["target"], equal_nan=True)
    assert not torch.equal(mixed["concepts"].nan_to_num(9), given["concepts"].nan_to_num(9))
    assert mixed["concepts"][2, 1].isnan()
