"""Concepts that may look at a part of the image alone: by hand, where each place is a pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.labels import ConceptSpace, LabelSpace
from medzoo.data.samples.preprocess import Preprocess
from medzoo.inference.maps.explainer import concept_explainer
from medzoo.inference.maps.regions import box_mask, look_again, look_past, painted_over
from medzoo.models.heads.bottleneck import BottleneckNetwork
from medzoo.models.places import NotLinearError
from medzoo.models.registry import create_model
from medzoo.store.spec import ModelSpec
from medzoo.tasks.bottleneck import Bottleneck
from tests.zoo.inference.maps.nets import Pixels


def bottleneck(backbone: nn.Module | None = None, size: tuple[int, int] = (8, 8), features: int | None = None) -> Bottleneck:
    """Return a bottleneck whose concepts are `dark` and `bright`, logits 0.25 − 4 g and 4 g − 0.5 of the mean grey g."""
    torch.manual_seed(0)
    network = BottleneckNetwork(backbone or Pixels(), concepts=2, outputs=2, kind="soft", features=features)
    objective = {
        "classes": {"loss": "cross_entropy"}, "regime": "sequential", "kind": "soft", "concepts": ["dark", "bright"],
        "residual": features is not None, "penalty": 1.0,
    }  # fmt: skip
    labels, preprocess = LabelSpace("multiclass", ("a", "b")), Preprocess(size, channels=1, mean=(0.0,), std=(1.0,))
    spec = ModelSpec(
        "cbm", "bottleneck", "by_hand", preprocess, labels,
        ConceptSpace(("dark", "bright")), objective=objective,
    )  # fmt: skip
    return Bottleneck(spec, network).eval()


IMAGE = np.zeros((8, 8, 1), np.uint8)
IMAGE[1:3, 4:7] = 255  # 6 of 64 pixels


def test_a_concept_says_of_what_is_left_what_it_says_of_it_alone() -> None:
    task, box = bottleneck(), box_mask([4, 1, 3, 2], (8, 8))
    found = look_again(task, IMAGE, ~box)
    np.testing.assert_allclose(found.concept_logits["before"], [0.25 - 4 * 6 / 64, 4 * 6 / 64 - 0.5], atol=1e-6)
    np.testing.assert_allclose(found.concept_logits["after"], [0.25, -0.5], atol=1e-6)
    within = look_again(task, IMAGE, box)
    np.testing.assert_allclose(within.concept_logits["after"], [-3.75, 3.5], atol=1e-6)
    odds = 1 / (1 + np.exp(-within.concept_logits["after"]))
    np.testing.assert_allclose(within.concepts["after"], odds, atol=1e-6)
    by_hand = task.model.head(torch.from_numpy(odds)).detach().numpy()
    np.testing.assert_allclose(within.logits["after"], by_hand, atol=1e-6)


def test_before_is_what_the_model_predicts_and_others_stay_as_they_were() -> None:
    task = bottleneck(features=2)
    nn.init.normal_(task.model.residual.weight)  # type: ignore[union-attr]
    said = task.predict({"image": torch.from_numpy(IMAGE).movedim(-1, 0)[None]})
    found = look_again(task, IMAGE, ~box_mask([4, 1, 3, 2], (8, 8)), ["bright"])
    np.testing.assert_allclose(found.logits["before"], said["logits"][0], atol=1e-6)
    np.testing.assert_allclose(found.concept_logits["before"], said["concept_logits"][0], atol=1e-6)
    assert found.concept_logits["after"][0] == pytest.approx(found.concept_logits["before"][0], abs=1e-6)
    assert found.concept_logits["after"][1] == pytest.approx(-0.5, abs=1e-6)


def test_what_is_painted_over_was_never_seen() -> None:
    task, box = bottleneck(features=2), box_mask([3, 0, 5, 4], (8, 8))  # a pixel wider than what is bright
    nn.init.normal_(task.model.residual.weight)  # type: ignore[union-attr]
    found = look_past(task, IMAGE, box)
    np.testing.assert_allclose(found.concept_logits["before"], [0.25 - 4 * 6 / 64, 4 * 6 / 64 - 0.5], atol=1e-6)
    np.testing.assert_allclose(found.concept_logits["after"], [0.25, -0.5], atol=1e-6)
    dark = task.predict({"image": torch.zeros(1, 1, 8, 8, dtype=torch.uint8)})
    np.testing.assert_allclose(found.logits["after"], dark["logits"][0], atol=1e-6)
    one = look_past(task, IMAGE, box, ["bright"])
    assert one.concept_logits["after"] == pytest.approx([found.concept_logits["before"][0], -0.5], abs=1e-6)
    same = look_past(task, IMAGE, np.zeros((8, 8), bool))
    np.testing.assert_allclose(same.logits["after"], same.logits["before"], atol=1e-6)
    vit = create_model("test_vit", outputs=2, channels=1, size=(32, 32))  # whose concepts have no exact map
    assert look_past(bottleneck(vit, (32, 32)), np.zeros((32, 32, 1), np.uint8), np.eye(32) > 0).logits["after"].shape == (2,)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("shape", [(12, 12, 1), (12, 12, 3), (4, 12, 12, 1)])
def test_a_region_is_filled_from_around_it_and_the_rest_stays(shape: tuple[int, ...], dtype: type) -> None:
    steps = np.arange(12, dtype=np.float64) * (20 if dtype is np.uint8 else 1 / 11)  # brighter from left to right
    clean = np.broadcast_to(steps[:, None], shape).astype(dtype)
    region = np.zeros(shape[:-1], bool)
    region[..., 4:7, 4:7] = True
    pixels = clean.copy()
    pixels[region] = 0
    given = pixels.copy()
    filled = painted_over(pixels, region)
    np.testing.assert_array_equal(pixels, given)
    np.testing.assert_array_equal(filled[~region], clean[~region])
    assert filled.dtype == dtype
    assert np.abs(filled[region].astype(float) - clean[region]).max() <= 0.1 * clean.max()


def test_a_concepts_map_is_exact_though_the_class_is_not_linear_in_it() -> None:
    explainer = concept_explainer(bottleneck())
    found = explainer.map(IMAGE, "bright")
    assert explainer.method == "cam"
    np.testing.assert_allclose(found.image, 4 * (IMAGE[..., 0] / 255), atol=1e-6)
    assert found.cells.mean() + found.bias == pytest.approx(found.output, abs=1e-5)


def test_what_cannot_be_is_refused() -> None:
    task = bottleneck()
    with pytest.raises(ConfigError, match="nothing is left of the 8x8 places"):
        look_again(task, IMAGE, np.zeros((8, 8), bool))
    with pytest.raises(ConfigError, match=r"the mask is of \[4, 8\] pixels, the image of \[8, 8\]"):
        look_again(task, IMAGE, np.ones((4, 8), bool))
    with pytest.raises(ConfigError, match="nothing is left to paint it over with"):
        look_past(task, IMAGE, np.ones((8, 8), bool))
    with pytest.raises(ConfigError, match=r"the mask is of \[4, 8\] pixels"):
        look_past(task, IMAGE, np.ones((4, 8), bool))
    with pytest.raises(UnknownNameError, match="'bright'"):
        look_past(task, IMAGE, IMAGE[..., 0] > 0, ["brigt"])
    with pytest.raises(UnknownNameError, match="'bright'"):
        look_again(task, IMAGE, np.ones((8, 8), bool), ["brigt"])
    with pytest.raises(ConfigError, match=r"\[x, y, z, width, height, depth\], not 4 numbers"):
        box_mask([1, 1, 2, 2], (8, 8, 8))
    vit = create_model("test_vit", outputs=2, channels=1, size=(32, 32))
    with pytest.raises(NotLinearError, match="plain mean"):
        look_again(bottleneck(vit, (32, 32)), np.zeros((32, 32, 1), np.uint8), np.ones((32, 32), bool))
    assert box_mask([1, 2, 3, 4, 1, 2], (8, 8, 8)).sum() == 8
