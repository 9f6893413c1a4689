"""Batches of an epoch, and the loader that fetches them.

The order of an epoch is a function of (seed, epoch). Keys carry the epoch to the workers, so that persistent workers
need not be told of it. There is no state to save: a run resumes by asking for an epoch from a batch on.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Sampler

from medzoo.data.errors import ConfigError, DatasetError, MedzooError
from medzoo.data.samples.sample_dataset import Batch, Key, SampleDataset, collate
from medzoo.data.seeding import generator


@dataclass(repr=False, eq=False)
class EpochBatches(Sampler[list[Key]]):
    """The batches of an epoch, for one of several processes.

    Batch b of an epoch is the same set of samples however many processes share it: process `rank` takes every
    `world`-th of it. When shuffling (training) every sample comes once an epoch, and a last batch of one sample joins the
    one before, because batch normalisation needs two; a process without a share of a batch is given its first sample, which
    stands in and does not count (`stands_in`), because no process may leave the others waiting. Otherwise (evaluation) the
    order is the table's, nothing is joined, and a process without a share of the last batch skips it.

    Args:
        size: Number of samples.
        batch_size: Samples a batch, over all processes.
        seed: Of the order.
        shuffle: True for training, False for evaluation.
        probabilities: (size,) of drawing each sample, with replacement; None: every sample once.
        rank: This process, 0..world-1.
        world: Number of processes.

    Raises:
        ConfigError: If numbers are out of range, or a training batch leaves a process empty-handed.
    """

    size: int
    batch_size: int
    _: KW_ONLY
    seed: int
    shuffle: bool
    probabilities: NDArray[np.float64] | None = None
    rank: int = 0
    world: int = 1
    epoch: int = field(default=0, init=False)
    start_batch: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ConfigError(f"batch size must be at least 1, got {self.batch_size}")
        if self.size < 0 or self.world < 1 or not 0 <= self.rank < self.world:
            raise ConfigError(f"cannot make batches of {self.size} samples for process {self.rank} of {self.world}")
        if self.shuffle and 0 < (largest := min(self.size, self.batch_size)) < self.world:
            raise ConfigError(
                f"a training batch of {largest} samples cannot be shared by {self.world} processes; "
                "raise the batch size or start fewer processes"
            )
        self._bounds = self._cut()

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        """Choose what the next iteration yields.

        Args:
            epoch: Counted from 0.
            start_batch: Batches of this epoch that are done already.

        Raises:
            ConfigError: If either is negative, or the epoch has fewer batches.
        """
        if epoch < 0 or not 0 <= start_batch <= len(self._bounds):
            raise ConfigError(f"epoch {epoch} has no batch {start_batch}; it has {len(self._bounds)}")
        self.epoch = epoch
        self.start_batch = start_batch

    def __len__(self) -> int:
        """Return the number of batches that a whole epoch has for this process."""
        return len(self._bounds) if self.shuffle else sum(end - start > self.rank for start, end in self._bounds)

    def stands_in(self, batch: int) -> bool:
        """Whether this process has no share of a training batch: the sample that it is given belongs to another."""
        start, end = self._bounds[batch]
        return self.shuffle and end - start <= self.rank

    def __iter__(self) -> Iterator[list[Key]]:
        """Yield lists of (epoch, index), from the chosen batch on; (epoch, index, draw) for a sample drawn again."""
        # Bound now: a prefetching loader draws later, when another epoch may already be set.
        return self._batches(self.epoch, self.start_batch)

    def _batches(self, epoch: int, start_batch: int) -> Iterator[list[Key]]:
        order = self._order(epoch)
        # How often each came before; its augmentation then differs.
        draws = np.zeros_like(order) if self.probabilities is None else pd.Series(order).groupby(order).cumcount().to_numpy()
        for start, end in self._bounds[start_batch:]:
            mine = range(start + self.rank, end, self.world)
            if self.shuffle and not len(mine):
                mine = range(start, start + 1)
            if len(mine):
                yield [(epoch, int(order[i]), int(draws[i])) if draws[i] else (epoch, int(order[i])) for i in mine]

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if not self.shuffle:
            return np.arange(self.size)
        if self.probabilities is not None:
            return generator(self.seed, "draws", epoch).choice(self.size, self.size, p=self.probabilities)
        return generator(self.seed, "order", epoch).permutation(self.size)

    def _cut(self) -> list[tuple[int, int]]:
        starts = list(range(0, self.size, self.batch_size))
        last = self.size - starts[-1] if starts else 0
        if self.shuffle and len(starts) > 1 and last < min(self.batch_size, 2):
            starts.pop()
        return list(pairwise([*starts, self.size]))


class SampleLoader(DataLoader[Batch]):
    """A torch `DataLoader` in which a user's mistake stays one line, also when a worker meets it.

    Attributes:
        samples: The dataset it loads from.
        batches: What decides which samples, in which order.
    """

    def __init__(self, samples: SampleDataset, batches: EpochBatches, **options: Any) -> None:
        super().__init__(_Guarded(samples), batch_sampler=batches, collate_fn=_as_it_is, **options)
        self.samples = samples
        self.batches = batches

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        """Yield batches.

        Raises:
            ImageError: If an image cannot be read; the line names it.
            DatasetError: If a worker died.
        """
        return self._raising(super().__iter__())

    def _raising(self, iterator: Iterator[Any]) -> Iterator[Batch]:
        while True:
            try:
                batch = next(iterator)
            except StopIteration:
                return
            except RuntimeError as error:
                if "DataLoader worker" in str(error) and not str(error).startswith("Caught "):
                    raise DatasetError(
                        f"a loading process died ({str(error).splitlines()[0].strip()}); it may have run out of memory "
                        "or of shared memory (/dev/shm): use fewer workers or a smaller batch"
                    ) from error
                raise
            if isinstance(batch, _Failure):
                raise batch.error()
            yield batch


def make_loader(dataset: SampleDataset, batches: EpochBatches, *, workers: int, pin_memory: bool) -> SampleLoader:
    """Make the loader of a dataset; its batches are the same for any number of workers.

    Workers are forked on Linux: they then share an array held in memory, and start in milliseconds, where a spawned one
    copies it and imports torch again (seconds). Forking is safe because a worker uses none of its parent's threads:
    torch and OpenCV run single-threaded in it, and it never touches an accelerator.

    Args:
        dataset: Where samples come from.
        batches: Which samples, in which order; call `set_epoch` on it before each iteration.
        workers: Loading processes; 0 loads in this one. They live as long as the loader.
        pin_memory: Page-locked batches, for copying to a GPU without waiting.

    Raises:
        ConfigError: If `workers` is negative.
    """
    if workers < 0:
        raise ConfigError(f"the number of workers must be at least 0, got {workers}")
    return SampleLoader(
        dataset,
        batches,
        num_workers=workers,
        pin_memory=pin_memory,
        persistent_workers=workers > 0,
        worker_init_fn=_start_worker if workers else None,
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
        # Its own: else it would draw from torch's global state, oftener with 0 workers than with persistent ones.
        generator=torch.Generator(),
    )


@dataclass(frozen=True)
class _Failure:
    """An error on its way out of a worker. torch would rebuild it around a traceback of many lines."""

    kind: type[MedzooError]
    message: str
    where: str

    def error(self) -> MedzooError:
        error = self.kind.__new__(self.kind, self.message)  # constructors differ; the message is made already
        error.add_note(self.where)
        return error


class _Guarded(torch.utils.data.Dataset[Any]):
    """Gives whole batches, collated here so that a mistake in either step goes the same way out."""

    def __init__(self, samples: SampleDataset) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitems__(self, keys: Sequence[Key]) -> Batch | _Failure:
        try:
            return collate(self.samples.__getitems__(keys))
        except MedzooError as error:
            return _Failure(type(error), str(error), "".join(traceback.format_exception(error)))


def _as_it_is(batch: Any) -> Any:
    return batch


def _start_worker(_: int) -> None:
    torch.set_num_threads(1)
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(0)
