"""Colours of a batch change as worked out pixel by pixel, by Python's own colorsys."""

from __future__ import annotations

import colorsys

import pytest
import torch

from medzoo.data.samples.colour_batch import PHASES, brighter, contrasted, saturated, turned_hue

# Grey, black, white, two channels alike (at the top and at the bottom), pure colours, and some others.
COLOURS = [
    (0.3, 0.3, 0.3), (0, 0, 0), (1, 1, 1), (0.8, 0.8, 0.1), (0.1, 0.8, 0.8), (0.8, 0.1, 0.8), (0.2, 0.2, 0.9), (0.9, 0.2, 0.2),
    (1, 0, 0), (0, 1, 0), (0, 0, 1), (0.7, 0.4, 0.35), (0.35, 0.7, 0.4), (0.4, 0.35, 0.7), (0.5, 0.502, 0.5), (0.99, 0.01, 0.5),
]  # fmt: skip


def image_of(colours: list[tuple[float, ...]]) -> torch.Tensor:
    return torch.tensor(colours, dtype=torch.float32).T.reshape(1, 3, 1, -1)


@pytest.mark.parametrize("share", [0.0, 0.03, -0.03, 0.25, -0.4, 0.5, 1.0])
def test_a_hue_turns_as_in_hsv(share: float) -> None:
    expected = []
    for colour in COLOURS:
        hue, saturation, value = colorsys.rgb_to_hsv(*colour)
        expected.append(colorsys.hsv_to_rgb((hue + share) % 1, saturation, value))
    phases = torch.tensor([6 * share + phase for phase in PHASES]).reshape(1, 3, 1, 1)
    images = image_of(COLOURS)
    torch.testing.assert_close(turned_hue(images, phases), image_of(expected), atol=2e-6, rtol=0)
    assert torch.equal(images, image_of(COLOURS))


@pytest.mark.parametrize("factor", [0.0, 0.7, 1.0, 1.8])
def test_light_and_saturation_move_away_from_what_they_are_of(factor: float) -> None:
    grey = [0.299 * r + 0.587 * g + 0.114 * b for r, g, b in COLOURS]
    mean = sum(grey) / len(grey)

    def away(others: list[float]) -> torch.Tensor:
        moved = [tuple(other + factor * (v - other) for v in colour) for colour, other in zip(COLOURS, others, strict=True)]
        return image_of(moved).clamp(0, 1)

    given = torch.full((1, 1, 1, 1), factor)
    torch.testing.assert_close(brighter(image_of(COLOURS), given), away([0.0] * len(COLOURS)))
    torch.testing.assert_close(contrasted(image_of(COLOURS), given), away([mean] * len(COLOURS)))
    torch.testing.assert_close(saturated(image_of(COLOURS), given), away(grey))


def test_each_image_has_its_own_mean_and_amount() -> None:
    images = torch.stack([torch.full((3, 2, 2), 0.2), torch.full((3, 2, 2), 0.6)])
    images[:, :, 0] += 0.1
    changed = contrasted(images, torch.tensor([0.0, 2.0]).reshape(2, 1, 1, 1))
    torch.testing.assert_close(changed[0], torch.full((3, 2, 2), 0.25))
    torch.testing.assert_close(changed[1, 0], torch.tensor([[0.75, 0.75], [0.55, 0.55]]))
