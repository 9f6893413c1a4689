"""Two views of one image, and small crops of it: the same pixels augmented several times, each by a draw of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from medzoo.data.dataset import Dataset
from medzoo.data.samples.augment import Augment
from medzoo.data.samples.policies import Policy, Transform
from medzoo.data.samples.preprocess import Preprocess
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.data.seeding import derived_seed

STRONGER_LIGHT = 0.4
"""Largest change of brightness and contrast between views; SimCLR's for photographs is 0.8 (Chen et al. 2020, appendix A), where
colour alone would tell views apart. What is a finding in a medical image must stay."""


class TwoViews(SampleDataset):
    """A split whose samples hold `image` and `other_view`, each (C, H, W) or (C, D, H, W), of one image.

    Of several photographs the first that is there is taken. Crops, where there are any, stand in `crops`, (K, C, H, W) or
    (K, C, D, H, W), of the views' size.

    Args:
        dataset: As of `SampleDataset`, and so the next.
        split: Of it.
        preprocess: The model's.
        augment: What views differ by.
        seed: Of the draws.
        crops: How many crops each sample has.
        cropped: What they differ by; without it there are none.
    """

    # Views are draws of their own: the first has that of a single image, the other that of a second photograph.
    made: ClassVar[Mapping[str, tuple[int, ...]]] = {"image": (), "other_view": (-1,)}

    def __init__(
        self, dataset: Dataset, split: str, preprocess: Preprocess, *, augment: Augment | None = None, seed: int = 0,
        crops: int = 0, cropped: Augment | None = None
    ) -> None:  # fmt: skip
        super().__init__(dataset, split, preprocess, augment=augment, seed=seed)
        self.cropped = [] if cropped is None else [cropped] * crops
        self.several = bool(self.cropped)  # crops are not left for the device to make

    def _images(self, times: tuple[int, ...], index: int) -> dict[str, Tensor]:
        values = self._values(index)
        first: Any = next(iter(self._reader.images(*values).values()), values)
        pixels = self._pixels(first, index)
        if self.raw:  # both are made of it on the device
            return {"image": self._made(pixels, times, index)}
        made = {name: self._made(pixels, (*times, *draw), index) for name, draw in self.made.items()}
        if self.cropped:
            crops = []
            for place, augment in enumerate(self.cropped):
                seed = derived_seed(self.seed, "augment", *map(int, times), -2 - place, self._ids.hash(index))
                crops.append(augment(torch.from_numpy(pixels), seed, self.target_size))
            made["crops"] = torch.stack(crops)
        return made


def view_policy(policy: Policy, scale: tuple[float, float]) -> Policy:
    """Return what makes two views of one modality's images differ: its own policy, with smaller boxes and more light.

    What the policy leaves out (flips where sides are findings, hue where colour is) stays left out.

    Args:
        policy: Of the modality.
        scale: Smallest and largest share of the area that a view keeps.

    Raises:
        ConfigError: If the scale is out of range.
    """
    light = Transform(
        "RandomBrightnessContrast", {"brightness_limit": STRONGER_LIGHT, "contrast_limit": STRONGER_LIGHT, "p": 0.8}
    )
    kept = tuple(one for one in policy.transforms if one.name != "RandomBrightnessContrast")
    return replace(policy, scale=scale, ratio=(0.75, 4 / 3), transforms=(*kept, light))
