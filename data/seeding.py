"""Random numbers as a function of what they are for: never of a worker, of an order or of a machine.

Every draw in medzoo comes from `generator(seed, ...)` with the words that identify it (epoch, sample, purpose). Resuming
in mid-epoch is then exact whatever the number of workers, because there is no state to restore.
"""

from __future__ import annotations

import hashlib

import numpy as np


def stable_hash(text: str) -> int:
    """Return the first 64 bits of a text's SHA-256: the same on every machine and Python version."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big")


def derived_seed(seed: int, *words: int | str) -> int:
    """Mix a seed with the words that say what a draw is for.

    Args:
        seed: The user's seed, a non-negative integer.
        *words: Whatever identifies the draw, such as `("augment", epoch, sample)`. Text is hashed.

    Returns:
        A 63-bit non-negative integer, fit for `torch.manual_seed` and `numpy.random.default_rng` alike.
    """
    text = "\x1f".join(f"{type(word).__name__}:{word}" for word in (seed, *words))
    return stable_hash(text) >> 1


def generator(seed: int, *words: int | str) -> np.random.Generator:
    """Return a NumPy generator for one purpose; see `derived_seed`."""
    return np.random.default_rng(derived_seed(seed, *words))
