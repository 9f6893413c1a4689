"""Two views of one image: the same pixels augmented twice, each by a draw of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from torch import Tensor

from medzoo.data.samples.policies import Policy, Transform
from medzoo.data.samples.sample_dataset import SampleDataset

STRONGER_LIGHT = 0.4
"""Largest change of brightness and contrast between views; SimCLR's for photographs is 0.8 (Chen et al. 2020, appendix A), where
colour alone would tell views apart. What is a finding in a medical image must stay."""


class TwoViews(SampleDataset):
    """A split whose samples hold `image` and `other_view`, each (C, H, W) or (C, D, H, W), of one image.

    Arguments are those of `SampleDataset`, `augment` among them; of several photographs the first that is there is taken.
    """

    # Views are draws of their own: the first has that of a single image, the other that of a second photograph.
    made: ClassVar[Mapping[str, tuple[int, ...]]] = {"image": (), "other_view": (-1,)}

    def _images(self, times: tuple[int, ...], index: int) -> dict[str, Tensor]:
        values = self._values(index)
        first: Any = next(iter(self._reader.images(*values).values()), values)
        pixels = self._pixels(first, index)
        if self.raw:  # both are made of it on the device
            return {"image": self._made(pixels, times, index)}
        return {name: self._made(pixels, (*times, *draw), index) for name, draw in self.made.items()}


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
