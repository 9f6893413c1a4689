"""Prototypes by hand, where each place is a pixel: maps, scores, corrections, places that do not count, local vectors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from medzoo.data.errors import ConfigError
from medzoo.models.backbones.slices import SliceNetwork
from medzoo.models.heads.prototypes import PrototypeNetwork, require_places
from medzoo.models.registry import create_model
from tests.zoo.inference.maps.nets import Pixels

BLANK = torch.zeros(1, 1, 4, 4)
IMAGE = torch.zeros(1, 1, 4, 4)
IMAGE[0, 0, 1, 2], IMAGE[0, 0, 3, 0] = 1.0, 0.5


def by_hand() -> PrototypeNetwork:
    """Two features a pixel, its grey g and 1 - g, projected as they are; two concepts of two prototypes each.

    A place's direction is (g, 1 - g) / its length: (0, 1) where it is black, (1, 0) where it is white, (1, 1) / √2 between.
    """
    torch.manual_seed(0)
    backbone = Pixels()
    made = PrototypeNetwork(
        backbone, require_places(backbone, BLANK), concepts=2, outputs=3, features=2, prototypes=2, width=2
    ).eval()
    with torch.no_grad():
        for layer in (made.projector[0], made.projector[2]):
            layer.weight.copy_(torch.eye(2))
            layer.bias.zero_()
        made.prototypes.copy_(torch.tensor([[[0.0, 3.0], [2.0, 2.0]], [[5.0, 0.0], [-1.0, 0.0]]]))
        made.low.copy_(torch.tensor([0.1, 0.2, 0.3, 0.4]))
        made.high.copy_(torch.tensor([1.0, 0.9, 0.8, 0.7]))
    return made


HALF = 0.5**0.5


def test_similarity_maps_and_scores_by_hand() -> None:
    made = by_hand()
    logits, places = made.concepts_and_places(IMAGE)
    grey = 1.5 / 16
    torch.testing.assert_close(logits, torch.tensor([[0.25 - 4 * grey, 4 * grey - 0.5]]))
    maps = made.similarities(places)
    assert maps.shape == (1, 2, 2, 4, 4)
    white, half, black = (maps[0, :, :, y, x].flatten() for y, x in ((1, 2), (3, 0), (0, 0)))
    torch.testing.assert_close(white, torch.tensor([0.0, HALF, 1.0, -1.0]))
    torch.testing.assert_close(half, torch.tensor([HALF, 1.0, HALF, -HALF]))
    torch.testing.assert_close(black, torch.tensor([1.0, HALF, 0.0, 0.0]))
    again, scores = made.concepts_and_features(IMAGE)
    torch.testing.assert_close(again, logits)
    torch.testing.assert_close(scores, torch.tensor([[1.0, 1.0, 1.0, 0.0]]))
    torch.testing.assert_close(made(IMAGE), made.head(scores))
    torch.testing.assert_close(made.parts(scores).sum(dim=1) + made.head.bias, made.head(scores))
    first = made.parts(scores)[:, 0]
    torch.testing.assert_close(first, scores[:, :2] @ made.head.weight[:, :2].T)


def test_places_that_do_not_count_are_not_looked_for() -> None:
    made = by_hand()
    _, places = made.concepts_and_places(IMAGE)
    counts = torch.ones(1, 2, 4, 4)
    counts[0, 1, 1, 2] = 0  # the second concept does not see the white pixel
    torch.testing.assert_close(made.beside(places, counts), torch.tensor([[1.0, 1.0, HALF, 0.0]]))
    counts[0, 1] = 0
    scores = made.beside(places, counts)
    torch.testing.assert_close(scores[:, :2], torch.tensor([[1.0, 1.0]]))
    assert scores[:, 2:].isnan().all()
    torch.testing.assert_close(made.beside(places, torch.ones(1, 2, 4, 4)), made.beside(places))


def test_a_correction_puts_all_scores_of_its_concept_on_their_scale_and_no_other() -> None:
    made = by_hand()
    logits, scores = made.concepts_and_features(torch.cat([IMAGE, BLANK]))
    values, mask = torch.tensor([[1.0, 0.5]]), torch.tensor([[0.0, 1.0]])
    by_value = torch.tensor([0.3 + 0.5 * 0.5, 0.4 + 0.5 * 0.3])
    wanted = torch.cat([scores[:, :2], by_value.expand(2, 2)], dim=1)
    torch.testing.assert_close(made.corrected(scores, values, mask), wanted)
    torch.testing.assert_close(made.classes(logits, scores, values, mask), made.head(wanted))
    torch.testing.assert_close(made.corrected(scores, torch.zeros(2, 2), torch.ones(2, 2)), made.low.expand(2, 4))
    assert torch.equal(made.classes(logits, scores, values, torch.zeros(1, 2)), made.classes(logits, scores))
    kept, own = made.kept_but(torch.tensor([False, True]), logits, scores)
    torch.testing.assert_close(kept, torch.stack([logits[0], torch.stack([logits[0, 0], logits[1, 1]])]))
    torch.testing.assert_close(own[1], torch.cat([scores[0, :2], scores[1, 2:]]))


def test_local_vectors_weigh_places_by_the_concepts_map() -> None:
    made = by_hand()
    _, places = made.concepts_and_places(IMAGE)
    grey = IMAGE.flatten()
    for concept, sign in enumerate((-4.0, 4.0)):
        weights = torch.exp(sign * grey) / torch.exp(sign * grey).sum()
        seen = (weights * grey).sum()
        torch.testing.assert_close(made.local_vectors(places)[0, concept], torch.stack([seen, 1 - seen]))


def test_only_directions_count() -> None:
    made, longer = by_hand(), by_hand()
    with torch.no_grad():
        longer.prototypes *= torch.tensor([[0.1], [7.0]])
    torch.testing.assert_close(longer.concepts_and_features(IMAGE)[1], made.concepts_and_features(IMAGE)[1])


class Pooled(nn.Module):
    """A network that says nothing of places."""

    def forward_features(self, images: Tensor) -> Tensor:
        return images.flatten(2).mean(dim=2)

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        return features


@pytest.mark.parametrize(
    ("backbone", "blank", "message"),
    [
        (Pooled, BLANK, "Pooled gives its features pooled already; take a backbone that averages them"),
        (lambda: create_model("test_vit", outputs=2, channels=1, size=(32, 32)), torch.zeros(1, 1, 32, 32), "plain mean"),
        (lambda: SliceNetwork(Pixels(), 0, "mean"), torch.zeros(1, 1, 3, 4, 4), "slices give their features pooled already"),
        (Pixels, torch.zeros(1, 1, 1, 1), "of 1x1 pixels this network tells one apart; raise model.preprocess.size"),
    ],
)
def test_a_backbone_without_places_is_refused(backbone: object, blank: Tensor, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        require_places(backbone(), blank)  # type: ignore[operator]
