"""Retrieval: by hand, and against a brute-force rank that sorts every gallery for every query."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from medzoo.data.errors import EvaluationError
from medzoo.evaluation.bootstrap import NO_INTERVAL, Interval
from medzoo.evaluation.embeddings import Embeddings
from medzoo.evaluation.retrieval import retrieval_metrics, retrieval_ranks

AXES = np.eye(3)


def embeddings(
    image: ArrayLike, spoken: ArrayLike, text: Sequence[str], keys: Sequence[str], groups: Sequence[str] | None = None
) -> Embeddings:
    def unit(vectors: ArrayLike) -> Any:
        values = np.asarray(vectors, dtype=np.float64)
        return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)

    vectors = unit(spoken)
    vectors[[not words for words in text]] = np.nan
    names = np.array([f"s{i}" for i in range(len(text))], dtype=object)
    return Embeddings(
        sample_id=names,
        split=np.array(["test"] * len(text), dtype=object),
        group=np.array(keys if groups is None else groups, dtype=object),
        image=unit(image),
        image_key=np.array(keys, dtype=object),
        text=np.array(text, dtype=object),
        text_embedding=vectors,
    )


def value(report: dict[str, Any], direction: str, metric: str) -> float:
    found: float = report[direction][metric]["value"]
    return found


def test_three_images_with_two_captions_each_by_hand() -> None:
    # Images are the axes. Cosines of the six captions with (a, b, c), before scaling:
    spoken = [[9, 1, 0], [1, 5, 2], [3, 2, 1], [4, 3, 1], [5, 0, 6], [7, 1, 3]]
    report = retrieval_metrics(
        embeddings(AXES[[0, 0, 1, 1, 2, 2]], spoken, ["a1", "a2", "b1", "b2", "c1", "c2"], list("aabbcc")),
        ks=(1, 2, 3),
        interval=NO_INTERVAL,
    )
    assert (report["images"], report["captions"], report["pairs"]) == (3, 6, 6)
    # Caption to image: a1 1st; a2 is third of (b, c, a): 3; b1 2nd; b2 2nd; c1 1st; c2 2nd.
    assert value(report, "text_to_image", "recall@1") == pytest.approx(2 / 6)
    assert value(report, "text_to_image", "recall@2") == pytest.approx(5 / 6)
    assert report["text_to_image"]["recall@3"]["undefined"] == "the gallery holds 3"  # 1 for any model
    assert value(report, "text_to_image", "median_rank") == 2
    # Image to caption, along axis a: a1 .99 leads. Along b: a2 .91, b2 .59, b1 .53: b2 is 2nd. Along c: c1 .77 leads.
    assert value(report, "image_to_text", "recall@1") == pytest.approx(2 / 3)
    assert value(report, "image_to_text", "recall@2") == 1
    assert value(report, "image_to_text", "median_rank") == 1
    assert report["image_to_text"]["queries"] == 3
    assert report["image_to_text"]["gallery"] == 6
    assert report["text_to_image"]["queries"] == 6
    assert report["text_to_image"]["gallery"] == 3


def test_a_caption_of_several_images_is_right_for_each() -> None:
    # "normal" points at a; b and c bear it too.
    report = retrieval_metrics(
        embeddings(AXES[[0, 1, 2]], [[5, 2, 1]] * 2 + [[0, 0, 1]], ["normal", "normal", "odd"], list("abc")),
        ks=(1,),
        interval=NO_INTERVAL,
    )
    assert report["captions"] == 2
    assert report["pairs"] == 3
    assert value(report, "text_to_image", "recall@1") == 1  # a is right for both "normal" pairs
    assert value(report, "image_to_text", "recall@1") == 1  # along b, "normal" leads
    apart = retrieval_metrics(
        embeddings(AXES[[0, 1, 2]], [[5, 2, 1]] * 2 + [[0, 0, 1]], ["normal", "usual", "odd"], list("abc")),
        ks=(1,),
        interval=NO_INTERVAL,
    )
    # Other words with the same vector are another caption: image a meets a tie, and so does image b.
    assert value(apart, "text_to_image", "recall@1") == pytest.approx(2 / 3)
    assert value(apart, "image_to_text", "recall@1") == pytest.approx(1 / 3)


def test_repeated_images_and_pairs_count_once() -> None:
    image, spoken, text, keys = AXES[[0, 1, 2]], np.array([[1, 2, 0], [0, 1, 0], [0, 0, 1]]), ["a", "b", "c"], list("xyz")
    plain = retrieval_metrics(embeddings(image, spoken, text, keys), ks=(1, 2), interval=NO_INTERVAL)
    often = [0, 1, 1, 1, 2, 0, 1]
    again = retrieval_metrics(
        embeddings(image[often], spoken[often], [text[i] for i in often], [keys[i] for i in often]),
        ks=(1, 2),
        interval=NO_INTERVAL,
    )
    assert again == plain
    assert value(plain, "text_to_image", "recall@1") == pytest.approx(2 / 3)


def test_a_repeated_image_is_compared_by_its_first_row() -> None:
    for rows, expected in (([0, 1, 2], 1.0), ([1, 0, 2], 0.5)):
        image = np.array([[1.0, 0], [0, 1], [1, 1]])[rows]
        report = retrieval_metrics(
            embeddings(image, [[1, 0], [1, 0], [1, 2]], ["p", "p", "q"], ["k", "k", "other"]), (1,), NO_INTERVAL
        )
        assert value(report, "text_to_image", "recall@1") == expected


def test_a_repeated_caption_is_compared_by_its_first_row() -> None:
    for rows, expected in (([0, 1, 2], 1.0), ([1, 0, 2], 0.5)):
        spoken = np.array([[1.0, 0], [0, 1], [1, 1]])[rows]
        report = retrieval_metrics(
            embeddings([[1, 0], [1, 0], [1, 2]], spoken, ["t", "t", "u"], ["p", "p", "q"]), (1,), NO_INTERVAL
        )
        assert value(report, "image_to_text", "recall@1") == expected


def test_an_image_without_caption_is_left_out_and_counted() -> None:
    # The bare image would beat both others for either caption.
    report = retrieval_metrics(
        embeddings([[1, 0.1], [0.1, 1], [1, 1]], [[2, 1], [1, 2], [1, 0]], ["a", "b", ""], list("xyz")),
        (1,),
        interval=NO_INTERVAL,
    )
    assert report["images_without_caption"] == 1
    assert report["images"] == 2
    assert value(report, "text_to_image", "recall@1") == 1


def test_a_tie_goes_against_the_model() -> None:
    report = retrieval_metrics(
        embeddings([[1, 0], [1, 0]], [[1, 0], [1, 0]], ["a", "b"], ["x", "y"]), (1, 2), interval=NO_INTERVAL
    )
    for direction in ("image_to_text", "text_to_image"):
        assert value(report, direction, "recall@1") == 0
        assert value(report, direction, "recall@2") is None  # of two
        assert value(report, direction, "median_rank") == 2


@pytest.mark.parametrize("images", [7, 300])
def test_a_constant_model_is_not_right(images: int) -> None:
    # Rounding differs between the corners of a matrix product: ties must survive it at any width.
    rng = np.random.default_rng(0)
    image, spoken = np.tile(rng.normal(size=333), (images, 1)), np.tile(rng.normal(size=333), (images, 1))
    names = [str(i) for i in range(images)]
    report = retrieval_metrics(embeddings(image, spoken, names, names), ks=(1, 5), interval=NO_INTERVAL)
    for direction in ("image_to_text", "text_to_image"):
        assert value(report, direction, "recall@1") <= 1 / images
        assert value(report, direction, "recall@5") <= 5 / images
        assert value(report, direction, "median_rank") == images


def test_chance_is_k_of_n() -> None:
    rng, names = np.random.default_rng(0), [str(i) for i in range(1000)]
    report = retrieval_metrics(
        embeddings(rng.normal(size=(1000, 64)), rng.normal(size=(1000, 64)), names, names), ks=(100,), interval=NO_INTERVAL
    )
    for direction in ("image_to_text", "text_to_image"):
        assert value(report, direction, "recall@100") == pytest.approx(0.1, abs=0.04)  # 4 standard deviations
        assert value(report, direction, "median_rank") == pytest.approx(500, abs=65)


def brute(data: Embeddings) -> tuple[list[int], list[int]]:
    """Ranks by sorting: each gallery item as (similarity, is it right), worst first among equals."""
    spoken = data.text_embedding
    assert spoken is not None
    rows = [r for r in range(len(data)) if data.text[r]]
    images = list(dict.fromkeys(data.image_key[r] for r in rows))
    captions = list(dict.fromkeys(data.text[r] for r in rows))
    pairs = sorted({(data.image_key[r], data.text[r]) for r in rows})
    seen = {k: data.image[list(data.image_key).index(k)].astype(float) for k in images}
    said = {t: spoken[list(data.text).index(t)].astype(float) for t in captions}

    def cosine(key: str, words: str) -> float:
        a, b = seen[key], said[words]
        return round(sum(a * b) / (sum(a * a) * sum(b * b)) ** 0.5, 6)

    def rank(items: list[tuple[float, bool]]) -> int:
        ordered = sorted(items, key=lambda item: (-item[0], item[1]))
        place = next(n for n, item in enumerate(ordered) if item[1])
        return 1 + place

    of_images = [rank([(cosine(k, t), (k, t) in pairs) for t in captions]) for k in images]
    of_captions = [rank([(cosine(k, t), (k, t) in pairs) for k in images]) for t in captions]
    return of_images, of_captions


@st.composite
def tables(draw: st.DrawFn) -> Embeddings:
    """Few images, captions and directions, so that repeats, shared captions and ties abound."""
    rows = draw(st.integers(1, 12))
    whole = st.lists(st.integers(-1, 2), min_size=3, max_size=3).filter(any)
    vectors = st.lists(whole, min_size=6, max_size=6)
    places = st.lists(st.integers(0, 5), min_size=rows, max_size=rows)
    image, spoken = draw(vectors), draw(vectors)
    key, text = draw(places), draw(places)
    words = ["" if t == 5 and rows > 1 and n else f"t{t}" for n, t in enumerate(text)]
    return embeddings([image[k] for k in key], [spoken[t] for t in text], words, [f"k{k}" for k in key])


@settings(max_examples=200, deadline=None)
@given(tables())
def test_every_metric_is_that_of_sorting_by_hand(data: Embeddings) -> None:
    report = retrieval_metrics(data, ks=(1, 2, 3), interval=NO_INTERVAL)
    for direction, ranks in zip(("image_to_text", "text_to_image"), brute(data), strict=True):
        assert report[direction]["queries"] == len(ranks)
        for k in (1, 2, 3):
            share = None if k >= report[direction]["gallery"] else pytest.approx(np.mean([r <= k for r in ranks]))
            assert value(report, direction, f"recall@{k}") == share
        assert value(report, direction, "median_rank") == np.median(ranks)


@pytest.mark.parametrize("tile", [1, 3, 16, 1000])
def test_tiles_do_not_show(tile: int) -> None:
    rng = np.random.default_rng(3)
    image, text = (rng.integers(-2, 3, size=(n, 4)).astype(np.float32) + 0.5 for n in (37, 53))
    true = np.unique(np.concatenate([np.arange(37) * 53 + np.arange(37), rng.integers(37, size=53) * 53 + np.arange(53)]))
    pair_image, pair_text = true // 53, true % 53
    exact = image.astype(np.float64), text.astype(np.float64)
    cosine = exact[0] @ exact[1].T / np.outer(*(np.linalg.norm(part, axis=1) for part in exact))
    right = np.zeros((37, 53), dtype=bool)
    right[pair_image, pair_text] = True
    best = np.where(right, cosine, -2)
    found = retrieval_ranks(image, text, pair_image, pair_text, tile)
    np.testing.assert_array_equal(found[0], 1 + (~right & (cosine >= best.max(1, keepdims=True) - 1e-6)).sum(1))
    np.testing.assert_array_equal(found[1], 1 + (~right & (cosine >= best.max(0) - 1e-6)).sum(0))


def noisy(groups: int, per_group: int, alike: bool) -> Embeddings:
    """Pairs whose noise is large for half of the groups (alike within a group) or for half of the images."""
    rng = np.random.default_rng(5)
    rows = groups * per_group
    image = rng.normal(size=(rows, 16))
    hard = np.repeat(rng.random(groups) < 0.5, per_group) if alike else rng.random(rows) < 0.5
    spoken = image + rng.normal(size=(rows, 16)) * np.where(hard, 8, 0.1)[:, None]
    names = [str(i) for i in range(rows)]
    return embeddings(image, spoken, names, names, [f"p{i // per_group}" for i in range(rows)])


def test_intervals_are_deterministic_and_hold_the_value() -> None:
    data = noisy(60, 2, alike=False)
    first, again = retrieval_metrics(data), retrieval_metrics(data)
    assert json.dumps(first, allow_nan=False) == json.dumps(again)
    assert first["groups"] == 60
    for direction in ("image_to_text", "text_to_image"):
        for metric in ("recall@1", "recall@5", "recall@10", "median_rank"):
            found = first[direction][metric]
            assert found["low"] <= found["value"] <= found["high"]
        assert first[direction]["recall@1"]["low"] < first[direction]["recall@1"]["high"]
    other, narrow = retrieval_metrics(data, interval=Interval(seed=1)), retrieval_metrics(data, interval=Interval(level=0.5))
    assert other["image_to_text"] != first["image_to_text"]
    width = [r["image_to_text"]["recall@1"]["high"] - r["image_to_text"]["recall@1"]["low"] for r in (narrow, first)]
    assert width[0] < width[1]


def test_queries_are_redrawn_by_group() -> None:
    data = noisy(100, 8, alike=True)
    found = retrieval_metrics(data, ks=(1,))["image_to_text"]["recall@1"]
    assert data.text_embedding is not None
    first = (data.image @ data.text_embedding.T).argmax(1) == np.arange(800)
    assert found["value"] == first.mean()
    rng = np.random.default_rng(11)  # an independent bootstrap of the 100 equal groups
    drawn = rng.choice(first.reshape(100, 8).mean(1), size=(4000, 100)).mean(1)
    np.testing.assert_allclose([found["low"], found["high"]], np.quantile(drawn, [0.025, 0.975]), atol=0.02)
    alone = retrieval_metrics(replace(data, group=data.sample_id), ks=(1,))
    lone = alone["image_to_text"]["recall@1"]
    assert lone["value"] == found["value"]
    assert lone["high"] - lone["low"] < 0.5 * (found["high"] - found["low"])


def test_a_caption_is_redrawn_with_the_group_of_its_image() -> None:
    # Image i has i + 1 captions, all of them right for the first 4 of 8 images and wrong for the rest: recall in a replicate
    # depends on which images, and so how many captions, were drawn.
    sizes = np.arange(1, 9)
    owner = np.repeat(np.arange(8), sizes)
    spoken = np.eye(8)[np.where(owner < 4, owner, 11 - owner)]
    report = retrieval_metrics(embeddings(np.eye(8)[owner], spoken, [f"t{n}" for n in range(36)], [f"i{o}" for o in owner]), (1,))
    found = report["text_to_image"]["recall@1"]
    assert found["value"] == pytest.approx(10 / 36)
    drawn = np.random.default_rng(7).integers(8, size=(20000, 8))
    shares = np.where(drawn < 4, sizes[drawn], 0).sum(1) / sizes[drawn].sum(1)
    np.testing.assert_allclose([found["low"], found["high"]], np.quantile(shares, [0.025, 0.975]), atol=0.04)


def test_the_median_of_redrawn_queries_is_the_median_of_the_repeated_ranks() -> None:
    from medzoo.evaluation.retrieval import _weighted

    rng = np.random.default_rng(2)
    ranks, weights = rng.integers(1, 9, size=15), rng.integers(0, 4, size=(50, 15))
    found = _weighted(ranks, [2], weights.astype(np.float64))
    for row, median, recall in zip(weights, found["median_rank"], found["recall@2"], strict=True):
        repeated = np.repeat(ranks, row)
        assert median == np.median(repeated)
        assert recall == pytest.approx((repeated <= 2).mean())


def test_one_group_has_no_interval() -> None:
    report = retrieval_metrics(embeddings(AXES, AXES, ["a", "b", "c"], list("xyz"), ["p"] * 3))
    reason = "1 groups, at least 5 are needed"
    assert report["text_to_image"]["recall@1"] == {"value": 1.0, "low": None, "high": None, "no_interval": reason}


def test_groups_that_share_an_image_are_joined() -> None:
    report = retrieval_metrics(
        embeddings(AXES[[0, 0, 1, 2]], AXES[[0, 0, 1, 2]], ["a", "b", "c", "d"], list("xxyz"), ["p", "q", "q", "r"]),
        interval=Interval(10),
    )
    assert (report["groups"], report["groups_joined"]) == (2, 1)


def test_what_cannot_be_scored_is_one_line() -> None:
    data = embeddings(AXES, AXES, ["a", "b", "c"], list("xyz"))
    with pytest.raises(EvaluationError, match="needs captions"):
        retrieval_metrics(embeddings(AXES, AXES, ["", "", ""], list("xyz")))
    for wrong in ((), (0, 1)):
        with pytest.raises(EvaluationError, match="every k at least 1"):
            retrieval_metrics(data, ks=wrong)
