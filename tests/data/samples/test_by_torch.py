"""A batch augmented at once shows what OpenCV makes of each image alone: the same draws, to the grey levels each rounds."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from medzoo.data.samples import by_torch
from medzoo.data.samples.augment import Augment
from medzoo.data.samples.by_torch import BatchAugment, draw
from medzoo.data.samples.crop import crop_box, cut_out
from medzoo.data.samples.crop_batch import crop_boxes, cut_out_batch
from medzoo.data.samples.policies import POLICIES, Policy, Transform
from medzoo.data.samples.preprocess import Preprocess, fit
from medzoo.data.seeding import Draws, derived_seed

GRAY = {"channels": 1, "mean": (0.5,), "std": (0.5,)}
KINDS = {
    "rgb": (Preprocess((28, 28)), (3, 28, 28)),
    "larger": (Preprocess((40, 48)), (3, 80, 72)),
    "pad": (Preprocess((48, 48), mode="pad", fill=7), (3, 80, 60)),
    "crop": (Preprocess((48, 40), mode="crop", interpolation="bicubic"), (3, 80, 60)),
    "nearest": (Preprocess((28, 28), interpolation="nearest"), (3, 40, 40)),
    "float": (Preprocess((28, 28), dtype="float32"), (3, 28, 28)),
    "gray": (Preprocess((28, 28), **GRAY), (1, 28, 28)),
    "volume": (Preprocess((6, 24, 24), **GRAY), (1, 9, 28, 28)),
    "two planes": (Preprocess((28, 28), channels=2, mean=(0.5,) * 2, std=(0.5,) * 2), (2, 28, 28)),
    "planes": (Preprocess((28, 28), channels=9, mean=(0.5,) * 9, std=(0.5,) * 9), (9, 28, 28)),
    "float planes": (Preprocess((40, 40), channels=5, dtype="float32", mean=(0.5,) * 5, std=(0.5,) * 5), (5, 80, 72)),
    "planes of a volume": (Preprocess((6, 24, 24), channels=5, mean=(0.5,) * 5, std=(0.5,) * 5), (5, 9, 28, 28)),
}
SEEDS = [derived_seed(0, "image", n) for n in range(12)]


def smooth_images(shape: tuple[int, ...], preprocess: Preprocess, count: int = len(SEEDS)) -> torch.Tensor:
    """Images whose pixels differ little from their neighbours: a pixel placed a little aside has nearly the same value."""
    coarse = torch.rand(count, int(np.prod(shape[:-2])), 8, 8, generator=torch.Generator().manual_seed(0))
    images = F.interpolate(coarse, size=shape[-2:], mode="bicubic").clamp(0, 1).reshape(count, *shape)
    return images if preprocess.dtype == "float32" else (images * 255).round().to(torch.uint8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("policy", POLICIES)
def test_the_same_seed_gives_the_same_image(policy: str, kind: str) -> None:
    preprocess, shape = KINDS[kind]
    augment = Augment(POLICIES[policy], preprocess)
    images = smooth_images(shape, preprocess)
    alone = torch.stack([augment(image, seed) for image, seed in zip(images, SEEDS, strict=True)])
    assert augment.batched is not None
    together = augment.batched(images, SEEDS)
    assert together.dtype == images.dtype
    assert together.shape == alone.shape
    levels = (together.float() - alone.float()).abs() * (255 if preprocess.dtype == "float32" else 1)
    if preprocess.dtype == "float32":  # nothing is rounded on either path, but that OpenCV before 5 places a pixel to 1/32
        exact = int(cv2.__version__.partition(".")[0]) >= 5
        assert float(levels.max()) < (0.05 if exact else 8)
        assert float(levels.mean()) < 0.5
    else:
        assert float(levels.mean()) < 0.8
        assert float(levels.flatten(1).mean(1).max()) < 1.1
        assert float(levels.flatten().quantile(0.99)) <= 5  # 8-bit hues


@pytest.mark.parametrize(
    "transform", [t for t in POLICIES["histology"].transforms if t.name != "ColorJitter"], ids=lambda t: t.name
)
def test_flips_and_turns_are_exact(transform: Transform) -> None:
    preprocess = Preprocess((24, 24))
    augment = Augment(Policy("", transforms=(transform,)), preprocess)
    images = torch.randint(0, 256, (12, 3, 24, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    alone = torch.stack([augment(image, seed) for image, seed in zip(images, SEEDS, strict=True)])
    assert augment.batched is not None
    assert torch.equal(augment.batched(images, SEEDS), alone)
    assert not torch.equal(alone, images)


def test_each_effect_has_the_same_distribution_on_both_paths() -> None:
    """Moments and quantiles of what each transform does to the mean, the spread and the place of an image's light."""
    preprocess = Preprocess((24, 24))
    image = smooth_images((3, 24, 24), preprocess, count=1)[0]
    seeds = [derived_seed(1, "draw", n) for n in range(400)]
    rows = torch.arange(24.0)
    for transform in {t.name: t for policy in POLICIES.values() for t in policy.transforms}.values():
        augment = Augment(Policy("", scale=(0.8, 1.0), transforms=(transform,)), preprocess)
        assert augment.batched is not None
        alone = torch.stack([augment(image, seed) for seed in seeds]).float()
        together = augment.batched(image.expand(len(seeds), -1, -1, -1), seeds).float()
        for effect in (
            lambda x: x.mean((1, 2, 3)), lambda x: x.std((1, 2, 3)),
            lambda x: (x.mean((1, 3)) * rows).sum(1) / x.mean((1, 3)).sum(1),
            lambda x: (x[:, 0] - x[:, 2]).mean((1, 2)),
        ):  # fmt: skip
            one, other = effect(alone), effect(together)
            places = torch.tensor((0.05, 0.25, 0.5, 0.75, 0.95))
            scale = float(one.std()) + 0.05
            assert torch.allclose(one.quantile(places), other.quantile(places), atol=0.1 * scale + 0.3), transform.name
            assert abs(float(one.std() - other.std())) < 0.05 * scale + 0.1, transform.name


