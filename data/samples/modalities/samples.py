"""One split as samples of several modalities: images and texts by name, values beside them, and which of them there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medzoo.data.dataset import Dataset, input_matrix, readers_of
from medzoo.data.errors import ConfigError
from medzoo.data.images.given import view_names
from medzoo.data.images.modalities import presence, written
from medzoo.data.inputs import InputSpace
from medzoo.data.samples.augment import Augment
from medzoo.data.samples.preprocess import Preprocess
from medzoo.data.samples.sample_dataset import Key, Sample, SampleDataset
from medzoo.data.seeding import Draws, derived_seed

INPUTS = "inputs"
"""What the values beside the images are called as a modality."""
BLANK = 8
"""Pixels a side of what stands for an image that is not there, where an image as it is in its file is asked for."""


class Tokenizes(Protocol):
    """What turns texts into token ids; `medzoo.data.text.tokenizer.Tokenizer`."""

    @property
    def context_length(self) -> int:
        """Number of token ids of a text."""
        ...

    def __call__(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Return (N, context_length) token ids."""
        ...


class ModalSamples(SampleDataset):
    """One split of a dataset as samples of several modalities, for one model.

    A modality of the model that the dataset lacks is missing in every sample; one that the model lacks is not read.

    Args:
        dataset: Table and readers.
        split: `train`, `val` or `test`.
        preprocess: Image modality → the model's own for it, in the model's order.
        inputs: The model's; None: it reads none.
        texts: Text modality → what makes its tokens, in the model's order.
        views: Image modality → how many images of it an exported graph takes; those of which it takes several.
        augment: Modality → what may happen to its images.
        seed: Of augmentation and modality dropout.
        dropout: Chance of each modality that is there to be left out of a sample, drawn anew each epoch; never all of them.

    Attributes:
        parts: Modality → its images as samples of one image; those that the dataset has.
        inputs: The model's.
        texts: Text modality → what makes its tokens.

    Raises:
        ConfigError: If the dataset has none of the model's images, or an input is of another kind; and as `SampleDataset`.
    """

    several = True

    def __init__(
        self, dataset: Dataset, split: str, preprocess: Mapping[str, Preprocess], *, inputs: InputSpace | None = None,
        texts: Mapping[str, Tokenizes] | None = None, views: Mapping[str, int] | None = None,
        augment: Mapping[str, Augment] | None = None, seed: int = 0, dropout: float = 0.0
    ) -> None:  # fmt: skip
        readers = readers_of(dataset)
        known = [name for name in preprocess if name in readers]
        if not known:
            raise ConfigError(
                f"{dataset.info.name} has the modalities {', '.join(readers)}, none of the model's ({', '.join(preprocess)})"
            )
        alone = {name: replace(dataset, reader=readers[name], modalities={}) for name in known}
        super().__init__(alone[known[0]], split, preprocess[known[0]], seed=seed)
        self.wanted, self.inputs, self.texts, self.dropout = dict(preprocess), inputs, dict(texts or {}), dropout
        self.most = {name: (views or {}).get(name, 1) for name in preprocess}
        seeds = [seed, *(derived_seed(seed, "modality", name) for name in known[1:])]
        self.parts = {
            name: SampleDataset(alone[name], split, preprocess[name], augment=(augment or {}).get(name), seed=own)
            for name, own in zip(known, seeds, strict=True)
        }
        self._tabular = None
        if inputs is not None:
            own = dataset.inputs
            given = None if own is None else inputs.taken_from(own, input_matrix(self.rows, own))
            self._tabular = np.full((len(self.rows), inputs.width), np.nan, np.float32) if given is None else given
        self.shape, self.views = None, None
        nowhere = np.zeros(len(self.rows), bool)
        self._there: dict[str, NDArray[np.bool_]] = {
            name: presence(self.rows, readers[name]) if name in known else nowhere for name in preprocess
        }
        self._written: dict[str, NDArray[Any]] = {
            name: self.rows[f"text.{name}"].to_numpy(dtype=object) for name in self.texts if name in dataset.texts
        }
        self._there |= {name: written(self.rows, name) if name in self._written else nowhere for name in self.texts}
        if self._tabular is not None:
            self._there[INPUTS] = np.asarray(~np.isnan(self._tabular).all(axis=1), np.bool_)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the model's modalities in its order, the values beside the images last."""
        return tuple(self._there)

    def there(self, name: str) -> NDArray[np.bool_]:
        """Return (N,) whether each sample has a modality, before any is left out."""
        return self._there[name]

    @property
    def values(self) -> NDArray[np.float32] | None:
        """(N, V) the values beside the images in the model's order and codes, NaN where missing; None without."""
        return self._tabular

    def __getitem__(self, key: Key | int) -> Sample:
        """Return one sample; `key` as for `SampleDataset`.

        Returns:
            As `SampleDataset`, but for `image`: `images`, modality → an image as the model takes it, all 0 where it is missing,
            several views of one (V, ...), and texts as (L,) token ids; `present`, modality → bool scalar, of several views (V,).
        """
        epoch, index, *draw = key if isinstance(key, tuple) else (0, key)
        if not 0 <= index < len(self):
            raise IndexError(f"{self._name} {self.split}: no sample {index} of {len(self)}")
        sample: Sample = {"index": index, "sample_id": self._ids[index]}
        kept = self._kept((epoch, *draw), index)
        shown = {name: self._shown(name, (epoch, *draw), index, name in kept) for name in self.wanted}
        sample["images"] = {name: image for name, (image, _) in shown.items()}
        sample["present"] = {name: mask for name, (_, mask) in shown.items()}
        for name in self.texts:
            sample["images"][name] = torch.from_numpy(self._tokens(name, index) if name in kept else self._no_tokens(name))
            sample["present"][name] = torch.tensor(name in kept)
        if self.inputs is not None:
            sample["present"][INPUTS] = torch.tensor(INPUTS in kept)
        return sample | self._beside((epoch, *draw), index)

    def pixels(self, index: int) -> NDArray[Any]:
        """Return the first modality's (first) image before `fit`, channels last; black pixels where it is missing."""
        return self._raw(next(iter(self.wanted)), index)[0]

    def beside(self, index: int) -> dict[str, NDArray[Any]]:
        """Return what an exported graph takes beside the first image: others, tokens, `<name>_mask` of each, and `inputs`.

        Several views of one image are inputs of their own, those that are there first.
        """
        found: dict[str, NDArray[Any]] = {}
        for place, name in enumerate(self.wanted):
            shown = self._raw(name, index)
            for view, own in enumerate(view_names(name, self.most[name])):
                there = self.there(name)[index] and view < len(shown)
                if place or view:
                    found[own] = shown[view] if there else self._black(name)
                found[f"{own}_mask"] = np.array([there], np.float32)
        for name in self.texts:
            there = bool(self.there(name)[index])
            found[name] = self._tokens(name, index) if there else self._no_tokens(name)
            found[f"{name}_mask"] = np.array([there], np.float32)
        return found | ({} if self._tabular is None else {INPUTS: self._tabular[index]})

    def _tokens(self, name: str, index: int) -> NDArray[np.int64]:
        try:
            found: NDArray[np.int64] = self.texts[name]([str(self._written[name][index])])[0]
        except ConfigError as error:
            raise ConfigError(f"{self._name}: text {name!r} of {self.sample_ids[index]!r}: {error}") from error
        return found

    def _no_tokens(self, name: str) -> NDArray[np.int64]:
        return np.zeros(self.texts[name].context_length, np.int64)

    def _kept(self, times: tuple[int, ...], index: int) -> list[str]:
        """Return which modalities a sample shows at one time: those that are there, less what is left out."""
        there = [name for name in self.names if self.there(name)[index]]
        if not self.dropout or len(there) < 2:
            return there
        draws = Draws(derived_seed(self.seed, "modality dropout", *map(int, times), self._ids.hash(index)))
        kept = [name for name in there if draws.random() >= self.dropout]
        return kept or [there[draws.integers(len(there))]]

    def _shown(self, name: str, times: tuple[int, ...], index: int, kept: bool) -> tuple[Tensor, Tensor]:
        part = self.parts.get(name)
        if part is not None and kept:
            found = part._images(times, index)
            return found["image"], found.get("view_mask", torch.tensor(True))
        wanted = self.wanted[name]
        size, views = (wanted.size, None) if part is None else (part.target_size, part.views)
        shape = (*(() if views is None else (views,)), wanted.channels, *size)
        dtype = torch.uint8 if wanted.dtype == "uint8" else torch.float32
        return torch.zeros(shape, dtype=dtype), torch.zeros(() if views is None else (views,), dtype=torch.bool)

    def _raw(self, name: str, index: int) -> list[NDArray[Any]]:
        """Return the images of a modality that a sample has, as a graph takes them; a black one where there is none."""
        if not self.there(name)[index]:
            return [self._black(name)]
        if self.most[name] == 1:
            return [self.parts[name].pixels(index)]
        found = self.parts[name].bag(index)
        if len(found) > self.most[name]:
            raise ConfigError(
                f"{self._name}: sample {self.sample_ids[index]!r} has {len(found)} images of {name!r}, the model takes up to "
                f"{self.most[name]}"
            )
        return found

    def _black(self, name: str) -> NDArray[Any]:
        wanted = self.wanted[name]
        return np.zeros((*(BLANK for _ in wanted.size), wanted.channels), wanted.dtype)
