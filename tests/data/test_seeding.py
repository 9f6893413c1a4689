"""Draws are functions of what they are for."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np

from medzoo.data.seeding import Draws, derived_seed, generator, stable_hash


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


def test_draws_are_the_bits_of_a_hash_and_go_on_past_a_block():
    draws = Draws(7)
    seen = [draws.random() for _ in range(60)]
    bits = b"".join(hashlib.shake_128(f"7/{block}".encode()).digest(192) for block in range(3))
    expected = [int.from_bytes(bits[8 * i : 8 * i + 8], "little") // 2**11 / 2**53 for i in range(60)]
    assert seen == expected
    assert seen != [Draws(8).random() for _ in range(60)]


def test_draws_fill_their_ranges_evenly():
    draws = Draws(1)
    values = np.array([draws.uniform(-2, 6) for _ in range(20_000)])
    counts = np.histogram(values, bins=8, range=(-2, 6))[0]
    assert counts.sum() == 20_000
    assert np.abs(counts - 2500).max() < 5 * np.sqrt(2500)
    whole = np.bincount([draws.integers(5) for _ in range(20_000)], minlength=5)
    assert len(whole) == 5
    assert np.abs(whole - 4000).max() < 5 * np.sqrt(4000)
