"""Several modalities joined: what is missing says nothing, counts in no statistics, and disturbs no other sample."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medzoo.data.inputs import InputSpace
from medzoo.models.fusion.inputs import InputEncoder
from medzoo.models.fusion.join import JOINS
from medzoo.models.fusion.network import FusionNetwork

WIDTH = 16
SPACE = InputSpace(("age", "sex"), {"sex": ("female", "male")})


class Pixels(nn.Module):
    """An encoder with batch normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.out = nn.BatchNorm2d(1), nn.Linear(16, WIDTH)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.out(self.norm(images).flatten(1))
        return found


def network(join: str) -> FusionNetwork:
    torch.manual_seed(0)
    inputs = InputEncoder(SPACE, [50.0, 0.0], [10.0, 1.0], WIDTH)
    return FusionNetwork({"left": Pixels(), "right": Pixels()}, inputs, join, WIDTH, 3).eval()


def batch(rows: int = 6) -> tuple[dict, dict, torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    images = {name: torch.randn(rows, 1, 4, 4, generator=rng) for name in ("left", "right")}
    present = {"left": torch.tensor([1, 1, 0, 1, 0, 0]).bool(), "right": torch.tensor([1, 0, 1, 1, 0, 0]).bool()}
    present["inputs"] = torch.tensor([1, 1, 1, 0, 1, 0]).bool()
    values = torch.tensor([[60.0, 1], [torch.nan, 0], [40, torch.nan], [torch.nan] * 2, [50, 1], [torch.nan] * 2])
    return images, present, values


JOIN = pytest.mark.parametrize("join", sorted(JOINS))


@JOIN
def test_what_stands_in_place_of_a_missing_modality_changes_nothing(join: str) -> None:
    model, (images, present, values) = network(join), batch()
    expected = model(images, present, values)
    assert torch.isfinite(expected).all()  # the last sample has nothing at all
    for name in images:
        images[name][~present[name]] = 1e6
    other = values.clone()
    other[~present["inputs"]] = 7
    torch.testing.assert_close(model(images, present, other), expected, rtol=0, atol=0)
    assert len(torch.unique(expected, dim=0)) == 6  # each set of what is there has its own answer


@JOIN
def test_a_sample_is_the_same_whatever_it_shares_a_batch_with(join: str) -> None:
    model, (images, present, values) = network(join), batch()
    together = model(images, present, values)
    for row in range(6):
        part = slice(row, row + 1)
        alone = model({n: i[part] for n, i in images.items()}, {n: p[part] for n, p in present.items()}, values[part])
        torch.testing.assert_close(alone, together[part], rtol=1e-5, atol=1e-6)


def test_batch_statistics_are_of_the_images_that_are_there() -> None:
    model, (images, present, values) = network("concat").train(), batch()
    images["left"][~present["left"]] = 1e6
    model(images, present, values)
    encoder = model.encoders["left"]
    assert isinstance(encoder, Pixels)
    seen = images["left"][present["left"]]
    torch.testing.assert_close(encoder.norm.running_mean, 0.1 * seen.mean().reshape(1))
    # Of one image that is there, and of none.
    for mask in ([0, 0, 0, 1, 0, 0], [0] * 6):
        out = model(images, {**present, "left": torch.tensor(mask).bool()}, values)
        assert torch.isfinite(out).all()
        out.sum().backward()


def test_views_of_one_image_are_averaged() -> None:
    model, (images, present, values) = network("attention"), batch()
    views = torch.stack([images["left"], images["right"]], dim=1)
    mask = torch.tensor([[1, 1], [1, 0], [0, 1], [0, 0], [1, 1], [0, 0]]).bool()
    found = model.encoded({"left": views}, {"left": mask, "right": present["right"]}, lambda name, image: image)["left"]
    one, two = (model.encoders["left"](images[name]) for name in ("left", "right"))
    torch.testing.assert_close(found[0], (one[0] + two[0]) / 2, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found[1], one[1], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found[2], two[2], rtol=1e-5, atol=1e-6)
    assert (found[3] == 0).all()
    both = model({"left": views, "right": images["right"]}, {**present, "left": mask}, values)
    assert both.shape == (6, 3)


def test_values_are_standardised_and_words_are_embedded() -> None:
    torch.manual_seed(0)
    encoder = InputEncoder(SPACE, [50.0, 0.0], [10.0, 1.0], WIDTH)
    plain = InputEncoder(SPACE, [0.0, 0.0], [1.0, 1.0], WIDTH)
    plain.load_state_dict(encoder.state_dict())  # mean and spread are the spec's, not the weights'
    torch.testing.assert_close(encoder(torch.tensor([[70.0, 1.0]])), plain(torch.tensor([[2.0, 1.0]])))
    rows = torch.tensor([[50.0, 0], [50.0, 1], [50.0, torch.nan], [torch.nan, 0], [torch.nan, torch.nan], [51, 0]])
    assert len(torch.unique(encoder(rows), dim=0)) == 6
    encoder(rows).sum().backward()
    assert all(parameter.grad is not None and torch.isfinite(parameter.grad).all() for parameter in encoder.parameters())
