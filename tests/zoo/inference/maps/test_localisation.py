"""The pointing game, boxes and curves by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medzoo.evaluation.bootstrap import Interval
from medzoo.inference.maps.explainer import class_explainer
from medzoo.inference.maps.faithfulness import STEPS, area, curves
from medzoo.inference.maps.localisation import Hits, box_around, found_boxes, mean_of, overlap, points_into
from tests.zoo.inference.maps.nets import Pixels, task_of


def mask(*places: tuple[slice, ...], size: tuple[int, ...] = (10, 10)) -> np.ndarray:
    found = np.zeros(size, bool)
    for place in places:
        found[place] = True
    return found


REGION = mask((slice(2, 5), slice(3, 7)))


def test_a_map_points_into_a_region_or_does_not() -> None:
    heat = np.zeros((10, 10), np.float32)
    heat[4, 6] = 1
    assert points_into(heat, REGION)
    heat[5, 6] = 2
    assert not points_into(heat, REGION)
    heat[5, 6] = np.nan  # never seen
    assert points_into(heat, REGION)
    assert not points_into(np.ones((10, 10), np.float32), REGION)
    assert not points_into(np.full((10, 10), np.nan, np.float32), REGION)
    level = np.zeros((10, 10), np.float32)
    level[:5, :5] = 1  # the middle is (2, 2); the first of them would be the corner
    assert points_into(level, mask((slice(2, 3), slice(2, 3))))


def test_boxes_stand_around_the_isolated_parts_at_both_cuts() -> None:
    heat = np.zeros((10, 10), np.float32)
    heat[1:3, 1:4] = 0.5  # above 60 of 255, below 180
    heat[6:9, 6:9] = 0.3
    heat[7, 7] = 1
    found = found_boxes(heat)
    assert [tuple((axis.start, axis.stop) for axis in box) for box in found] == [
        ((1, 3), (1, 4)), ((6, 9), (6, 9)), ((7, 8), (7, 8)),
    ]  # fmt: skip
    assert found_boxes(-heat) == []
    assert found_boxes(np.where(heat > 0.4, np.nan, heat).astype(np.float32))[0] == (slice(6, 9), slice(6, 9))


def test_overlaps_by_hand() -> None:
    found, marked = (slice(0, 4), slice(0, 5)), (slice(2, 6), slice(1, 7))
    assert overlap(found, marked) == (8 / (20 + 24 - 8), 8 / 20)
    assert overlap(found, (slice(4, 6), slice(0, 5))) == (0.0, 0.0)
    assert overlap((slice(0, 2),) * 3, (slice(1, 3),) * 3) == (1 / 15, 1 / 8)
    assert box_around(REGION) == (slice(2, 5), slice(3, 7))


def test_the_figures_of_a_class_by_hand() -> None:
    """Two images of two patients: one map is the region itself, one lies beside it with a box too many."""
    hits = Hits()
    hits.add(REGION.astype(np.float32), [REGION], "p1", True)
    beside = np.zeros((10, 10), np.float32)
    beside[8:10, 0:2] = 1
    hits.add(beside, [REGION], "p2", False)
    told = hits.described(Interval(replicates=0), "patient")
    assert (told["images"], told["regions"], told["called"], told["chance"]) == (2, 2, 1, pytest.approx(0.12))
    assert told["pointing_game"]["all"]["value"] == 0.5
    assert told["pointing_game"]["called"]["value"] == 1
    for kind in ("iou", "iobb"):
        for limit in ("0.1", "0.7"):
            assert told[kind][limit]["found"]["value"] == 0.5
            assert told[kind][limit]["further_boxes"] == 1  # two of one image: a box at each cut


def test_iobb_counts_what_lies_inside_and_iou_does_not() -> None:
    hits = Hits()
    hits.add(mask((slice(3, 4), slice(4, 5))).astype(np.float32), [REGION], "p", True)
    told = hits.described(Interval(replicates=0), "patient")
    assert told["iobb"]["0.7"]["found"]["value"] == 1
    assert told["iou"]["0.1"]["found"]["value"] == 0  # 1 of 12


def test_intervals_are_over_groups_and_refused_of_few() -> None:
    values = np.repeat([0.0, 1.0], 30)
    by_image = mean_of(values, [str(i) for i in range(60)], Interval(500), "patient")
    by_patient = mean_of(values, [str(i // 10) for i in range(60)], Interval(500), "patient")
    assert by_image["value"] == by_patient["value"] == 0.5
    assert by_patient["high"] - by_patient["low"] > 2 * (by_image["high"] - by_image["low"])
    few = mean_of(values, [str(i // 15) for i in range(60)], Interval(500), "patient")
    assert few["low"] is None
    assert "4 patient groups" in few["no_interval"]
    assert mean_of(np.array([]), [], Interval(), "patient")["value"] is None


def test_deletion_by_a_true_map_falls_at_once_and_insertion_rises() -> None:
    """The map of a network that reads grey ranks the white pixels first; a random one of as many cells does not."""
    task = task_of(Pixels(), (16, 16))
    image = np.zeros((16, 16, 1), np.uint8)
    image[4:8, 4:8] = 255
    explainer = class_explainer(task)
    inputs = explainer.inputs(image)

    def probability(changed: torch.Tensor) -> torch.Tensor:
        return (changed > 0.9).flatten(1).sum(dim=1) / 16  # of the white pixels, how many are there?

    found = curves(probability, inputs, explainer.map(image, "bright").cells, "s")
    assert len(found.deletion) == STEPS + 1
    assert found.deletion[0] == 1
    assert found.deletion[1] == pytest.approx(3 / 16)  # a twentieth of 256 pixels is 13 of them
    assert found.insertion[1] == pytest.approx(13 / 16)
    assert (found.deletion[2:] == 0).all()
    assert (found.insertion[2:] == 1).all()
    assert area(found.deletion) < 0.1 < 0.3 < area(found.random_deletion)
    assert area(found.insertion) > 0.9 > 0.7 > area(found.random_insertion)
    again = curves(probability, inputs, explainer.map(image, "bright").cells, "s")
    np.testing.assert_array_equal(found.random_deletion, again.random_deletion)
    other = curves(probability, inputs, explainer.map(image, "bright").cells, "s", seed=1)
    assert not np.array_equal(found.random_insertion, other.random_insertion)
    assert area(np.array([0.0, 1.0])) == 0.5
