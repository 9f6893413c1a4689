"""Draws are functions of what they are for."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np

from medzoo.data.seeding import derived_seed, generator, stable_hash


def test_hash_is_the_start_of_sha256_whatever_the_process():
    expected = int(hashlib.sha256("Füße".encode()).hexdigest()[:16], 16)
    assert stable_hash("Füße") == expected
    # Python's own hash differs between processes; this one must not.
    code = "from medzoo.data.seeding import derived_seed; print(derived_seed(3, 'augment', 2, 'sample'))"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(there.stdout) == derived_seed(3, "augment", 2, "sample")


def test_words_are_kept_apart():
    seeds = {
        derived_seed(0, "ab", "c"),
        derived_seed(0, "a", "bc"),
        derived_seed(0, "abc"),
        derived_seed(0, 1, 2),
        derived_seed(0, 12),
        derived_seed(0, "12"),  # a number is not its text
        derived_seed(1, "abc"),
        derived_seed(0),
    }
    assert len(seeds) == 8
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_generators_of_one_purpose_agree_and_of_two_do_not():
    assert np.array_equal(generator(1, "x").random(5), generator(1, "x").random(5))
    assert not np.array_equal(generator(1, "x").random(5), generator(1, "y").random(5))
