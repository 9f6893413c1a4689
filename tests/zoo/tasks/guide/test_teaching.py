"""What is learnt from a teacher: Hinton's distance, pseudo-labels, and a loss in which batches add up."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medzoo.data.labels import LabelSpace
from medzoo.losses.objective import Objective
from medzoo.tasks.guide.loss import Guide
from medzoo.tasks.guide.teaching import Held, Teaching, distilled, filled, matched

CLASSES = LabelSpace("multiclass", ("a", "b", "c"))
FINDINGS = LabelSpace("multilabel", ("a", "b", "c"))


class Fixed(nn.Module):
    """A teacher that says what is in the image."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.zeros(1))

    def predict(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        logits = batch["image"]
        return {"logits": logits, "probabilities": logits.softmax(dim=1)}

    def features(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return 3 * batch["image"] + 1


def drawn(rows: int, seed: int) -> torch.Tensor:
    return torch.randn(rows, 3, generator=torch.Generator().manual_seed(seed))


def test_the_distance_is_hintons_with_its_factor() -> None:
    ours, theirs = drawn(5, 0), drawn(5, 1)
    kl = nn.functional.kl_div((ours / 4).log_softmax(dim=1), (theirs / 4).softmax(dim=1), reduction="batchmean")
    assert torch.allclose(distilled(ours, theirs, CLASSES, 4.0), 16 * kl, rtol=1e-5)
    assert distilled(theirs, theirs, CLASSES, 4.0).abs() < 1e-6
    # At a high temperature the gradient is that of half the squared distance of centred logits, a class (their section 2.1).
    ours.requires_grad_()
    (3 * distilled(ours, theirs, CLASSES, 1e3)).backward()
    centred = [one - one.mean(dim=1, keepdim=True) for one in (ours.detach(), theirs)]
    assert ours.grad is not None
    assert torch.allclose(ours.grad, (centred[0] - centred[1]) / 5, atol=2e-3)


def test_the_distance_of_findings_is_that_of_each_as_two_classes() -> None:
    ours, theirs = drawn(5, 0), drawn(5, 1)
    pairs = [torch.stack([one.flatten(), torch.zeros(15)], dim=1) for one in (ours, theirs)]
    assert torch.allclose(distilled(ours, theirs, FINDINGS, 2.0), distilled(*pairs, CLASSES, 2.0), rtol=1e-5)


def test_features_are_matched_whatever_their_scale() -> None:
    aims = drawn(4, 2)
    assert matched(nn.functional.layer_norm(aims, (3,)), 7 * aims + 5) < 1e-6
    assert matched(torch.zeros(4, 3), aims) == pytest.approx(1, abs=1e-3)


def test_a_sure_teacher_answers_for_missing_labels_alone() -> None:
    nan = float("nan")
    targets = torch.tensor([[1.0, 0, 0], [nan, nan, nan], [nan, nan, nan]])
    probabilities = torch.tensor([[0.0, 0.9, 0.1], [0.05, 0.9, 0.05], [0.4, 0.3, 0.3]])
    found = filled(targets, probabilities, CLASSES, 0.8)
    assert torch.equal(found[:2], torch.tensor([[1.0, 0, 0], [0, 1, 0]]))
    assert found[2].isnan().all()
    marks = filled(torch.tensor([[nan, nan, 0.0]]), torch.tensor([[0.95, 0.02, 0.99]]), FINDINGS, 0.9)
    assert marks.tolist() == [[1.0, 0.0, 0.0]]
    assert filled(torch.full((1, 3), nan), torch.full((1, 3), 0.5), FINDINGS, 0.9).isnan().all()


def guide(weight: float, features: float = 0.0, threshold: float | None = None) -> tuple[Guide, Objective]:
    objective = Objective("cross_entropy")
    projection = nn.Linear(2, 3) if features else None
    teaching = Teaching(Held(Fixed()), weight, 2.0, features, threshold)  # type: ignore[arg-type]
    return Guide(CLASSES, objective, teaching, projection), objective


def test_unlabelled_samples_learn_from_the_teacher_alone_and_batches_add_up() -> None:
    led, objective = guide(0.3, features=0.5)
    loss, outputs, aims, features = objective.function(CLASSES), drawn(6, 0), drawn(6, 1), torch.randn(6, 2)
    targets = torch.eye(3)[[0, 1, 2, 0, 1, 2]]
    targets[3:] = float("nan")

    def of(rows: slice) -> tuple[torch.Tensor, torch.Tensor]:
        return led(loss, outputs[rows], features[rows], {"target": targets[rows], "image": aims[rows]})

    whole, count = of(slice(0, 6))
    parts = [of(slice(0, 4)), of(slice(4, 6))]
    assert count == 6
    assert torch.allclose(whole, sum(mean * over for mean, over in parts) / 6, rtol=1e-5)
    labelled = nn.functional.cross_entropy(outputs[:3], targets[:3], reduction="sum") / 6
    expected = 0.7 * labelled + 0.3 * distilled(outputs, aims, CLASSES, 2.0)
    expected = expected + 0.5 * matched(led.projection(features), 3 * aims + 1)
    assert torch.allclose(whole, expected, rtol=1e-5)


def test_pseudo_labels_alone_are_labels() -> None:
    led, objective = guide(0.0, threshold=0.6)
    loss, outputs, aims = objective.function(CLASSES), drawn(6, 0), 9 * drawn(6, 1)
    targets = torch.full((6, 3), float("nan"))
    sure = aims.softmax(dim=1).amax(dim=1) >= 0.6
    assert sure.any()
    found, _ = led(loss, outputs, None, {"target": targets, "image": aims})
    answer = nn.functional.cross_entropy(outputs[sure], aims.argmax(dim=1)[sure], reduction="sum") / 6
    assert torch.allclose(found, answer, rtol=1e-5)


def test_a_teacher_is_neither_copied_nor_saved() -> None:
    from copy import deepcopy

    led, _ = guide(0.5, features=1.0)
    again = deepcopy(led)
    assert again.teaching is not None
    assert led.teaching is not None
    assert again.teaching.held.task is led.teaching.held.task
    assert set(led.state_dict()) == {"projection.weight", "projection.bias"}
    assert not any(parameter.requires_grad for parameter in led.teaching.held.task.parameters())


@pytest.mark.parametrize("labels", [CLASSES, FINDINGS, LabelSpace("regression", ("a", "b", "c"))])
def test_a_sample_of_weight_three_is_taught_three_times(labels: LabelSpace) -> None:
    name = {"multilabel": "binary_cross_entropy", "regression": "squared_error"}.get(labels.kind, "cross_entropy")
    objective = Objective(name, std=(0.5, 2.0, 1.0), mean=(0.0,) * 3) if labels.kind == "regression" else Objective(name)
    teaching = Teaching(Held(Fixed()), 0.5, 2.0, 0.4, None)  # type: ignore[arg-type]
    led = Guide(labels, objective, teaching, nn.Linear(2, 3))
    loss, outputs, aims, features = objective.function(labels), drawn(4, 0), drawn(4, 1), torch.randn(4, 2)
    targets, weights = torch.eye(3)[[0, 1, 2, 0]], torch.tensor([1.0, 3.0, 1.0, 2.0])
    targets[3] = float("nan")
    rows = torch.arange(4).repeat_interleave(weights.long())
    found, count = led(loss, outputs, features, {"target": targets, "image": aims, "weight": weights})
    wanted, over = led(loss, outputs[rows], features[rows], {"target": targets[rows], "image": aims[rows]})
    assert torch.allclose(found, wanted, rtol=1e-5)
    assert count == over == 7
