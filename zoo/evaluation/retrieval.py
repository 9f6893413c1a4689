"""Image-text retrieval: how high the right caption of an image ranks, and the right image of a caption.

Recall@k and median rank as introduced by Hodosh, Young and Hockenmaier (2013, JAIR 47) and reported both ways by Karpathy and
Fei-Fei (2015, CVPR). What is right:

- Image to text: the gallery is every distinct caption text; right is any caption of the image.
- Text to image: the gallery is every distinct image that has a caption; right is any image with that very caption. A caption is
  one query however many images bear it: each of its pairs counts for its share.
- Rows of one image (`image_key`) are one image, rows of one caption text one caption, compared by their first row's vector.
- Ties are pessimistic: a wrong item as similar as the best right one counts as ahead of it, so that a model which gives
  everything the same vector scores 0 and not 1.
- Images without a caption are left out and counted: whether some caption is true of them is not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medzoo.data.errors import EvaluationError
from medzoo.data.splits.groups import merge_groups
from medzoo.evaluation.bootstrap import (
    DEFAULT_INTERVAL,
    FEWEST_GROUPS,
    Interval,
    Lack,
    group_codes,
    replicate_weights,
    value_text,
)
from medzoo.evaluation.embeddings import TILE, Embeddings, unit_rows
from medzoo.evaluation.metrics import Floats

TIE = 1e-6
"""Cosines closer than this are equal: the rounding of float32 unit vectors moves a cosine by about 1e-7."""

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class CaptionPairs:
    """Which caption is true of which image.

    Attributes:
        image_rows: (I,) the row that stands for each distinct captioned image.
        text_rows: (T,) the row that stands for each distinct caption.
        image: (P,) image 0..I-1 of each distinct pair, ascending.
        text: (P,) caption 0..T-1 of each distinct pair.
        groups: (I,) group of each image; groups that share an image are joined.
        joined: How many groups were joined to others.
    """

    image_rows: Indices
    text_rows: Indices
    image: Indices
    text: Indices
    groups: tuple[str, ...]
    joined: int


def retrieval_metrics(
    embeddings: Embeddings, ks: Sequence[int] = (1, 5, 10), interval: Interval = DEFAULT_INTERVAL
) -> dict[str, Any]:
    """Score retrieval in both directions among all rows given; take one split first (`Embeddings.of_split`).

    Intervals are by the percentile bootstrap over groups: the gallery stays, the queries are redrawn by group.

    Args:
        embeddings: Of images and captions.
        ks: The k of recall@k, each at least 1. With k at or above the gallery's size recall would be 1 for any model: it is
            undefined there.
        interval: How intervals are made.

    Returns:
        JSON-ready: counts, settings, and under `image_to_text` and `text_to_image` the number of `queries`, the size of the
        `gallery`, `recall@<k>` in 0..1 and `median_rank` from 1, each with `value`, `low` and `high` (null with fewer than two
        groups).

    Raises:
        EvaluationError: If there are no embedded captions, or a setting is out of range.
    """
    wanted = sorted(set(ks))
    if not wanted or wanted[0] < 1:
        raise EvaluationError(f"retrieval needs every k at least 1; got ks={list(ks)}")
    pairs = caption_pairs(embeddings)
    assert embeddings.text_embedding is not None
    image_ranks, text_ranks = retrieval_ranks(
        embeddings.image[pairs.image_rows], embeddings.text_embedding[pairs.text_rows], pairs.image, pairs.text
    )
    codes = group_codes(pairs.groups)
    unit = embeddings.details.get("split_unit")
    images, captions, shares = len(pairs.image_rows), len(pairs.text_rows), 1 / np.bincount(pairs.text)[pairs.text]
    return {
        "splits": sorted(set(map(str, embeddings.split))),
        "images": images,
        "captions": captions,
        "pairs": len(pairs.image),
        "images_without_caption": len(embeddings.first_rows) - images,
        "groups": int(codes.max()) + 1,
        "groups_joined": pairs.joined,
        "spec": embeddings.spec_hash,
        "interval": {"method": f"percentile bootstrap over {unit or 'all'} groups", "unit": unit, **interval.told},
        "ties": f"pessimistic: a wrong item within {TIE:g} of the best right one counts as ahead",
        "image_to_text": {"queries": images, "gallery": captions, **_summary(image_ranks, codes, wanted, interval, captions)},
        "text_to_image": {
            "queries": captions,
            "gallery": images,
            **_summary(text_ranks[pairs.text], codes[pairs.image], wanted, interval, images, shares),
        },
    }


def caption_pairs(embeddings: Embeddings) -> CaptionPairs:
    """Find the distinct images, captions and pairs of them.

    Raises:
        EvaluationError: If there is no embedded caption.
    """
    rows = np.flatnonzero(embeddings.captioned)
    if embeddings.text_embedding is None or not len(rows):
        raise EvaluationError(
            f"none of the {len(embeddings)} embeddings has a caption's; retrieval needs captions and a model that embeds text"
        )
    keys = pd.factorize(embeddings.image_key)[0]
    captioned, image = np.unique(keys[rows], return_inverse=True)
    text, texts = pd.factorize(embeddings.text[rows])
    pair = np.unique(image.astype(np.int64) * len(texts) + text)
    first_text = np.full(len(texts), len(embeddings), dtype=np.int64)
    np.minimum.at(first_text, text, rows)
    names = [str(name) for name in embeddings.group]
    alike = pd.DataFrame({"key": keys, "group": names}).reset_index().drop_duplicates(["key", "group"])
    shared = alike[alike.duplicated("key", keep=False)].groupby("key")["index"]
    groups = merge_groups(names, [list(map(int, members)) for _, members in shared])
    image_rows = embeddings.first_rows[captioned]
    return CaptionPairs(
        image_rows=image_rows, text_rows=first_text, image=pair // len(texts), text=pair % len(texts),
        groups=tuple(groups[row] for row in image_rows), joined=len(set(names)) - len(set(groups)),
    )  # fmt: skip


def retrieval_ranks(
    image: NDArray[np.float32], text: NDArray[np.float32], pair_image: Indices, pair_text: Indices, tile: int = TILE
) -> tuple[Indices, Indices]:
    """Rank the best right item of every query: 1 + the wrong items that are as similar to the query or more so.

    Every cosine is computed once, in tiles that serve both directions, and compared with the best right one; no matrix of
    all images by all captions is held.

    Args:
        image: (I, E) finite vectors.
        text: (T, E) finite vectors.
        pair_image: (P,) image of each distinct true pair, ascending; every image has at least one.
        pair_text: (P,) caption of each pair; every caption has at least one.
        tile: Images, and captions, compared at once.

    Returns:
        (I,) ranks of the best right caption, 1..T, and (T,) ranks of the best right image, 1..I.
    """
    best_image, best_text = np.full(len(image), -np.inf), np.full(len(text), -np.inf)
    for start in range(0, len(pair_image), tile):
        i, j = pair_image[start : start + tile], pair_text[start : start + tile]
        right = np.einsum("pe,pe->p", unit_rows(image[i]), unit_rows(text[j]))
        np.maximum.at(best_image, i, right)
        np.maximum.at(best_text, j, right)
    bar_image, bar_text = best_image - TIE, best_text - TIE
    ahead_image, ahead_text = np.zeros(len(image), dtype=np.int64), np.zeros(len(text), dtype=np.int64)
    for top in range(0, len(image), tile):
        end = min(top + tile, len(image))
        block = unit_rows(image[top:end])
        of_block = slice(*np.searchsorted(pair_image, [top, end]))
        for left in range(0, len(text), tile):
            stop = min(left + tile, len(text))
            cosine = block @ unit_rows(text[left:stop]).T
            inside = (pair_text[of_block] >= left) & (pair_text[of_block] < stop)
            # A right item is never ahead of another right one: below every bar.
            cosine[pair_image[of_block][inside] - top, pair_text[of_block][inside] - left] = -np.inf
            ahead_image[top:end] += np.count_nonzero(cosine >= bar_image[top:end, None], axis=1)
            ahead_text[left:stop] += np.count_nonzero(cosine >= bar_text[left:stop], axis=0)
    return 1 + ahead_image, 1 + ahead_text


def _summary(
    ranks: Indices, codes: Indices, ks: Sequence[int], interval: Interval, gallery: int, shares: Floats | None = None
) -> dict[str, Any]:
    """Describe recall@k and median rank of queries (Q,) that count `shares` each; None: one each."""
    shares = np.ones(len(ranks)) if shares is None else shares
    values, drawn = _weighted(ranks, ks, shares[None]), {}
    found = int(codes.max()) + 1
    scarce = str(Lack(found, "groups")) if found < FEWEST_GROUPS else ""
    if interval.replicates and found > 1:
        drawings = replicate_weights(codes, interval.replicates, interval.seed)
        parts = [_weighted(ranks, ks, weights * shares) for weights in drawings]
        drawn = {name: np.concatenate([part[name] for part in parts]) for name in values}
    result = {name: interval.described(value[0], drawn.get(name), scarce) for name, value in values.items()}
    for k in ks:
        if k >= gallery:
            result[f"recall@{k}"] = {**interval.described(None, None), "undefined": f"the gallery holds {gallery}"}
    return result


def _weighted(ranks: Indices, ks: Sequence[int], weights: Floats) -> dict[str, Floats]:
    """Return recall@k and median rank, (B,) each, of queries that count `weights` (B, Q)."""
    total = weights.sum(axis=1)
    values = {f"recall@{k}": weights @ (ranks <= k).astype(np.float64) / total for k in ks}
    order = np.argsort(ranks, kind="stable")
    reached, half, slack = np.cumsum(weights[:, order], axis=1), total[:, None] / 2, 1e-9 * total[:, None]
    # Where half the weight is reached and where it is passed: of whole numbers the middle one, or the two in the middle.
    middles = [np.count_nonzero(reached < half - slack, axis=1), np.count_nonzero(reached <= half + slack, axis=1)]
    last = len(ranks) - 1
    values["median_rank"] = (ranks[order][np.minimum(middles[0], last)] + ranks[order][np.minimum(middles[1], last)]) / 2
    return values


def retrieval_report(embeddings: Embeddings, splits: Sequence[str], interval: Interval) -> dict[str, Any]:
    """Return retrieval metrics by split, for the splits that have captions."""
    report = {}
    for split in splits:
        part = embeddings.of_split(split)
        if part.text_embedding is not None and part.captioned.any():
            report[split] = retrieval_metrics(part, interval=interval)
    return report


def format_retrieval(report: Mapping[str, Any]) -> list[str]:
    """Return retrieval metrics as lines for a terminal."""
    lines = []
    for split, directions in report.items():
        for direction in ("image_to_text", "text_to_image"):
            found = directions[direction]
            shown = "  ".join(
                f"{name} {value_text(value['value'], value['low'], value['high'])}"
                for name, value in found.items()
                if isinstance(value, dict)
            )
            lines.append(f"{split}: {direction.replace('_', ' ')} (of {found['gallery']}): {shown}")
    return lines
