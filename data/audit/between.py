"""Images of a test on other data that the network has learnt from under another name: the same pixels, or nearly the same.

Names say nothing here. Two public sets may hold one image under two names, and one name in two sets is no one image's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from medzoo.data.audit.leakage import LISTED, ImageFacts, look_at_images, near_pairs
from medzoo.data.dataset import Dataset

LEARNT = ("train", "val")


def images_learnt_from(own: Dataset, other: Dataset, workers: int = 1) -> dict[str, Any]:
    """Decode the images that a network was trained and chosen on, and those it is tested on, and return which are the same.

    Args:
        own: What it has learnt from.
        other: What it is tested on, all of it.
        workers: Threads that decode.

    Returns:
        JSON-ready: how many images were `compared` of either, and how many could not be read (`unreadable`); how many samples of
        the test have an image that is, to the pixel, one learnt from (`identical`), and how many others one whose perceptual hash
        differs in few bits (`near`); `identical_listed` and `near_listed` name the first, each with a sample learnt from and its
        split, near ones by the bits. Rows of features are held against each other to the number alone.
    """
    table = own.table[own.table["split"].isin(LEARNT)]
    sides = (("own", replace(own, table=table.reset_index(drop=True))), ("other", other))
    deep = other.reader.row_width is None
    facts: dict[tuple[str, Any], ImageFacts] = {}
    places: dict[tuple[str, Any], list[int]] = {}
    compared, unreadable, offset = {}, {}, 0
    for side, dataset in sides:
        seen, rows = look_at_images(dataset, None, deep, workers, lambda count: None)
        facts |= {(side, key): fact for key, fact in seen.items()}
        places |= {(side, key): [offset + row for row in found] for key, found in rows.items()}
        compared[side], unreadable[side] = len(seen), sum(bool(fact.error) for fact in seen.values())
        offset += len(dataset.table)
    ids = np.concatenate([dataset.table["sample_id"].to_numpy(str) for _, dataset in sides])
    splits = np.concatenate([table["split"].to_numpy(str), np.full(len(other.table), "test")])
    by_digest: dict[str, int] = {}
    for (side, key), fact in facts.items():
        if side == "own" and fact.digest:
            by_digest.setdefault(fact.digest, places[side, key][0])
    identical: dict[int, int] = {}
    for (side, key), fact in facts.items():
        if side == "other" and fact.digest in by_digest:
            identical |= dict.fromkeys(places[side, key], by_digest[fact.digest])
    near: dict[int, tuple[int, int]] = {}
    # Image by image: samples may share one of several that they have, and not the one that is alike.
    keys = list(places)
    numbered = {key: [number] for number, key in enumerate(keys)}
    for one, other_one, bits in near_pairs(facts, numbered, np.array([side for side, _ in keys])):
        learnt, test = sorted((keys[one], keys[other_one]), key=lambda key: key[0] != "own")
        for row in places[test]:
            if row not in identical and bits < near.get(row, (0, 65))[1]:
                near[row] = (places[learnt][0], bits)

    def named(row: int, learnt: int) -> dict[str, Any]:
        return {"sample_id": str(ids[row]), "learnt_from": str(ids[learnt]), "split": str(splits[learnt])}

    return {
        "compared": {"learnt_from": compared["own"], "test": compared["other"]},
        "unreadable": {"learnt_from": unreadable["own"], "test": unreadable["other"]},
        "identical": len(identical),
        "identical_listed": [named(row, learnt) for row, learnt in sorted(identical.items())[:LISTED]],
        "near": len(near),
        "near_listed": [
            {**named(row, learnt), "bits": bits}
            for row, (learnt, bits) in sorted(near.items(), key=lambda pair: (pair[1][1], pair[0]))[:LISTED]
        ],
    }