def test_draws_are_those_of_one_image() -> None:
    numbers = draw(SEEDS)
    for row, seed in zip(numbers, SEEDS, strict=True):
        draws = Draws(seed)
        assert row.tolist() == [draws.random() for _ in range(24)]


@pytest.mark.parametrize(("height", "width"), [(28, 28), (224, 224), (37, 91), (1, 5)])
def test_boxes_are_those_of_one_image(height: int, width: int) -> None:
    seeds = [derived_seed(2, "box", n) for n in range(300)]
    found = crop_boxes(draw(seeds)[:, :4], height, width, (0.3, 1.0), (0.7, 1.4))
    assert [tuple(box) for box in found.tolist()] == [crop_box(Draws(s), height, width, (0.3, 1.0), (0.7, 1.4)) for s in seeds]


def test_an_image_does_not_depend_on_its_neighbours_in_the_batch() -> None:
    preprocess = Preprocess((28, 28))
    batched = Augment(POLICIES["skin"], preprocess).batched
    assert batched is not None
    images = smooth_images((3, 28, 28), preprocess)
    backwards = batched(images.flip(0), SEEDS[::-1]).flip(0)
    assert (batched(images, SEEDS).int() - backwards.int()).abs().max() <= 1  # sums of another order


BOXES = {
    "much smaller": ((300, 260), (8, 12), [(0, 0, 300, 260), (3, 250, 297, 10), (299, 1, 1, 259)]),
    "much larger": ((5, 7), (40, 33), [(0, 0, 5, 7), (4, 6, 1, 1), (0, 2, 5, 1)]),
    "narrow": ((200, 6), (24, 24), [(0, 0, 200, 6), (10, 0, 180, 6), (0, 5, 3, 1)]),
    "of a multiple of eight": ((32, 32), (16, 16), [(0, 0, 32, 32), (16, 16, 16, 16), (1, 2, 7, 30)]),
}


@pytest.mark.parametrize("shape", BOXES)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
@pytest.mark.parametrize("mode", ["stretch", "pad", "crop"])
def test_a_box_shows_what_it_shows_alone(mode: str, interpolation: str, shape: str) -> None:
    sides, size, boxes = BOXES[shape]
    preprocess = Preprocess(size, mode=mode, interpolation=interpolation, fill=9 if mode == "pad" else 0, dtype="float32")
    images = torch.rand(3, 3, *sides, generator=torch.Generator().manual_seed(2))
    alone = np.stack([cut_out(image, box, preprocess, size) for image, box in zip(images, boxes, strict=True)])
    upside_down, left_to_right = np.array([True, False, False]), np.array([False, True, False])
    for flips in (None, (upside_down, left_to_right)):
        found = cut_out_batch(images, np.array(boxes), preprocess, size, mirrored=flips).permute(0, 2, 3, 1).numpy()
        if flips is not None:
            found = np.stack([found[0, ::-1], found[1, :, ::-1], found[2]])
        assert np.abs(found - alone).max() < 2e-4


@pytest.mark.parametrize("policy", ["skin", "histology", "xray"])
def test_halves_are_exact_to_a_grey_level(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a GPU computes bytes."""
    preprocess = Preprocess((40, 40))
    augment = Augment(POLICIES[policy], preprocess).batched
    assert augment is not None
    images = smooth_images((3, 48, 56), preprocess)
    images[0] = 93  # grey has no hue
    whole = augment(images, SEEDS)
    monkeypatch.setattr(by_torch, "_working", lambda images: torch.float16)
    halves = augment(images, SEEDS)
    levels = (halves.int() - whole.int()).abs()
    assert int(levels.max()) <= 2
    assert float(levels.float().mean()) < 0.1
    assert torch.equal(halves[0, 0], halves[0, 1])


def test_without_transforms_it_is_fit() -> None:
    preprocess = Preprocess((20, 30))
    images = smooth_images((3, 50, 40), preprocess)
    assert torch.equal(BatchAugment(POLICIES["none"], (), preprocess)(images, SEEDS), fit(images, preprocess))


def test_a_policy_that_needs_more_numbers_is_refused() -> None:
    many = tuple(Transform("HorizontalFlip", {"p": 0.5}) for _ in range(30))
    with pytest.raises(ValueError, match="24 numbers"):
        BatchAugment(Policy("", transforms=many), many, Preprocess((8, 8)))
