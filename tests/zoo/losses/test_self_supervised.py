"""Objectives without labels: worked by hand, and by loops that know nothing of the code."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from medzoo.losses.self_supervised import masked_pixels, nt_xent, self_distillation


@pytest.mark.parametrize("count", [2, 3, 8])
def test_equal_similarities_are_the_logarithm_of_how_many_others_there_are(count):
    views = F.normalize(torch.ones(count, 5), dim=1)
    assert float(nt_xent(views, views, 0.3)) == pytest.approx(math.log(2 * count - 1), abs=1e-6)


def test_nt_xent_is_equation_1_of_the_paper():
    generator = torch.Generator().manual_seed(1)
    first, second = (F.normalize(torch.randn(4, 6, generator=generator), dim=1) for _ in range(2))
    views, total = [*first.double(), *second.double()], 0.0
    for i, anchor in enumerate(views):
        partner = (i + 4) % 8
        against = sum(math.exp(float(anchor @ other) / 0.2) for k, other in enumerate(views) if k != i)
        total -= math.log(math.exp(float(anchor @ views[partner]) / 0.2) / against)
    assert float(nt_xent(first, second, 0.2)) == pytest.approx(total / 8, rel=1e-5)


def test_mixed_precision_rounds_no_similarity():
    first, second = (F.normalize(torch.randn(9, 6, generator=torch.Generator().manual_seed(seed)), dim=1) for seed in (0, 1))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = nt_xent(first, second, 0.05)
    assert torch.equal(mixed, nt_xent(first, second, 0.05))


def test_views_that_find_each_other_cost_nothing():
    far = torch.eye(6)[:3]
    assert float(nt_xent(far, far, 0.01)) < 1e-6
    assert float(nt_xent(far, far.roll(1, 0), 0.01)) > 50


def test_self_distillation_by_hand():
    # The teacher says 3 : 1 of the first view and 1 : 1 of the second, at temperature 1 and a center of 0.
    teacher = (torch.log(torch.tensor([[3.0, 1.0]])), torch.zeros(1, 2))
    student = (torch.log(torch.tensor([[1.0, 1.0]])), torch.log(torch.tensor([[4.0, 1.0]])))
    first = -(0.75 * math.log(0.8) + 0.25 * math.log(0.2))  # its view 1 against the student's view 2
    second = -(0.5 * math.log(0.5) + 0.5 * math.log(0.5))
    loss = self_distillation(student, teacher, torch.zeros(2), (1.0, 1.0))
    assert float(loss) == pytest.approx((first + second) / 2, abs=1e-6)
    centered = self_distillation(student, teacher, torch.log(torch.tensor([3.0, 1.0])), (1.0, 1.0))
    assert float(centered) != pytest.approx(float(loss), abs=1e-3)


def test_crops_are_said_by_the_student_alone_as_equation_3_of_dino_counts_them():
    generator = torch.Generator().manual_seed(3)
    student = [torch.randn(5, 4, generator=generator) for _ in range(5)]
    teacher = [torch.randn(5, 4, generator=generator) for _ in range(2)]
    center, total, terms = torch.randn(4, generator=generator), 0.0, 0
    for t, view in enumerate(teacher):
        for s, said in enumerate(student):
            if s != t:
                wanted = ((view - center) / 0.04).softmax(dim=1)
                total, terms = total + float(F.cross_entropy(said / 0.1, wanted)), terms + 1
    assert terms == 8
    assert float(self_distillation(student, teacher, center, (0.1, 0.04))) == pytest.approx(total / 8, rel=1e-5)


def test_hidden_patches_alone_count_each_by_its_own_scale():
    generator = torch.Generator().manual_seed(2)
    patches = torch.rand(2, 4, 9, generator=generator)
    hidden = torch.tensor([[1.0, 0, 0, 1], [0, 1, 0, 0]])
    wanted = (patches - patches.mean(2, keepdim=True)) / (patches.var(2, keepdim=True) + 1e-6).sqrt()
    assert float(masked_pixels(wanted, patches, hidden)) == pytest.approx(0, abs=1e-10)
    wrong = wanted.clone()
    wrong[0, 1] += 100  # seen: nobody asks
    assert float(masked_pixels(wrong, patches, hidden)) == pytest.approx(0, abs=1e-10)
    wrong[0, 3] += 3
    assert float(masked_pixels(wrong, patches, hidden)) == pytest.approx(9 / 3, rel=1e-5)
