"""Two views of an image: draws of their own, functions of the key, and only of what the modality allows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from medzoo.data.errors import ConfigError
from medzoo.data.registry import load_dataset
from medzoo.data.samples.augment import Augment, augment_policy
from medzoo.data.samples.feed import Feed, chosen_input, hindrance, leave_to_device
from medzoo.data.samples.loader import EpochBatches
from medzoo.data.samples.modalities.two_views import TwoViews, view_policy
from medzoo.data.samples.policies import POLICIES
from medzoo.data.samples.preprocess import Preprocess
from medzoo.data.samples.sample_dataset import SampleDataset

WANTED = Preprocess(size=(24, 24), channels=1, mean=(0.5,), std=(0.5,))


def test_the_first_view_is_that_of_a_single_image_and_the_other_a_draw_of_its_own():
    dataset = load_dataset("phantom", patients=12, size=24)
    augment = Augment(view_policy(augment_policy("auto", dataset.info.modality), (0.2, 1.0)), WANTED)
    single = SampleDataset(dataset, "train", WANTED, augment=augment, seed=3)
    views = TwoViews(dataset, "train", WANTED, augment=augment, seed=3)
    first, again, later = views[(0, 1)], views[(0, 1)], views[(1, 1)]
    assert torch.equal(first["image"], single[(0, 1)]["image"])
    assert first["other_view"].shape == first["image"].shape
    assert not torch.equal(first["image"], first["other_view"])
    assert torch.equal(first["other_view"], again["other_view"])
    assert not torch.equal(first["other_view"], later["other_view"])
    assert torch.equal(first["target"], single[(0, 1)]["target"])


@pytest.mark.parametrize("copied", [False, True], ids=["held", "copied batch by batch"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_both_views_are_the_same_whichever_way_the_images_take_to_the_device(split, copied):
    dataset = load_dataset("phantom", patients=16, size=24)
    augment = Augment(view_policy(augment_policy("auto", dataset.info.modality), (0.2, 1.0)), WANTED)
    plain, other = (TwoViews(dataset, split, WANTED, augment=augment, seed=3) for _ in range(2))
    cpu = torch.device("cpu")
    leave_to_device(other, cpu)
    if copied:
        other.held = None
    found = []
    for samples in (plain, other):
        batches = EpochBatches(len(samples), 5, seed=4, shuffle=split == "train")
        batches.set_epoch(2)
        found.append(list(Feed(samples, batches, cpu, 0)))
    assert len(found[0]) > 1
    for one, two in zip(*found, strict=True):
        assert set(one) == set(two)
        assert not torch.equal(two["image"], two["other_view"])
        for name in ("image", "other_view"):
            levels = (one[name].float() - two[name].float()).abs()
            assert float(levels.mean()) < 0.5
            assert float(levels.max()) <= 8  # this light is stronger than that of a single image


def test_of_several_photographs_the_first_that_is_there_is_seen_twice(tmp_path):
    rng = np.random.default_rng(0)
    for name in "abcd":
        Image.fromarray(rng.integers(0, 256, (24, 24), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "t.csv").write_text("front,side,patient,y,split\na.png,b.png,1,u,train\n,d.png,2,v,train\nc.png,,3,u,val\n")
    dataset = load_dataset(
        "table", file=str(tmp_path / "t.csv"), image=["front", "side"], target="y", group="patient",
        split="split", channels=1,
    )  # fmt: skip
    views = TwoViews(dataset, "train", WANTED)
    for index, name in enumerate("ad"):
        sample = views[(0, index)]
        assert np.array_equal(sample["image"][0], np.asarray(Image.open(tmp_path / f"{name}.png")))
        assert torch.equal(sample["image"], sample["other_view"])  # without an augmentation


def test_what_a_modality_leaves_out_stays_left_out():
    for name, policy in POLICIES.items():
        stronger = view_policy(policy, (0.3, 0.9))
        before, after = ({one.name for one in of.transforms} for of in (policy, stronger))
        assert after - before <= {"RandomBrightnessContrast"}, name
        assert before - after == set(), name
        assert stronger.scale == (0.3, 0.9)
        assert policy.scale == POLICIES[name].scale


def test_crops_are_draws_of_their_own_that_change_no_view():
    dataset = load_dataset("phantom", patients=12, size=24)
    policy = view_policy(augment_policy("auto", dataset.info.modality), (0.4, 1.0))
    augment = Augment(policy, WANTED)
    plain = TwoViews(dataset, "train", WANTED, augment=augment, seed=3)
    small = Augment(replace(policy, scale=(0.05, 0.05), ratio=(1.0, 1.0), transforms=()), WANTED)
    views = TwoViews(dataset, "train", WANTED, augment=augment, seed=3, crops=3, cropped=small)
    sample, again, later = views[(0, 1)], views[(0, 1)], views[(1, 1)]
    assert "crops" not in plain[(0, 1)]
    assert all(torch.equal(sample[name], plain[(0, 1)][name]) for name in ("image", "other_view"))
    assert sample["crops"].shape == (3, 1, 24, 24)
    assert not torch.equal(sample["crops"][0], sample["crops"][1])
    assert torch.equal(sample["crops"], again["crops"])
    assert not torch.equal(sample["crops"], later["crops"])
    # A crop is a place of the image, enlarged: 5% of 24 x 24 pixels are some 5 x 5, so that neighbours are nearly equal.
    rough = (sample["crops"].float().diff(dim=-1).abs().mean(), views.fitted(1).float().diff(dim=-1).abs().mean())
    assert rough[0] < 0.6 * rough[1]


def test_crops_are_not_left_for_the_device_to_make_and_views_are():
    dataset = load_dataset("phantom", patients=12, size=24)
    augment = Augment(view_policy(augment_policy("auto", dataset.info.modality), (0.2, 1.0)), WANTED)
    assert chosen_input("auto", TwoViews(dataset, "train", WANTED, augment=augment), torch.device("cuda")) == "device"
    views = TwoViews(dataset, "train", WANTED, augment=augment, crops=2, cropped=augment)
    assert hindrance(views) == "a sample has several images"
    assert chosen_input("auto", views, torch.device("cuda")) == "loader"
    with pytest.raises(ConfigError, match="use loader or auto"):
        chosen_input("device", views, torch.device("cpu"))
