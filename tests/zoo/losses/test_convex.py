"""A loss as a problem with a solution is the same sum: `medzoo.losses.masked` is the oracle."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from medzoo.data.labels import LabelSpace
from medzoo.losses.convex import SOLVED, as_convex
from medzoo.losses.objective import LOSSES, Objective
from medzoo.models.heads.linear_layer import _loss
from medzoo.models.heads.ordinal import CornLink

NAMES = ("a", "b", "c", "d")
CASES = {
    "cross_entropy": ("multiclass", {}),
    "smoothed": ("multiclass", {"label_smoothing": 0.1}),
    "weighted": ("ordinal", {"class_weights": (0.5, 1.0, 2.0, 3.0), "label_smoothing": 0.1}),
    "corn": ("ordinal", {"loss": "corn"}),
    "weighted corn": ("ordinal", {"loss": "corn", "class_weights": (0.5, 1.0, 2.0, 3.0)}),
    "binary_cross_entropy": ("multilabel", {}),
    "positives": ("multilabel", {"positive_weights": (1.0, 2.0, 5.0, 0.5), "label_smoothing": 0.2}),
    "squared_error": ("regression", {"mean": (1.0, -2.0, 0.0, 3.0), "std": (2.0, 0.5, 1.0, 4.0)}),
}


def case(name: str, soft: bool) -> tuple[Objective, LabelSpace, torch.Tensor]:
    kind, given = CASES[name]
    generator = torch.Generator().manual_seed(3)
    targets = F.one_hot(torch.randint(4, (12,), generator=generator), 4).double()
    if kind in ("multilabel", "regression"):
        targets = torch.rand(12, 4, generator=generator).double()
        targets = targets.round() if kind == "multilabel" and not soft else targets
        targets[torch.rand(12, 4, generator=generator) < 0.3] = torch.nan
    elif soft:
        targets = torch.rand(12, 4, generator=generator).double().softmax(1)
    targets[5] = torch.nan
    labels = LabelSpace(kind=kind, names=NAMES)
    return Objective(**{"loss": next(iter(LOSSES[kind])) if kind != "regression" else "squared_error", **given}), labels, targets


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_the_problem_is_the_masked_loss_times_what_it_is_over(name: str, soft: bool) -> None:
    objective, labels, targets = case(name, soft)
    outputs = torch.randn(12, objective.outputs(labels), generator=torch.Generator().manual_seed(4)).double()
    answers = CornLink()(outputs) if objective.loss == "corn" else outputs
    if objective.mean is not None:
        answers = outputs * torch.tensor(objective.std) + torch.tensor(objective.mean)
    mean, count = objective.function(labels)(answers, targets)
    problem = as_convex(objective, labels, targets)
    rows = ~problem.targets.isnan().all(dim=1)
    weights = torch.ones_like(problem.targets) if problem.weights is None else problem.weights
    seen = (~problem.targets.isnan()).double() * weights
    found = _loss(outputs[rows], problem.targets[rows].nan_to_num(0.0), seen[rows], problem.kind)
    expected = mean * count / (2 if objective.loss == "squared_error" else 1)  # half the squared error is minimised
    torch.testing.assert_close(found, expected.double(), rtol=1e-6, atol=1e-9)


def test_the_names_are_losses_and_the_default_of_every_kind_but_quantities_is_among_them() -> None:
    assert set(SOLVED) <= {name for known in LOSSES.values() for name in known}
    assert [kind for kind, known in LOSSES.items() if next(iter(known)) not in SOLVED] == ["regression"]
