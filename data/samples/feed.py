"""Batches on the device they are used on, from wherever their images come.

Images of one shape (an array in memory, the packed cache) can stay as they are until they are on the device: held there whole, or
copied batch by batch where they do not fit, and then augmented together (`medzoo.data.samples.by_torch`). Files are decoded,
fitted and augmented one by one by the loader's workers. A batch is the same function of (seed, epoch, batch) on each way, but for
the grey levels that the two augmenters round differently.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.samples.loader import EpochBatches, SampleLoader, make_loader
from medzoo.data.samples.sample_dataset import Batch, Key, SampleDataset
from medzoo.data.samples.send import sent

INPUTS = ("auto", "loader", "device")
"""`trainer.input`: images go through the loader, sample by sample; or are augmented on the device, in batches."""

ON_HOST = ("index", "present", "view_mask")
"""What of a batch the host reads: which samples, and which modalities and views they have."""
HELD = 0.4
"""Largest share of a device's free memory that images are held in; the rest is the network's."""


def chosen_input(asked: str, samples: SampleDataset, device: torch.device) -> str:
    """Return `loader` or `device`.

    Args:
        asked: One of `INPUTS`; `auto` takes the device where it is a GPU and the images allow it.
        samples: The training split.
        device: Where the network is.

    Raises:
        UnknownNameError: If it is none of them.
        ConfigError: If `device` is asked for and cannot be; says why.
    """
    if asked not in INPUTS:
        raise UnknownNameError("trainer.input", asked, INPUTS)
    reason = hindrance(samples)
    if asked == "device" and reason is not None:
        raise ConfigError(f"trainer.input=device cannot be: {reason}; use loader or auto")
    if asked == "auto":
        return "device" if device.type != "cpu" and reason is None else "loader"
    return asked


def hindrance(samples: SampleDataset) -> str | None:
    """Return why a split's images cannot be left for the device to augment; None if they can."""
    if samples.views is not None:
        return "cases have several views"
    if samples.several:
        return "a sample has several images"
    if samples.shape is None:
        return "images are files, which differ in size (medzoo prepare makes them one array)"
    if samples.augment is not None and samples.augment.batched is None:
        return "the augmentation is a list of a library's transforms, or run by trainer.augmenter=albumentations"
    return None


def leave_to_device(samples: SampleDataset, device: torch.device) -> str:
    """Let a split's images be held on a device, or copied to it as they are; returns in words which.

    Args:
        samples: A split that `hindrance` finds nothing against; changed in place.
        device: Where the batches are to be.
    """
    samples.raw = True
    assert samples.shape is not None
    one = samples.raw_image(0)
    wanted = one.nbytes * len(samples)
    size = f"{len(samples)} images, {wanted / 2**20:.0f} MiB"
    if device.type == "cuda" and wanted > HELD * torch.cuda.mem_get_info(device)[0]:
        return f"{size}, copied to {device.type} batch by batch"
    held = torch.empty((len(samples), *one.shape), dtype=one.dtype, device=device)
    step = max(1, 2**26 // one.nbytes)
    for start in range(0, len(samples), step):
        held[start : start + step] = torch.stack(
            [samples.raw_image(index) for index in range(start, min(start + step, len(samples)))]
        )
    samples.held = held
    return f"{size}, held on {device.type}"


class Feed:
    """An epoch's batches, on a device.

    Args:
        samples: Where samples come from; how is decided by `leave_to_device`, if it was called on them.
        batches: Which samples, in which order; call `set_epoch` on it before each iteration.
        device: Where tensors are to be.
        workers: Loading processes of whatever is not held.
    """

    def __init__(self, samples: SampleDataset, batches: EpochBatches, device: torch.device, workers: int) -> None:
        self.samples, self.batches, self.device = samples, batches, device
        self._loader: SampleLoader | None = None
        if samples.held is None:
            self._loader = make_loader(_unaugmented(samples), batches, workers=workers, pin_memory=device.type == "cuda")

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches as `medzoo.data.samples.collate` makes them, on the device.

        `observed` and `complete` say beside it whether any target is known, and whether all are, without a question to the
        device; None without targets.

        Raises:
            ImageError: If an image cannot be read.
            DatasetError: If a loading process died.
        """
        keys = iter(self.batches)
        if self._loader is None:
            yield from _ahead(keys, self._of_held, self.device)
            return
        raw = self.samples.raw
        for batch in self._loader:
            known = _known(batch.get("target"))
            batch = to_device(batch, self.device)
            if raw:
                batch |= self._augmented(batch["image"], next(keys))
            yield {**batch, **known}

    def _of_held(self, keys: Sequence[Key]) -> Batch:
        assert self.samples.held is not None
        batch = self.samples.fields(keys)
        known = _known(batch.get("target"))
        batch = to_device(batch, self.device)
        rows = sent(batch["index"], self.device)
        return {**batch, **self._augmented(self.samples.held.index_select(0, rows), keys), **known}

    @torch.no_grad()
    def _augmented(self, images: Tensor, keys: Sequence[Key]) -> Batch:
        samples, augment = self.samples, self.samples.augment
        if augment is None:
            return dict.fromkeys(samples.made, images)
        assert augment.batched is not None
        return {
            name: augment.batched(images, [samples.augment_seed((*key, *draw)) for key in keys], samples.target_size)
            for name, draw in samples.made.items()
        }


def _ahead(keys: Iterator[Sequence[Key]], make: Callable[[Sequence[Key]], Batch], device: torch.device) -> Iterator[Batch]:
    """Yield what is made of some keys; on a GPU each batch in a stream of its own while the one before is trained on."""
    if device.type != "cuda":
        yield from map(make, keys)
        return
    aside: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    waiting: tuple[Batch, torch.cuda.Event] | None = None
    aside.wait_stream(torch.cuda.current_stream(device))
    for now in keys:
        with torch.cuda.stream(aside):
            made = make(now)
            done = aside.record_event()
        if waiting is not None:
            yield _taken_over(*waiting)
        waiting = made, done
    if waiting is not None:
        yield _taken_over(*waiting)


def _taken_over(batch: Batch, done: torch.cuda.Event) -> Batch:
    """Let the current stream wait for a batch that another made, and keep its memory until this one is through with it."""
    stream = torch.cuda.current_stream()
    stream.wait_event(done)
    for value in batch.values():
        if isinstance(value, Tensor) and value.is_cuda:
            value.record_stream(stream)
    return batch


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Return a batch with its tensors on a device; texts, identifiers and what is `ON_HOST` stay where they are."""
    return {k: v if k in ON_HOST else _sent(v, device) for k, v in batch.items()}


def _sent(value: Any, device: torch.device) -> Any:
    if isinstance(value, dict):
        return {name: _sent(part, device) for name, part in value.items()}
    return sent(value, device) if isinstance(value, Tensor) else value


def _unaugmented(samples: SampleDataset) -> SampleDataset:
    if not samples.raw or samples.augment is None:
        return samples
    plain = copy.copy(samples)
    plain.augment = None
    return plain


def _known(targets: Any) -> dict[str, bool | None]:
    if targets is None:
        return {"observed": None, "complete": None}
    missing = np.isnan(targets.numpy())
    return {"observed": not bool(missing.all()), "complete": not bool(missing.any())}
