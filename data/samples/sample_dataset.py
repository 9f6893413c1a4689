"""From a table and a reader to samples and batches.

A sample is a dict with fixed keys, and a function of its key (epoch, index) and the seed alone: which worker makes it,
and after which others, cannot be seen in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from medzoo.data.dataset import Dataset, concept_matrix, input_columns, target_matrix
from medzoo.data.errors import ConfigError, ImageError, MedzooError
from medzoo.data.images.bags import VIEW, drawn_members, most_members
from medzoo.data.images.pixels import conformed
from medzoo.data.samples.augment import Augment
from medzoo.data.samples.policies import POLICIES
from medzoo.data.samples.prepared import require_channels, require_prepared
from medzoo.data.samples.preprocess import Preprocess, fit
from medzoo.data.samples.text_column import TextColumn
from medzoo.data.seeding import derived_seed, stable_hash

Sample = dict[str, Any]
Batch = dict[str, Any]
Key = tuple[int, int] | tuple[int, int, int]


class SampleDataset(torch.utils.data.Dataset[Sample]):
    """One split of a dataset as samples for one model.

    Files are fitted to the model's size here, one by one. Images held in memory that are no larger than the model's
    input stay at their native size (`native`), where augmenting them is cheap, and are fitted in batches on the device.

    Args:
        dataset: Table and reader.
        split: `train`, `val` or `test`.
        preprocess: The model's; gives size, channels and type.
        augment: What may happen to an image; None for evaluation.
        seed: Of the augmentation.
        members: Most members of a bag, drawn anew each epoch; None: all.

    Attributes:
        rows: The split's part of the table, in table order.
        targets: (N, K) float32, NaN where missing; None without labels.
        concepts: (N, M) float32, NaN where missing; None without concepts.
        views: Most photographs a sample can have, as far as the table tells, for readers of several; None: a sample is one image.
        writer: Makes a caption of (index, seed); None: the dataset's caption column, if it has one.
        features: (N, F) float32 to give instead of images, once someone has computed them; None: images.
        native: Whether images are left for the device to fit.
        shape: Of every image as the model's channels have it, (C, H, W) or (C, D, H, W); None where images differ.
        target_size: What an image is fitted to here, without its channels: the model's size, or the native one.
        raw: Whether images are given as they are, to be augmented and fitted on the device; see `medzoo.data.samples.feed`.
        held: (N, *shape) all images, once someone holds them on a device.
        several: Whether a sample holds several images by name, as `medzoo.data.samples.modalities` makes them.
        further: Key → (N, ...) what each sample has beside images, targets and inputs: `weight`, and what a task puts there.
        others: Key → the preprocessing of another model, to whose size its images are fitted too, not augmented.
        made: Key → what is added to a sample's (epoch, index) for the draw by which its image becomes what stands there.

    Raises:
        UnknownNameError: If there is no such split.
        ConfigError: If the reader gives volumes and the model takes images, or the other way round.
    """

    several = False
    made: ClassVar[Mapping[str, tuple[int, ...]]] = {"image": ()}

    def __init__(
        self, dataset: Dataset, split: str, preprocess: Preprocess, *, augment: Augment | None = None, seed: int = 0,
        members: int | None = None
    ) -> None:  # fmt: skip
        self.rows: pd.DataFrame = dataset.rows(split)
        self.split, self.preprocess, self.augment = split, preprocess, augment
        self.seed, self.members = seed, members
        self._ids = TextColumn(self.rows["sample_id"].astype(str), hashed=True)
        self.targets = None if dataset.labels is None else target_matrix(self.rows, dataset.labels)
        self.features: Tensor | None = None
        self.writer: Callable[[int, int], str] | None = None
        self._name = dataset.info.name
        self._reader, self._may_lack = dataset.reader, bool(dataset.modalities)
        self._arguments = [self.rows[c].to_numpy() for c in dataset.reader.columns]
        self.views = most_members(dataset.reader, self._arguments)
        self.concepts = None if dataset.concepts is None else concept_matrix(self.rows, dataset.concepts)
        self._captions = TextColumn(self.rows["caption"]) if "caption" in self.rows.columns else None
        inputs = input_columns(self.rows)
        self._tabular = self.rows[inputs].to_numpy(dtype=np.float32, na_value=np.nan) if inputs else None
        shape = dataset.reader.shape
        if shape is not None and len(shape) != 1 + len(preprocess.size):
            raise ConfigError(f"{self._name}: {_kind(len(shape))} of shape {list(shape)} do not suit a model of size "
                              f"{list(preprocess.size)}; choose a model for {_kind(len(shape))}")  # fmt: skip
        require_prepared(dataset.reader.prepared, preprocess)
        require_channels(self._name, dataset.reader, preprocess.channels)
        if dataset.reader.row_width is not None and augment is not None and augment.policy != POLICIES["none"]:
            raise ConfigError(f"{self._name} has rows of features, which no augmentation is for; use trainer.augment=none")
        self.native = shape is not None and int(np.prod(shape[1:])) <= int(np.prod(preprocess.size))
        self.target_size = tuple(shape[1:]) if shape is not None and self.native else preprocess.size
        self.shape = None if shape is None else (preprocess.channels, *shape[1:])
        self.raw = False
        self.held: Tensor | None = None
        self.others: dict[str, Preprocess] = {}
        self.further: dict[str, NDArray[Any]] = {}
        if "sample_weight" in self.rows.columns:
            self.further["weight"] = self.rows["sample_weight"].to_numpy(dtype=np.float32)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def has_text(self) -> bool:
        """Whether any sample has a caption."""
        if self.writer is not None:
            return any(self.writer(index, 0) for index in range(len(self)))
        return self._captions is not None and self._captions.any()

    @cached_property
    def sample_ids(self) -> NDArray[np.object_]:
        """(N,) text."""
        return self._ids.array()

    @cached_property
    def image_keys(self) -> NDArray[np.int64]:
        """(N,) a number for the image each row shows: rows of one image share it."""
        return np.array([self._image_key(index) for index in range(len(self))], dtype=np.int64)

    def _image_key(self, index: int) -> int:
        return stable_hash("\x1f".join(map(str, self._values(index)))) >> 1

    def __getitem__(self, key: Key | int) -> Sample:
        """Return one sample.

        Args:
            key: (epoch, index) or (epoch, index, draw), the index counting the split's rows and the draw how often the
                sample has come in that epoch; an index alone means epoch 0.

        Returns:
            `image` (C, H, W) or (C, D, H, W), uint8 or float32 in 0..1, not normalised (or `features` (F,)), for several
            views (V, C, H, W) with `view_mask` (V,) bool, absent views all 0; `index`; `sample_id`; and, where the dataset has
            them, `target` (K,) float32, `concepts` (M,) float32, `text` (empty where missing) and `tabular` float32. NaN where
            missing.

        Raises:
            ImageError: If the image cannot be read or has the wrong number of dimensions; names the file or the sample.
            IndexError: If there is no such row.
        """
        epoch, index, *draw = key if isinstance(key, tuple) else (0, key)
        if not 0 <= index < len(self):
            raise IndexError(f"{self._name} {self.split}: no sample {index} of {len(self)}")
        sample: Sample = {"index": index, "sample_id": self._ids[index]}
        if self.features is not None:
            sample["features"] = self.features[index]
        else:
            sample |= self._images((epoch, *draw), index)
        return sample | self._beside((epoch, *draw), index)

    def __getitems__(self, keys: Sequence[Key | int]) -> list[Sample]:
        """Return several samples; what a torch `DataLoader` asks for."""
        return [self[key] for key in keys]

    def fields(self, keys: Sequence[Key]) -> Batch:
        """Return the batch that `collate` makes of some samples, without their images."""
        rows = np.array([key[1] for key in keys], dtype=np.int64)
        batch: Batch = {"index": torch.from_numpy(rows), "sample_id": self._ids.take(rows)}
        for name, matrix in (("target", self.targets), ("concepts", self.concepts), ("tabular", self._tabular)):
            if matrix is not None:
                batch[name] = torch.from_numpy(matrix[rows])
        batch |= {name: torch.from_numpy(values[rows]) for name, values in self.further.items()}
        if self.writer is not None or self._captions is not None:
            batch["text"] = [self.text(index, (epoch, *draw)) for epoch, index, *draw in keys]
            batch["image_key"] = torch.tensor([self._image_key(row) for row in rows.tolist()], dtype=torch.int64)
        return batch

    def beside(self, index: int) -> dict[str, NDArray[Any]]:
        """Return what an exported graph takes of a sample beside its image, by name: nothing."""
        return {}

    def _beside(self, times: tuple[int, ...], index: int) -> Sample:
        """Return what a sample holds beside its images: targets, concepts, values, text."""
        sample: Sample = {}
        for name, matrix in (("target", self.targets), ("concepts", self.concepts), ("tabular", self._tabular)):
            if matrix is not None:
                sample[name] = torch.from_numpy(matrix[index].copy())
        sample |= {name: torch.tensor(values[index]) for name, values in self.further.items()}
        if self.writer is not None or self._captions is not None:
            sample["text"] = self.text(index, times)
            sample["image_key"] = torch.tensor(self._image_key(index), dtype=torch.int64)
        return sample

    def raw_image(self, index: int) -> Tensor:
        """Return one image of the model's channels and type, neither fitted nor augmented; of a sample without views."""
        return torch.from_numpy(self._conform(self._read(self._values(index), index), index))

    def augment_seed(self, key: tuple[int, ...]) -> int:
        """Return the seed of a sample's augmentation: of its `Key`, with what is added for another view."""
        epoch, index, *draw = key
        return derived_seed(self.seed, "augment", int(epoch), *map(int, draw), self._ids.hash(index))

    def text(self, index: int, times: tuple[int, ...] = (0,)) -> str:
        """Return a sample's caption at one time (epoch, draw); empty where it has none."""
        if self.writer is not None:
            return self.writer(index, derived_seed(self.seed, "caption", *times, self._ids.hash(index)))
        return "" if self._captions is None else self._captions[index]

    def pixels(self, index: int) -> NDArray[Any]:
        """Return one image before `fit`, channels last: (H, W, C) or (D, H, W, C), what an exported graph takes.

        Of several views the first that is there.
        """
        values = self._values(index)
        first = next(iter(self._reader.images(*values).values()), values)
        return np.ascontiguousarray(np.moveaxis(self._conform(self._read(first, index), index), 0, -1))

    def bag(self, index: int) -> list[NDArray[Any]]:
        """Return the members of a bag as an exported graph takes them: images as of `pixels`, or rows of features (F,)."""
        keys = self._reader.images(*self._values(index)).values()
        if self._reader.row_width is not None:
            return [row for key in keys for row in self._read(key, index)[0]]
        return [np.ascontiguousarray(np.moveaxis(self._conform(self._read(key, index), index), 0, -1)) for key in keys]

    def fitted(self, index: int, view: int = 0) -> Tensor:
        """Return one image at the model's size, (C, H, W) or (C, D, H, W), not augmented and not normalised."""
        values = self._reader.images(*self._values(index))[view]
        pixels = torch.from_numpy(self._conform(self._read(values, index), index))
        return fit(pixels[None], self.preprocess)[0]

    def _images(self, times: tuple[int, ...], index: int) -> dict[str, Tensor]:
        values = self._values(index)
        if self.views is None:
            return self._forms(self._pixels(values, index), times, index)
        if not self._reader.views:
            members = self._members(values, times, index)
            return members | {"view_mask": torch.ones(len(members["image"]), dtype=torch.bool)}
        mask = torch.tensor([not pd.isna(value) for value in values])
        if not mask.any():
            raise ImageError(f"{self._name}: sample {self._ids[index]!r} has no image in any of its {self.views} views")
        there: dict[int, dict[str, Tensor]] = {}
        for view in torch.nonzero(mask)[:, 0].tolist():
            # A view's own draw; the first has that of a single image.
            pixels = self._conform(self._read([values[view]], index), index)
            there[view] = self._forms(pixels, (*times, -view) if view else times, index)
        absent = {name: torch.zeros_like(image) for name, image in next(iter(there.values())).items()}
        shown = [there.get(view, absent) for view in range(self.views)]
        return {name: torch.stack([forms[name] for forms in shown]) for name in absent} | {"view_mask": mask}

    def _members(self, values: Sequence[Any], times: tuple[int, ...], index: int) -> dict[str, Tensor]:
        """Return a bag as `image` (V, C, H, W), or (V, 1, 1, F) of rows, and `others`; in training at most `members`."""
        keys = list(self._reader.images(*values).values())
        if self._reader.row_width is not None:  # a file holds many
            rows = np.concatenate([self._read(key, index)[0] for key in keys])
            chosen = rows[self._drawn(len(rows), times, index)]
            return {"image": torch.from_numpy(np.ascontiguousarray(chosen))[:, None, None]}
        places = self._drawn(len(keys), times, index).tolist()
        # A member's own draw; the first has that of a single image.
        made = [self._forms(self._pixels(keys[p], index), (*times, -p) if p else times, index) for p in places]
        return {name: torch.stack([forms[name] for forms in made]) for name in made[0]}

    def _drawn(self, count: int, times: tuple[int, ...], index: int) -> NDArray[np.int64]:
        """Return which of a bag's members come at one time."""
        return drawn_members(count, self.members, derived_seed(self.seed, "members", *map(int, times), self._ids.hash(index)))

    def _pixels(self, values: Sequence[Any], index: int) -> NDArray[Any]:
        if self._may_lack and not self._reader.images(*values):
            raise ImageError(f"{self._name}: sample {self._ids[index]!r} lacks the one image that this model takes")
        return self._conform(self._read(values, index), index)

    def _forms(self, pixels: NDArray[Any], times: tuple[int, ...], index: int) -> dict[str, Tensor]:
        """Return one image as `image`, and in the form of every further model that looks at it, by its name in `others`."""
        others = {name: fit(torch.from_numpy(pixels)[None], wanted)[0] for name, wanted in self.others.items()}
        return {"image": self._made(pixels, times, index), **others}

    def _made(self, pixels: NDArray[Any], times: tuple[int, ...], index: int) -> Tensor:
        if self.augment is not None and not self.raw:
            seed = derived_seed(self.seed, "augment", *map(int, times), self._ids.hash(index))
            return self.augment(torch.from_numpy(pixels), seed, self.target_size)
        return torch.from_numpy(pixels) if self.raw or self.native else fit(torch.from_numpy(pixels)[None], self.preprocess)[0]

    def _values(self, index: int) -> list[Any]:
        return [column[index] for column in self._arguments]

    def _read(self, values: Sequence[Any], index: int) -> NDArray[Any]:
        try:
            return self._reader.read(*values)
        except MedzooError:
            raise
        except OSError as error:
            raise ImageError(f"{self._name}: cannot read the image of {self._ids[index]!r}: {error}") from error

    def _conform(self, pixels: NDArray[Any], index: int) -> NDArray[Any]:
        """Bring (C, ...) pixels to the model's channels and type, as writable, contiguous memory of their own."""
        wanted = self.preprocess
        if pixels.ndim != 1 + len(wanted.size) or 0 in pixels.shape:
            axes = "[channels, depth, height, width]" if wanted.is_volume else "[channels, height, width]"
            raise ImageError(f"{self._name}: the image of {self._ids[index]!r} has shape {list(pixels.shape)}, not {axes}")
        if pixels.shape[0] != wanted.channels or pixels.dtype != wanted.dtype:
            try:
                pixels = conformed(pixels, wanted.channels, wanted.dtype)
            except MedzooError as error:
                raise ImageError(f"{self._name}: the image of {self._ids[index]!r}: {error}") from error
        return np.array(pixels, order="C")


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples into a batch.

    Args:
        samples: At least one, of one dataset.

    Returns:
        Tensors with a first dimension N, those by name by name; `index` (N,) int64; `text` and `sample_id` lists of text.

    Raises:
        ImageError: If images differ in shape or type; names two of them.
    """
    first = samples[0]
    for sample in samples[1:]:
        for one, other in zip(_images_of(first), _images_of(sample), strict=True):
            skip = int("view_mask" in first)  # bags have any number of members
            if one.shape[skip:] != other.shape[skip:] or one.dtype != other.dtype:
                raise ImageError(
                    f"images of one batch differ: {first['sample_id']!r} is {one.dtype} {list(one.shape)}, "
                    f"{sample['sample_id']!r} is {other.dtype} {list(other.shape)}"
                )
    batch: Batch = {}
    for key, value in first.items():
        values = [sample[key] for sample in samples]
        if key == "index":
            batch[key] = torch.tensor(values, dtype=torch.int64)
        elif isinstance(value, dict):
            batch[key] = {name: torch.stack([each[name] for each in values]) for name in value}
        elif "view_mask" in first and (key in ("image", "view_mask", VIEW) or key.startswith("image.")):
            batch[key] = pad_sequence(values, batch_first=True)  # with 0, a mask with False
        else:
            batch[key] = torch.stack(values) if isinstance(value, Tensor) else values
    return batch


def _images_of(sample: Sample) -> list[Tensor]:
    """Return a sample's images, one or several."""
    return [*sample.get("images", {}).values(), *([sample["image"]] if "image" in sample else [])]


def _kind(dimensions: int) -> str:
    return {3: "images", 4: "volumes"}.get(dimensions, f"{dimensions}-dimensional arrays")
