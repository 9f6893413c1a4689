"""The contrast of several prototypes a concept: against a plain loop, by hand, and what is missing."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from medzoo.losses.prototypes import prototype_contrast


def drawn(images: int = 6, concepts: int = 3, each: int = 4, width: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    made = torch.Generator().manual_seed(0)
    vectors = F.normalize(torch.randn(images, concepts, width, generator=made, dtype=torch.float64), dim=2)
    prototypes = F.normalize(torch.randn(concepts, each, width, generator=made, dtype=torch.float64), dim=2)
    truth = (torch.rand(images, concepts, generator=made) < 0.5).double()
    truth[1, 0], truth[4] = torch.nan, torch.nan
    return vectors, prototypes, truth


def test_mixed_precision_rounds_no_cosine() -> None:
    vectors, prototypes, truth = (part.float() for part in drawn())
    with torch.autocast("cpu", torch.bfloat16):
        mixed, _ = prototype_contrast(vectors, prototypes, truth)
    assert torch.equal(mixed, prototype_contrast(vectors, prototypes, truth)[0])


@pytest.mark.parametrize(("temperature", "assignment", "margin"), [(0.05, 0.1, 0.01), (0.5, 1.0, 0.3)])
def test_it_is_what_a_loop_over_vectors_says(temperature: float, assignment: float, margin: float) -> None:
    vectors, prototypes, truth = drawn()
    losses = []
    for image, row in enumerate(truth.numpy()):
        for concept in np.flatnonzero(row == 1):
            nearness = []
            for other, own in enumerate(prototypes.numpy()):
                cosines = own @ vectors[image, concept].numpy()
                weights = np.exp(cosines / assignment)
                nearness.append((weights * cosines).sum() / weights.sum() - (margin if other == concept else 0))
            logits = np.exp(np.array(nearness) / temperature)
            losses.append(-math.log(logits[concept] / logits.sum()))
    mean, count = prototype_contrast(vectors, prototypes, truth, temperature=temperature, assignment=assignment, margin=margin)
    assert int(count) == len(losses) == int((truth == 1).sum())
    assert float(mean) == pytest.approx(np.mean(losses), rel=1e-9)


def test_by_hand_of_two_concepts_of_one_prototype() -> None:
    """Cosines 1 with the own and 0 with the other: log(1 + exp(-(1 - δ) / τ))."""
    vectors, prototypes = torch.eye(2)[None], torch.eye(2)[:, None]
    mean, count = prototype_contrast(vectors, prototypes, torch.ones(1, 2), temperature=0.5, margin=0.25)
    assert int(count) == 2
    assert float(mean) == pytest.approx(math.log1p(math.exp(-0.75 / 0.5)), rel=1e-6)


def test_of_nothing_it_is_0_and_so_is_its_gradient() -> None:
    vectors, prototypes, truth = drawn()
    prototypes.requires_grad_()
    for empty in (torch.zeros_like(truth), torch.full_like(truth, torch.nan)):
        mean, count = prototype_contrast(vectors, prototypes, empty)
        assert (float(mean.detach()), float(count)) == (0.0, 0.0)
        mean.backward()
        assert float(prototypes.grad.abs().max()) == 0.0
