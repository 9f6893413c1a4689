"""Bags whose members say what they show: a frontal film and a lateral one, a plane, a stain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medzoo.data.dataset import Dataset
from medzoo.data.images.bags import VIEW, view_codes
from medzoo.data.samples.preprocess import Preprocess
from medzoo.data.samples.sample_dataset import SampleDataset


class ViewedSamples(SampleDataset):
    """One split of bags as samples with a code for each member: `member_view` (V,) int64 beside `image` and `view_mask`.

    Args:
        dataset: Of bags; where its table has no column `member_view`, nobody says what members show.
        split: `train`, `val` or `test`.
        preprocess: The model's.
        words: What the model knows that members show, in the order of their codes.
        **options: As `SampleDataset`.
    """

    def __init__(self, dataset: Dataset, split: str, preprocess: Preprocess, words: Sequence[str], **options: Any) -> None:
        super().__init__(dataset, split, preprocess, **options)
        said = self.rows[VIEW].tolist() if VIEW in self.rows else [()] * len(self.rows)
        self._codes: list[NDArray[np.int64]] = [view_codes(row, words) for row in said]

    def beside(self, index: int) -> dict[str, NDArray[Any]]:
        """Return what an exported graph takes of a bag beside its members: `views`, a code each."""
        return {"views": self._of(index, len(self._reader.images(*self._values(index))))}

    def _images(self, times: tuple[int, ...], index: int) -> dict[str, Tensor]:
        count = len(self._reader.images(*self._values(index)))
        codes = self._of(index, count)[self._drawn(count, times, index)]
        return {**super()._images(times, index), VIEW: torch.from_numpy(codes)}

    def _of(self, index: int, count: int) -> NDArray[np.int64]:
        """Return the codes of all members of a bag."""
        return self._codes[index] if len(self._codes[index]) else np.zeros(count, np.int64)
