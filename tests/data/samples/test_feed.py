"""Batches are the same whichever way their images take to the device; each test names what it holds against what."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.registry import load_dataset
from medzoo.data.samples import feed
from medzoo.data.samples.augment import Augment, augment_policy
from medzoo.data.samples.feed import Feed, chosen_input, hindrance, leave_to_device
from medzoo.data.samples.loader import EpochBatches, make_loader
from medzoo.data.samples.policies import POLICIES
from medzoo.data.samples.preprocess import Preprocess, fit
from medzoo.data.samples.sample_dataset import Batch, SampleDataset, collate

CPU, META = torch.device("cpu"), torch.device("meta")
SIZE = Preprocess((24, 24))


def samples_of(split: str = "train", preprocess: Preprocess = SIZE, policy: Any = "synthetic", **data: Any) -> SampleDataset:
    dataset = load_dataset("phantom", **{"size": 24, "patients": 16, **data})
    augment = None if policy is None else Augment(augment_policy(policy, "synthetic"), preprocess)
    return SampleDataset(dataset, split, preprocess, augment=augment, seed=3)


def batches_of(samples: SampleDataset, **options: Any) -> EpochBatches:
    return EpochBatches(len(samples), 5, **{"seed": 4, "shuffle": True, **options})


def epoch_of(samples: SampleDataset, epoch: int = 0, start: int = 0, **options: Any) -> list[Batch]:
    batches = batches_of(samples, **options)
    batches.set_epoch(epoch, start)
    return list(Feed(samples, batches, CPU, 0))


def test_what_is_not_an_image_is_what_the_loader_gives() -> None:
    plain, held = samples_of(), samples_of()
    for samples in (plain, held):
        samples.writer = lambda index, seed: f"{index} {seed % 7}"
    leave_to_device(held, CPU)
    assert len(epoch_of(plain)) > 2
    for one, other in zip(epoch_of(plain, 1), epoch_of(held, 1), strict=True):
        assert set(one) == set(other)
        assert {"target", "text", "image_key", "observed", "concepts"} <= set(one)
        for key in set(one) - {"image"}:
            if isinstance(one[key], torch.Tensor):
                assert one[key].dtype == other[key].dtype
                assert torch.equal(one[key].nan_to_num(-1), other[key].nan_to_num(-1)), key
            else:
                assert one[key] == other[key], key


def test_fields_are_those_that_collate_makes() -> None:
    samples = samples_of()
    keys = [(2, 3), (2, 0, 1), (2, 5)]
    whole = collate([samples[key] for key in keys])
    fields = samples.fields(keys)
    assert set(whole) - set(fields) == {"image"}
    assert all(torch.equal(fields[k].nan_to_num(-1), whole[k].nan_to_num(-1)) for k in ("index", "target", "concepts"))
    assert fields["sample_id"] == whole["sample_id"]


@pytest.mark.parametrize("copied", [False, True], ids=["held", "copied batch by batch"])
def test_images_are_those_of_the_loader_to_the_levels_that_are_rounded(copied: bool) -> None:
    plain, other = samples_of(), samples_of()
    leave_to_device(other, CPU)
    if copied:
        other.held = None
    for one, two in zip(epoch_of(plain, 1), epoch_of(other, 1), strict=True):
        assert two["image"].dtype == torch.uint8
        levels = (one["image"].float() - two["image"].float()).abs()
        assert float(levels.mean()) < 0.5
        assert float(levels.max()) <= 4


def test_held_and_copied_images_are_equal_and_workers_change_nothing() -> None:
    held, copied = samples_of(), samples_of()
    leave_to_device(held, CPU)
    copied.raw = True
    batches = batches_of(copied)
    by_workers = list(Feed(copied, batches, CPU, 2))
    for one, two, three in zip(epoch_of(held), epoch_of(copied), by_workers, strict=True):
        assert torch.equal(one["image"], two["image"])
        assert torch.equal(one["image"], three["image"])


def test_an_epoch_goes_on_from_any_batch_to_the_last_bit() -> None:
    held = samples_of()
    leave_to_device(held, CPU)
    whole = epoch_of(held, 2)
    for one, two in zip(whole[2:], epoch_of(held, 2, start=2), strict=True):
        assert torch.equal(one["image"], two["image"])
        assert one["sample_id"] == two["sample_id"]
    assert not torch.equal(whole[0]["image"], epoch_of(held, 1)[0]["image"])


def test_evaluation_sees_the_very_images_of_the_loader() -> None:
    plain, held = samples_of("val", policy=None), samples_of("val", policy=None)
    leave_to_device(held, CPU)
    for one, two in zip(epoch_of(plain, shuffle=False), epoch_of(held, shuffle=False), strict=True):
        assert torch.equal(one["image"], two["image"])


@pytest.mark.parametrize("size", [(16, 20), (40, 40)], ids=["smaller model", "larger model"])
def test_images_of_another_size_than_the_models(size: tuple[int, int]) -> None:
    preprocess = replace(SIZE, size=size)
    plain, held = samples_of(preprocess=preprocess), samples_of(preprocess=preprocess)
    leave_to_device(held, CPU)
    assert held.held is not None
    assert held.held.shape[2:] == (24, 24)
    for one, two in zip(epoch_of(plain), epoch_of(held), strict=True):
        assert one["image"].shape == two["image"].shape
        assert float((one["image"].float() - two["image"].float()).abs().mean()) < 0.6
    plain, held = (samples_of("val", preprocess, None) for _ in range(2))
    leave_to_device(held, CPU)
    for one, two in zip(epoch_of(plain, shuffle=False), epoch_of(held, shuffle=False), strict=True):
        assert torch.equal(fit(one["image"], preprocess), fit(two["image"], preprocess))


def test_a_sample_drawn_again_is_augmented_anew() -> None:
    held = samples_of()
    leave_to_device(held, CPU)
    chances = np.full(len(held), 1 / len(held))
    drawn = [
        (identity, image)
        for batch in epoch_of(held, probabilities=chances)
        for identity, image in zip(batch["sample_id"], batch["image"], strict=True)
    ]
    repeated = [(a, b) for n, (one, a) in enumerate(drawn) for other, b in drawn[n + 1 :] if one == other]
    assert repeated
    assert all(not torch.equal(a, b) for a, b in repeated)


def test_observed_is_told_without_the_device() -> None:
    samples = samples_of()
    assert samples.targets is not None
    samples.targets[:] = np.nan
    assert {batch["observed"] for batch in epoch_of(samples)} == {False}
    samples.targets[:] = 0
    assert {(batch["observed"], batch["complete"]) for batch in epoch_of(samples)} == {(True, True)}
    samples.targets[:, 0] = np.nan
    assert {(batch["observed"], batch["complete"]) for batch in epoch_of(samples)} == {(True, False)}
    samples.targets = None
    assert {batch["observed"] for batch in epoch_of(samples)} == {None}


# What is chosen


def test_auto_takes_the_device_where_it_is_not_the_processor() -> None:
    samples = samples_of()
    assert chosen_input("auto", samples, CPU) == "loader"
    assert chosen_input("auto", samples, META) == "device"
    assert chosen_input("loader", samples, META) == "loader"
    assert chosen_input("device", samples, CPU) == "device"
    with pytest.raises(UnknownNameError, match=r"trainer\.input 'gpu'"):
        chosen_input("gpu", samples, CPU)


def test_what_cannot_be_augmented_in_batches_is_said(tmp_path: Path) -> None:
    chosen = samples_of(policy=[{"name": "HorizontalFlip"}])
    assert chosen_input("auto", chosen, META) == "loader"
    with pytest.raises(ConfigError, match="a list of a library's transforms"):
        chosen_input("device", chosen, META)
    by_albumentations = samples_of()
    by_albumentations.augment = Augment(POLICIES["synthetic"], SIZE, "albumentations")
    assert "albumentations" in (hindrance(by_albumentations) or "")
    views = samples_of()
    views.views = 2
    assert "views" in (hindrance(views) or "")
    files = samples_of()
    files.shape = None
    assert "medzoo prepare" in (hindrance(files) or "")


def test_what_does_not_fit_is_copied_batch_by_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = samples_of()
    one = samples.raw_image(0).nbytes
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (one * len(samples), 0))
    said = leave_to_device(samples, torch.device("cuda"))
    assert "copied to cuda batch by batch" in said
    assert samples.held is None
    assert samples.raw
    said = feed.leave_to_device(samples, CPU)
    assert f"{len(samples)} images" in said
    assert "held on cpu" in said


def test_the_loader_itself_is_as_it_was() -> None:
    samples = samples_of()
    batches = batches_of(samples)
    for one, two in zip(make_loader(samples, batches, workers=0, pin_memory=False), epoch_of(samples), strict=True):
        assert torch.equal(one["image"], two["image"])
