"""A batch on the CPU as small pieces side by side: each thread runs whole images, and what it works on stays in its cache.

With all threads on one operator of the whole batch, every operator ends with all threads waiting for the last, and reads from
main memory what the one before it wrote there. docs/acceleration.md says what that costs.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import MedzooError
from medzoo.export.files.integrity import files_of
from medzoo.export.runtime.cores import available_cores
from medzoo.export.runtime.providers import SessionSettings, open_session

PIECE = 4
"""Images of 224×224 pixels, or texts, to a piece: of 1 to 16, 4 and 8 are fastest on nearly all networks measured."""
SMALLEST = 2
"""Of one image, networks with many weights read these too often."""
MAX_BYTES = 1 << 30
"""Largest file, weights included, that a second session is opened for: each session holds the weights once."""


class BatchSession:
    """A session, and beside it one of a single thread an operator, which is opened when the first batch is cut.

    Only on the CPU are batches cut, and only with one operator at a time. Where the second session cannot be opened (no memory, a
    file that was replaced meanwhile), batches stay whole. Safe to use from several threads, and in a process that was forked.

    Args:
        path: An ONNX file; check it first (`medzoo.export.files.integrity.check`).
        settings: Where and how it runs.

    Attributes:
        session: The `onnxruntime.InferenceSession` that has all threads.
        threads: Pieces that run at once.

    Raises:
        MissingDependencyError, ProviderError, OnnxFileError: As `open_session`.
    """

    def __init__(self, path: str | Path, settings: SessionSettings) -> None:
        self.threads = settings.threads or available_cores()
        self._path, self._settings = Path(path).absolute(), settings
        self._files = files_of(self._path)
        self._opened = _state(self._files)
        self.session = open_session(path, settings)
        self._cuts = (
            settings.split_batches
            and settings.provider == "cpu"
            and settings.inter_op_threads in (None, 1)
            and (self.threads == 1 or sum(file.stat().st_size for file in self._files) <= MAX_BYTES)
        )
        self._single: Any = self.session if self.threads == 1 else None
        self._lock, self._process = Lock(), os.getpid()
        self._pool: ThreadPoolExecutor | None = None

    def run(self, outputs: Sequence[str], feed: Mapping[str, Any], rows: Collection[str], piece: int) -> dict[str, NDArray[Any]]:
        """Run one batch.

        Args:
            outputs: Names; the first dimension of each is the batch.
            feed: Input name → array.
            rows: Names of the inputs whose first dimension is the batch; the others are the same for all of it.
            piece: Most rows of a piece; see `images_per_piece`.

        Returns:
            Output name → array, in the batch's order.
        """
        count, names = len(feed[next(iter(rows))]), list(outputs)

        def run(session: Any, part: slice) -> list[NDArray[Any]]:
            return list(session.run(names, {name: value[part] if name in rows else value for name, value in feed.items()}))

        pieces, rest = cut_batch(count, self.threads, piece) if self._cuts else ([], slice(0, count))
        found = self._side_by_side(run, pieces) if pieces else None
        if found is None:
            return dict(zip(names, run(self.session, slice(0, count)), strict=True))
        if rest.start < rest.stop:
            found.append(run(self.session, rest))
        return {name: np.concatenate(values) for name, values in zip(names, zip(*found, strict=True), strict=True)}

    def _side_by_side(
        self, run: Callable[[Any, slice], list[NDArray[Any]]], pieces: Sequence[slice]
    ) -> list[list[NDArray[Any]]] | None:
        """Run pieces, a thread each; None where they cannot be."""
        if self._process != os.getpid():  # a fork has the lock as it was, and the pool without its threads
            self._lock, self._pool, self._process = Lock(), None, os.getpid()
        with self._lock:
            if self._single is None:
                self._single = self._second_session()
                self._cuts = self._single is not None
            if self._single is None:
                return None
            if self._pool is None and self.threads > 1:
                self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="medzoo-run")
        if self._pool is None:
            return [run(self._single, part) for part in pieces]
        try:
            futures = [self._pool.submit(run, self._single, part) for part in pieces]
        except RuntimeError:  # the interpreter is ending and starts no threads
            return None
        return [future.result() for future in futures]

    def _second_session(self) -> Any:
        """Return a session of the same file with one thread; None if there can be none."""
        if _state(self._files) != self._opened:
            return None
        try:
            session = open_session(self._path, replace(self._settings, threads=1))
        except MedzooError:  # no memory for the weights a second time, or the file is going
            return None
        # Two sessions of different weights would answer for one batch.
        return session if _state(self._files) == self._opened else None


def images_per_piece(size: Sequence[int]) -> int:
    """Return the best size of a piece: `PIECE` images of 224×224 pixels, fewer large ones, more small ones.

    Args:
        size: (H, W) or (D, H, W) of the model's input; empty for texts.
    """
    return max(SMALLEST, PIECE * 224 * 224 // math.prod(size)) if size else PIECE


def cut_batch(count: int, threads: int, piece: int) -> tuple[list[slice], slice]:
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


def _state(files: Sequence[Path]) -> list[tuple[int, int, int]] | None:
    """Return what tells whether files were replaced or written to; None if one is gone."""
    try:
        return [(found.st_ino, found.st_size, found.st_mtime_ns) for found in (file.stat() for file in files)]
    except OSError:
        return None
