"""What a gate asks beside the metric: that a reduced model calls the same, and as surely."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medzoo.data.labels import LabelSpace
from medzoo.evaluation.bootstrap import NO_INTERVAL
from medzoo.export.precision.gate import check_gate
from medzoo.export.settings import GateLimits

LOOSE = GateLimits(loss=1, kappa_loss=2, error_growth=10, agreement=0, probability_change=1, mean_change=10, overlap=0)


@pytest.mark.parametrize("factor", [20, 0.01])
@pytest.mark.parametrize("classes", [3, 10, pytest.param(390, marks=pytest.mark.slow)])
def test_scaled_logits_are_refused_however_many_classes(classes: int, factor: float) -> None:
    labels = LabelSpace("multiclass", tuple(f"class {k}" for k in range(classes)))
    rng = np.random.default_rng(0)
    chosen = rng.integers(0, classes, 2000)
    reference = rng.normal(size=(2000, classes)).astype(np.float32) + 2 * np.eye(classes, dtype=np.float32)[chosen]
    gate = check_gate(
        labels, labels.one_hot(list(chosen)), [str(i) for i in range(2000)], reference, factor * reference, interval=NO_INTERVAL
    )
    assert gate.likeness[0].value == 1
    assert not gate.likeness[1].passed
    assert not gate.passed


def test_total_variation_by_hand() -> None:
    labels = LabelSpace("multiclass", ("a", "b", "c", "d"))
    shares = np.array([[4, 3, 2, 1], [1, 1, 1, 1]], dtype=np.float32)
    other = np.array([[3, 4, 1, 2], [1, 1, 1, 1]], dtype=np.float32)  # a tenth each way, twice: total variation 0.2
    gate = check_gate(
        labels, labels.one_hot([0, 1]), ["x", "y"], np.log(shares), np.log(other), limits=LOOSE, interval=NO_INTERVAL
    )
    assert gate.likeness[1].value == pytest.approx(0.1)


def findings(prevalence: float, shift: np.ndarray) -> tuple[LabelSpace, np.ndarray, list[str], np.ndarray, np.ndarray]:
    """4,000 patients with 14 findings, well predicted; the reduced model's logits are shifted."""
    labels = LabelSpace("multilabel", tuple(f"finding {k}" for k in range(14)))
    rng = np.random.default_rng(0)
    targets = (rng.random((4000, 14)) < prevalence).astype(np.float32)
    reference = (rng.normal(size=targets.shape) * 0.8 + np.where(targets == 1, 1.5, -4)).astype(np.float32)
    return labels, targets, [str(i) for i in range(4000)], reference, reference + shift.astype(np.float32)


@pytest.mark.parametrize(
    ("prevalence", "shift", "worst"),
    [
        (0.012, np.full(14, -2.5), "finding"),
        (0.15, np.r_[-2.2, np.zeros(13)], "finding 0"),
        (0.15, np.r_[np.zeros(13), 3], "finding 13"),
        (0.004, np.full(14, -2.5), "all findings"),  # about 16 calls each: too few one by one
    ],
)
def test_lost_and_invented_calls_are_refused_though_auroc_and_agreement_hold(
    prevalence: float, shift: np.ndarray, worst: str
) -> None:
    labels, targets, groups, reference, reduced = findings(prevalence, shift)
    gate = check_gate(labels, targets, groups, reference, reduced, interval=NO_INTERVAL)
    assert all(loss.passed for loss in gate.losses)
    assert gate.likeness[0].passed
    overlap = gate.likeness[2]
    assert (overlap.metric, overlap.passed) == ("overlap", False)
    assert str(overlap.name).startswith(worst)
    assert f"overlap of calls with the float32 model's ({overlap.name}) is" in str(gate.reason)


def test_a_rare_class_that_is_never_called_again_is_refused() -> None:
    labels = LabelSpace("multiclass", ("common", "rare"))
    rng = np.random.default_rng(0)
    rare = np.arange(4000) < 40
    reference = np.where(rare[:, None], [0, 0.2], [4, 0]).astype(np.float32) + rng.normal(size=(4000, 2)).astype(np.float32) / 50
    reduced = reference - np.array([0, 0.4], dtype=np.float32)
    gate = check_gate(
        labels, labels.one_hot(list(rare.astype(int))), [str(i) for i in range(4000)], reference, reduced, interval=NO_INTERVAL
    )
    assert [like.passed for like in gate.likeness] == [True, True, False]
    assert (gate.likeness[2].name, gate.likeness[2].value) == ("rare", 0)
    assert gate.likeness[0].value == 0.99


def test_overlap_by_hand() -> None:
    """Of 40 and 30 calls 20 are the same: 2 · 20 / 70; a finding with 29 calls is left to the whole."""
    labels = LabelSpace("multilabel", ("a", "b"))
    reference, reduced = np.full((100, 2), -1.0, np.float32), np.full((100, 2), -1.0, np.float32)
    reference[:40, 0], reduced[20:50, 0] = 1, 1
    reference[:29, 1], reduced[:29, 1] = 1, 1
    targets = (np.arange(200).reshape(100, 2) % 3 == 0).astype(np.float32)
    gate = check_gate(labels, targets, [str(i) for i in range(100)], reference, reduced, limits=LOOSE, interval=NO_INTERVAL)
    assert (gate.likeness[2].name, gate.likeness[2].value) == ("a", pytest.approx(40 / 70))
    few = check_gate(labels, targets[:29], [str(i) for i in range(29)], reference[:29], reference[:29],
                     limits=replace(LOOSE, support=100), interval=NO_INTERVAL)  # fmt: skip
    assert [like.metric for like in few.likeness] == ["agreement", "probability_change"]
