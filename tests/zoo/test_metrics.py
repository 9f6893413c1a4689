"""Our metrics as torchmetrics classes: the report's values, batch by batch, over processes, in a MetricCollection."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchmetrics

from medzoo import metrics
from medzoo.data.errors import ConfigError, EvaluationError
from medzoo.data.labels import LabelSpace
from medzoo.evaluation.bootstrap import Interval, Measured
from medzoo.evaluation.metrics import scored
from medzoo.evaluation.monitor import METRICS

CLASSES = [
    one for _, one in inspect.getmembers(metrics, inspect.isclass)
    if issubclass(one, metrics.MaskedMetric) and one is not metrics.MaskedMetric
]  # fmt: skip
TWO = """
import sys, torch
from torch import distributed
from medzoo.metrics import AUROC, Interval

distributed.init_process_group("gloo")
rank = distributed.get_rank()
given = torch.load(sys.argv[1], weights_only=True)
rows = slice(0, 50) if rank == 0 else slice(50, None)  # of unequal size
metric = AUROC("multilabel", 2, interval=Interval(50))
metric.update(given["logits"][rows], given["targets"][rows], given["groups"][rows])
found = metric.compute()
if rank == 0:
    torch.save(found, sys.argv[2])
distributed.destroy_process_group()
"""


def case(kind: Any, width: int = 3, samples: int = 90) -> tuple[LabelSpace, torch.Tensor, torch.Tensor, list[str]]:
    rng = np.random.default_rng(1)
    labels = LabelSpace(kind, tuple(map(str, range(width))))
    logits = rng.normal(size=(samples, width)).astype(np.float32)
    if kind == "multilabel":
        targets = (rng.random((samples, width)) < 0.4).astype(np.float32)
        targets[rng.random(targets.shape) < 0.2] = np.nan
    elif kind == "regression":
        targets = rng.normal(size=(samples, width)).astype(np.float32)
    else:
        targets = labels.one_hot(rng.integers(width, size=samples))
        targets[:7] = np.nan
    return labels, torch.from_numpy(logits), torch.from_numpy(targets), [f"p{i // 3}" for i in range(samples)]


def described(labels: LabelSpace, logits: torch.Tensor, targets: torch.Tensor, groups: list[str], interval: Interval) -> Measured:
    return Measured.of(scored(labels, targets.numpy(), logits.numpy()), groups, interval)


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
@pytest.mark.parametrize("kind", ["multiclass", "ordinal", "multilabel", "regression"])
@pytest.mark.parametrize("metric", CLASSES, ids=lambda one: one.__name__)
def test_equals_the_report_in_whatever_batches(metric: Any, kind: Any) -> None:
    labels, logits, targets, groups = case(kind)
    known = (*METRICS[kind], *(("recall", "precision") if kind != "regression" else ()))
    if metric.metric not in known:
        with pytest.raises(ConfigError, match=f"is not for {kind} labels"):
            metric(kind, 3)
        return
    units = ["mm"] * 3 if kind == "regression" else None
    made = metric(kind, 3, interval=Interval(40), units=units)
    plain, own = metric(kind, 3, units=units), metric(kind, 3, average="none", units=units)
    for rows in (slice(0, 40), slice(40, 41), slice(41, None)):
        made.update(logits[rows], targets[rows], groups[rows])
        plain.update(logits[rows], targets[rows])
        own.update(logits[rows], targets[rows])
    labels = LabelSpace(kind, labels.names, None if units is None else tuple(units))
    measured = described(labels, logits, targets, groups, Interval(40))
    expected, found = measured.described(metric.metric), made.compute()
    assert plain.compute() == pytest.approx(expected["value"], abs=1e-12)
    # Groups go by their hash here, so that the draws are others: the interval is checked below.
    assert found["value"] == pytest.approx(expected["value"], abs=1e-12)
    assert found["low"] < found["value"] < found["high"]
    if metric.metric in measured.classes:
        assert own.compute().numpy() == pytest.approx(measured.classes[metric.metric][0], abs=1e-12)
    made.reset()
    assert torch.isnan(made.compute()["value"])


def test_the_interval_redraws_groups_and_numbers_are_groups_as_names_are() -> None:
    labels, logits, targets, _ = case("multiclass")
    codes = torch.arange(90) // 3 + 100  # of three digits, so that they sort as text does
    made = metrics.AUROC("multiclass", 3, interval=Interval(100))
    made.update(logits, targets, codes)
    expected = described(labels, logits, targets, [str(int(code)) for code in codes], Interval(100)).described("auroc")
    assert {key: float(value) for key, value in made.compute().items()} == pytest.approx(expected)
    alone = metrics.AUROC("multiclass", 3, interval=Interval(100))
    alone.update(logits, targets)
    assert float(alone.compute()["low"]) != pytest.approx(expected["low"], abs=1e-6)
    named = metrics.AUROC("multiclass", 3, interval=Interval(100))
    named.update(logits, targets, ["a"] * 60 + ["b"] * 30)
    assert torch.isnan(named.compute()["low"])
    assert "at least 5 are needed" in named.no_interval


@pytest.mark.filterwarnings("ignore:No positive samples")
def test_saturated_logits_and_absent_classes_are_right_where_torchmetrics_is_not() -> None:
    logits, targets = torch.tensor([[40.0], [45.0], [60.0], [75.0]]), torch.tensor([[0.0], [0.0], [1.0], [1.0]])
    assert torchmetrics.AUROC("binary")(logits[:, 0].double(), targets[:, 0].long()) == 0.5
    assert metrics.AUROC("multilabel", 1)(logits, targets) == 1.0
    absent = torch.tensor([[2.0, 1, 0], [1.0, 2, 0], [3.0, 0, 1]])
    assert torchmetrics.AUROC("multiclass", num_classes=3)(absent.softmax(1), torch.tensor([0, 1, 0])) == pytest.approx(2 / 3)
    assert metrics.AUROC("multiclass", 3)(absent, torch.tensor([0, 1, 0])) == 1.0
    own = metrics.AUROC("multiclass", 3, average="none")(absent, torch.tensor([0, 1, 0]))
    assert own.tolist()[:2] == [1.0, 1.0]
    assert own[2].isnan()


def test_codes_are_classes_and_a_missing_one_is_left_out() -> None:
    _, logits, targets, _ = case("multiclass")
    codes = torch.where(targets.isnan().any(dim=1), torch.nan, targets.nan_to_num().argmax(dim=1).float())
    one_hot, coded = metrics.F1("multiclass", 3)(logits, targets), metrics.F1("multiclass", 3)(logits, codes)
    assert coded == one_hot
    assert metrics.F1("multiclass", 3)(logits, codes.nan_to_num(nan=-1).long()) == one_hot
    with pytest.raises(EvaluationError, match="whole numbers below 3"):
        metrics.F1("multiclass", 3)(logits[:2], torch.tensor([0, 3]))


def test_they_stand_in_a_collection_and_know_their_better_end() -> None:
    _, logits, targets, _ = case("multilabel")
    found = torchmetrics.MetricCollection(
        {"auroc": metrics.AUROC("multilabel", 3), "error": metrics.CalibrationError("multilabel", 3, bins=5)}
    )
    together = found(logits, targets)
    assert together["auroc"] == metrics.AUROC("multilabel", 3)(logits, targets)
    assert together["error"] == metrics.CalibrationError("multilabel", 3, bins=5)(logits, targets)
    assert together["error"] != metrics.CalibrationError("multilabel", 3)(logits, targets)
    assert metrics.AUROC.higher_is_better
    assert not metrics.Brier.higher_is_better


def test_two_processes_equal_one(tmp_path: Path) -> None:
    _, logits, targets, groups = case("multilabel", 2)
    codes = torch.tensor([metrics._code(group) for group in groups])
    torch.save({"logits": logits, "targets": targets, "groups": codes}, tmp_path / "given.pt")
    (tmp_path / "two.py").write_text(TWO)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(tmp_path / "two.py")]
    words = [*launch, str(tmp_path / "given.pt"), str(tmp_path / "found.pt")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    alone = metrics.AUROC("multilabel", 2, interval=Interval(50))
    alone.update(logits, targets, groups)
    assert torch.load(tmp_path / "found.pt", weights_only=True) == alone.compute()


@pytest.mark.parametrize(
    ("logits", "targets", "groups", "said"),
    [
        (torch.zeros(4, 2), torch.zeros(4, 3), None, r"logits \(4, 2\) and targets \(4, 3\) are not both \(N, 3\)"),
        (torch.zeros(4, 3), torch.zeros(4, 3), ["a"] * 3, r"groups \(3,\) are not one a sample, \(4,\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(logits: Any, targets: Any, groups: Any, said: str) -> None:
    with pytest.raises(EvaluationError, match=said):
        metrics.AUROC("multilabel", 3).update(logits, targets, groups)


def test_groups_of_some_batches_alone_are_refused() -> None:
    made = metrics.AUROC("multilabel", 3)
    made.update(torch.zeros(4, 3), torch.zeros(4, 3), [1, 2, 3, 4])
    made.update(torch.zeros(4, 3), torch.zeros(4, 3))
    with pytest.raises(EvaluationError, match="4 of 8 samples have a group"):
        made.compute()
    with pytest.raises(ConfigError, match="average='micro' is not one of macro, none"):
        metrics.AUROC("multilabel", 3, average="micro")
