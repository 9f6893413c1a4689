"""A batch on the CPU as small pieces side by side: each thread runs whole images, and what it works on stays in its cache.

With all threads on one operator of the whole batch, every operator ends with all threads waiting for the last, and reads from
main memory what the one before it wrote there. On 2 cores pieces are 1.0 to 1.4 times as fast (docs/acceleration.md).
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.export.integrity import files_of
from medzoo.export.providers import SessionSettings, open_session

PIECE = 4
"""Images of 224×224 pixels, or texts, to a piece: of 1 to 16, 4 and 8 are fastest on nearly all networks measured."""
SMALLEST = 2
"""Of one image, networks with many weights read these too often."""
MAX_BYTES = 1 << 30
"""Largest file, weights included, that a second session is opened for: each session holds the weights once."""


class BatchSession:
    """A session, and beside it one of a single thread an operator, which is opened when the first batch is cut.

    Safe to use from several threads.

    Args:
        path: An ONNX file; check it first (`medzoo.export.integrity.check`).
        settings: Where and how it runs.

    Attributes:
        session: The `onnxruntime.InferenceSession` that has all threads.
        threads: Pieces that run at once.
        piece: Most images, or texts, of a piece; set it to `images_per_piece` of the model's size.

    Raises:
        MissingDependencyError: As `open_session`.
        ProviderError: As `open_session`.
        OnnxFileError: As `open_session`.
    """

    def __init__(self, path: str | Path, settings: SessionSettings) -> None:
        self.threads, self.piece = settings.threads or available_cores(), PIECE
        self._path, self._settings, self._lock = Path(path), settings, Lock()
        self._pieces: tuple[Any, ThreadPoolExecutor | None] | None = None
        self._files = files_of(self._path)
        self._opened = _state(self._files)
        self.session = open_session(path, settings)
        self._cuts = (
            settings.split_batches
            and settings.provider == "cpu"
            and settings.inter_op_threads in (None, 1)
            and (self.threads == 1 or sum(file.stat().st_size for file in self._files) <= MAX_BYTES)
        )

    def run(self, outputs: Sequence[str], feed: Mapping[str, Any], rows: Collection[str]) -> dict[str, NDArray[Any]]:
        """Run one batch.

        Args:
            outputs: Names; the first dimension of each is the batch.
            feed: Input name → array.
            rows: Names of the inputs whose first dimension is the batch; the others are the same for all of it.

        Returns:
            Output name → array, in the batch's order.
        """
        count = len(feed[next(iter(rows))])
        pieces, rest = cut_batch(count, self.threads, self.piece) if self._cuts else ([], slice(0, count))
        names = list(outputs)

        def run(session: Any, part: slice) -> list[NDArray[Any]]:
            given = {name: value[part] if name in rows else value for name, value in feed.items()}
            found: list[NDArray[Any]] = session.run(names, given)
            return found

        side_by_side = self._side_by_side() if pieces else None
        if side_by_side is None:
            return dict(zip(names, run(self.session, slice(0, count)), strict=True))
        single, pool = side_by_side
        found = list((map if pool is None else pool.map)(partial(run, single), pieces))
        if rest.start < rest.stop:
            found.append(run(self.session, rest))
        return {name: np.concatenate(values) for name, values in zip(names, zip(*found, strict=True), strict=True)}

    def _side_by_side(self) -> tuple[Any, ThreadPoolExecutor | None] | None:
        """Return the single-threaded session and its threads; None where the file is no longer the one that was opened."""
        with self._lock:
            if self._pieces is None and self._cuts:
                single = self.session
                if self.threads > 1:
                    if _state(self._files) == self._opened:
                        single = open_session(self._path, replace(self._settings, threads=1))
                    # Two sessions of different weights would answer for one batch.
                    self._cuts = _state(self._files) == self._opened
                if self._cuts:
                    pool = ThreadPoolExecutor(self.threads, thread_name_prefix="medzoo-run") if self.threads > 1 else None
                    self._pieces = single, pool
            return self._pieces


def images_per_piece(size: Sequence[int]) -> int:
    """Return the best size of a piece: `PIECE` images of 224×224 pixels, fewer large ones, more small ones.

    Args:
        size: (H, W) or (D, H, W) of the model's input; empty for texts.
    """
    return max(SMALLEST, PIECE * 224 * 224 // math.prod(size)) if size else PIECE


def cut_batch(count: int, threads: int, piece: int = PIECE) -> tuple[list[slice], slice]:
    """Share a batch out among threads that each run whole images.

    Args:
        count: Images.
        threads: Pieces that run at once.
        piece: Most images of a piece.

    Returns:
        Pieces, a multiple of `threads` of them, as equal as can be; and what is left over, fewer images than threads, for all
        threads together. Fewer than two images a thread are not cut.
    """
    shared = count - count % threads
    if shared < 2 * threads or count <= piece * (threads == 1):
        return [], slice(0, count)
    number = threads * math.ceil(shared / threads / piece)
    bounds = [shared * place // number for place in range(number + 1)]
    return [slice(*ends) for ends in pairwise(bounds)], slice(shared, count)


def available_cores() -> int:
    """Return the processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _state(files: Sequence[Path]) -> list[tuple[int, int, int]] | None:
    """Return what tells whether files were replaced or written to; None if one is gone."""
    try:
        return [(found.st_ino, found.st_size, found.st_mtime_ns) for found in (file.stat() for file in files)]
    except OSError:
        return None
