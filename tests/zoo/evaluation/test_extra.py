"""Metrics of torchmetrics by name: its own values where all is known, ours where it would mislead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torchmetrics.functional import classification as tm
from torchmetrics.functional import regression as tr

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.labels import LabelKind, LabelSpace
from medzoo.evaluation.extra import (
    CORRELATIONS,
    NEED_SPREAD,
    NEEDS,
    ORDER,
    WITH_UNIT,
    check_extras,
    extra_higher_is_better,
    extra_names,
    find_extra,
)
from medzoo.evaluation.extra_values import Feed, Outcome, extra_value, measure
from medzoo.evaluation.metrics import scored
from medzoo.evaluation.monitor import METRICS, monitor_value, monitorable

WIDTH = 3
KINDS: tuple[LabelKind, ...] = ("multiclass", "ordinal", "multilabel", "regression")


def space(kind: LabelKind, width: int = WIDTH) -> LabelSpace:
    return LabelSpace(kind, tuple(f"c{k}" for k in range(width)))


def case(kind: LabelKind, width: int = WIDTH, samples: int = 120) -> tuple[LabelSpace, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(len(kind) + width)
    labels, logits = space(kind, width), rng.normal(size=(samples, width)).astype(np.float32)
    if kind == "multilabel":
        return labels, (rng.random((samples, width)) < 0.4).astype(np.float32), logits
    if kind == "regression":
        return labels, (1 + rng.random((samples, width))).astype(np.float32), np.abs(logits) + 0.1
    return labels, labels.one_hot(rng.integers(width, size=samples)), logits


def measured(text: str, labels: LabelSpace, targets: np.ndarray, logits: np.ndarray) -> Outcome:
    return measure(find_extra(text, labels), Feed.of(scored(labels, targets, logits)))


def flat(found: torch.Tensor) -> np.ndarray:
    return found.reshape(-1).numpy()


def exclusive(function: Callable[..., Any], **given: Any) -> Callable[[np.ndarray, np.ndarray], Any]:
    def direct(targets: np.ndarray, logits: np.ndarray) -> Any:
        p, y = torch.from_numpy(logits).double().softmax(1), torch.from_numpy(targets).argmax(1)
        found = function(p, y, num_classes=targets.shape[1], **given)
        return found[0] if isinstance(found, tuple) else found

    return direct


def each(function: Callable[..., Any], **given: Any) -> Callable[[np.ndarray, np.ndarray], Any]:
    """One call a column, of its known entries."""

    def direct(targets: np.ndarray, logits: np.ndarray) -> Any:
        regression = function.__module__.startswith("torchmetrics.functional.regression")
        values = []
        for column, said in zip(targets.T, logits.T, strict=True):
            known = ~np.isnan(column)
            z, y = torch.from_numpy(said[known]).double(), torch.from_numpy(column[known]).double()
            found = function(z, y, **given) if regression else function(z.sigmoid(), y.long(), **given)
            values.append(found[0] if isinstance(found, tuple) else found)
        return torch.stack(values)

    return direct


DIRECT: list[tuple[str, LabelKind, Callable[[np.ndarray, np.ndarray], Any]]] = [
    ("matthews_corrcoef", "multiclass", exclusive(tm.multiclass_matthews_corrcoef)),
    ("cohen_kappa(weights=quadratic)", "ordinal", exclusive(tm.multiclass_cohen_kappa, weights="quadratic")),
    ("specificity", "multiclass", exclusive(tm.multiclass_specificity, average=None)),
    ("jaccard_index", "ordinal", exclusive(tm.multiclass_jaccard_index, average=None)),
    ("auroc", "multiclass", exclusive(tm.multiclass_auroc, average=None)),
    ("average_precision", "multiclass", exclusive(tm.multiclass_average_precision, average=None)),
    ("f1_score(average=micro)", "multiclass", exclusive(tm.multiclass_f1_score, average="micro")),
    ("precision(average=weighted)", "multiclass", exclusive(tm.multiclass_precision, average="weighted")),
    ("recall(top_k=2)", "multiclass", exclusive(tm.multiclass_recall, average=None, top_k=2)),
    ("calibration_error(n_bins=10)", "multiclass", exclusive(tm.multiclass_calibration_error, n_bins=10)),
    ("hinge_loss", "multiclass", exclusive(tm.multiclass_hinge_loss)),
    ("specificity_at_sensitivity(min_sensitivity=0.8)", "multiclass",
     exclusive(tm.multiclass_specificity_at_sensitivity, min_sensitivity=0.8)),
    ("matthews_corrcoef", "multilabel", each(tm.binary_matthews_corrcoef)),
    ("sensitivity_at_specificity(min_specificity=0.9)", "multilabel",
     each(tm.binary_sensitivity_at_specificity, min_specificity=0.9)),
    ("fbeta_score(beta=2.0, threshold=0.3)", "multilabel", each(tm.binary_fbeta_score, beta=2.0, threshold=0.3)),
    ("auroc(max_fpr=0.2)", "multilabel", each(tm.binary_auroc, max_fpr=0.2)),
    ("pearson_corrcoef", "regression", each(tr.pearson_corrcoef)),
    ("concordance_corrcoef", "regression", each(tr.concordance_corrcoef)),
    ("mean_absolute_percentage_error", "regression", each(tr.mean_absolute_percentage_error)),
    ("mean_squared_error(squared=False)", "regression", each(tr.mean_squared_error, squared=False)),
]  # fmt: skip


@pytest.mark.parametrize(("text", "kind", "direct"), DIRECT, ids=lambda value: value if isinstance(value, str) else "")
def test_equals_a_direct_call_and_where_labels_are_missing_one_on_the_rest(text: str, kind: LabelKind, direct: Any) -> None:
    labels, targets, logits = case(kind)
    assert measured(text, labels, targets, logits).values == pytest.approx(flat(direct(targets, logits)), abs=1e-9)
    if kind in ("multilabel", "regression"):
        targets[np.random.default_rng(0).random(targets.shape) < 0.3] = np.nan
        rest = direct(targets, logits)
    else:
        targets[10:50] = np.nan
        known = ~np.isnan(targets[:, 0])
        rest = direct(targets[known], logits[known])
    assert measured(text, labels, targets, logits).values == pytest.approx(flat(rest), abs=1e-9)


def test_two_classes_equal_the_binary_call_of_the_second() -> None:
    labels, targets, logits = case("multiclass", 2)
    z = logits[:, 1].astype(np.float64) - logits[:, 0]
    p, y = torch.from_numpy(1 / (1 + np.exp(-z))), torch.from_numpy(targets[:, 1]).long()
    for text, direct in (
        ("matthews_corrcoef", tm.binary_matthews_corrcoef(p, y)),
        ("specificity", tm.binary_specificity(p, y)),
        ("precision(threshold=0.7)", tm.binary_precision(p, y, threshold=0.7)),
        ("auroc(max_fpr=0.3)", tm.binary_auroc(p, y, max_fpr=0.3)),
        ("recall_at_fixed_precision(min_precision=0.5)", tm.binary_recall_at_fixed_precision(p, y, 0.5)[0]),
    ):
        assert measured(text, labels, targets, logits).values[-1] == pytest.approx(float(direct), abs=1e-9)


def test_an_average_over_findings_takes_known_entries_alone() -> None:
    labels, targets, logits = case("multilabel")
    targets[np.random.default_rng(1).random(targets.shape) < 0.3] = np.nan
    known = ~np.isnan(targets)
    p, y = torch.from_numpy(logits[known]).double().sigmoid(), torch.from_numpy(targets[known]).long()
    assert measured("recall(average=micro)", labels, targets, logits).values == pytest.approx(flat(tm.binary_recall(p, y)))
    assert measured("auroc(average=micro)", labels, targets, logits).values == pytest.approx(flat(tm.binary_auroc(p, y)))


def test_what_ranks_the_findings_of_a_sample_is_of_samples_without_a_gap() -> None:
    labels, targets, logits = case("multilabel")
    targets[:30, 1] = np.nan
    p, y = torch.from_numpy(logits[30:]).double().sigmoid(), torch.from_numpy(targets[30:]).long()
    found = measured("ranking_average_precision", labels, targets, logits)
    assert found.values == pytest.approx(flat(tm.multilabel_ranking_average_precision(p, y, num_labels=3)), abs=1e-9)
    targets[:, 1] = np.nan
    assert measured("ranking_loss", labels, targets, logits).reasons == {0: "no sample has all its labels"}


@pytest.mark.parametrize("name", ["auroc", "average_precision", "specificity_at_sensitivity(min_sensitivity=1.0)"])
def test_saturated_logits_do_not_tie(name: str) -> None:
    """A sigmoid of 40 is 1 in float64: torchmetrics' own answer to these is 0.5 for AUROC."""
    logits = np.array([[40.0], [45.0], [50.0], [55.0]], np.float32)
    targets = np.array([[0.0], [0.0], [1.0], [1.0]], np.float32)
    assert float(tm.binary_auroc(torch.from_numpy(logits[:, 0]).double(), torch.tensor([0, 0, 1, 1]))) == 0.5
    assert measured(name, space("multilabel", 1), targets, logits).values == pytest.approx([1.0])
    both = np.concatenate([np.zeros_like(logits), logits], axis=1)
    two = space("multiclass", 2)
    assert measured(name, two, two.one_hot(targets[:, 0]), both).values == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize(
    ("text", "undefined"),
    [
        ("auroc", {2: "no positive sample"}),
        ("recall", {2: "no positive sample"}),
        ("f1_score", {2: "no positive sample"}),
        ("average_precision", {2: "no positive sample"}),
        ("specificity", {}),
        ("auroc(average=weighted)", {0: "no positive sample"}),
    ],
)
def test_an_absent_class_is_undefined_and_no_zero(text: str, undefined: dict[int, str]) -> None:
    labels, _, logits = case("multiclass")
    targets = labels.one_hot(np.arange(len(logits)) % 2)
    found = measured(text, labels, targets, logits)
    assert found.reasons == undefined
    assert list(np.flatnonzero(np.isnan(found.values))) == list(undefined)


def test_a_finding_without_negatives_or_labels_says_so() -> None:
    labels, targets, logits = case("multilabel")
    targets[:, 0], targets[:, 1] = 1.0, np.nan
    found = measured("specificity", labels, targets, logits)
    assert found.reasons == {0: "no negative sample", 1: "every label is missing"}
    assert np.isnan(found.values).tolist() == [True, True, False]
    assert measured("accuracy", labels, targets, logits).reasons == {1: "every label is missing"}


def test_one_class_alone_has_no_correlation_with_anything() -> None:
    labels, _, logits = case("multiclass")
    targets = labels.one_hot(np.zeros(len(logits)))
    found = measured("matthews_corrcoef", labels, targets, logits)
    assert found.reasons == {0: "no class has both positive and negative samples"}
    assert not measured("exact_match", labels, targets, logits).reasons


def test_quantities_that_do_not_vary_are_undefined() -> None:
    labels, targets, logits = case("regression")
    targets[:, 0], logits[:, 1] = 3.0, 2.0
    assert measured("spearman_corrcoef", labels, targets, logits).reasons == {
        0: "targets do not vary", 1: "predictions do not vary",
    }  # fmt: skip
    assert measured("r2_score", labels, targets, logits).reasons == {0: "targets do not vary"}
    assert not measured("mean_absolute_error", labels, targets, logits).reasons


@pytest.mark.parametrize(
    ("text", "targets", "reason"),
    [
        ("normalized_root_mean_squared_error", [-1, -2, -3, -4], "the mean of the targets is not above 0"),
        ("normalized_root_mean_squared_error(normalization=std)", [-1, -2, -3, -4], ""),
        ("normalized_root_mean_squared_error", [1, 2, 3, 4], ""),
        ("mean_absolute_percentage_error", [0, 1, 2, 3], "a target is 0"),
        ("mean_absolute_percentage_error", [-1, 1, 2, 3], ""),
    ],
)
def test_an_error_in_shares_of_targets_needs_targets_that_allow_it(text: str, targets: list[float], reason: str) -> None:
    """Divided by a mean below 0 the largest error would be the least number, and the best epoch the worst."""
    labels = LabelSpace("regression", ("a",), ("mm",))
    column = np.array(targets, dtype=np.float32)[:, None]
    found = extra_value(text, labels, column, column + np.float32(0.1))
    assert found.reasons.get(0, "") == reason
    assert np.isnan(found.values[0]) == bool(reason)


def test_what_torchmetrics_refuses_is_undefined_with_its_own_words() -> None:
    labels, targets, logits = case("regression")
    logits[:, 2] = -1.0
    found = measured("tweedie_deviance_score(power=1.5)", labels, targets, logits)
    assert list(found.reasons) == [2]
    assert found.reasons[2].startswith("torchmetrics: For power=1.5")


def test_a_warning_counts_on_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchmetrics warns on rank 0 alone; another rank would take its 0 for a value, and choose another epoch."""
    from torchmetrics.utilities.prints import rank_zero_only

    labels, targets, logits = case("regression", 1, samples=4)
    reasons = []
    for rank in (0, 1):
        monkeypatch.setattr(rank_zero_only, "rank", rank, raising=False)
        reasons.append(measured("r2_score(adjusted=5)", labels, targets, logits).reasons)
        assert rank_zero_only.rank == rank
    said = "torchmetrics: More independent regressions than data points in adjusted r2 score"
    assert reasons == [{0: said}, {0: said}]


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("matthews_corcoef", "multiclass", "did you mean 'matthews_corrcoef'"),
        ("pearson_corrcoef", "multilabel", "is for regression labels, and these are multilabel"),
        ("confusion_matrix", "multiclass", "one number a class"),
        ("specificity_at_sensitivity", "multiclass", "write {specificity_at_sensitivity: {min_sensitivity: ...}}"),
        ("specificity_at_sensitivity(min_sensitivty=0.8)", "multiclass", "did you mean 'min_sensitivity'"),
        ("specificity_at_sensitivity(min_sensitivity=8)", "multiclass", "torchmetrics refuses these arguments"),
        ("f1_score(average=makro)", "multiclass", "torchmetrics refuses these arguments"),
        ("f1_score(num_classes=3)", "multiclass", "num_classes follows from the labels"),
        ("cohen_kappa(average=micro)", "multilabel", "leave average out"),
        ("kendall_rank_corrcoef(t_test=True)", "regression", "follows from the labels"),
    ],
)
def test_a_mistake_is_one_line_with_the_remedy(text: str, kind: LabelKind, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_extras([text], space(kind))
    assert said in str(caught.value)


def test_metrics_without_labels_are_refused() -> None:
    check_extras([], None)
    with pytest.raises(ConfigError, match="needs labels"):
        check_extras(["matthews_corrcoef"], None)


def test_no_table_here_names_a_metric_that_is_not_there() -> None:
    known = set().union(*map(extra_names, KINDS))
    newest = {"eer", "logauc", "negative_predictive_value"}  # later than the oldest torchmetrics
    assert (ORDER | set(NEEDS) | NEED_SPREAD | CORRELATIONS | WITH_UNIT) - newest <= known


def test_the_better_end_agrees_with_torchmetrics_where_it_says_one() -> None:
    import torchmetrics.classification as classes
    import torchmetrics.regression as quantities

    said: dict[str, bool] = {}
    for module in (classes, quantities):
        for name in module.__all__:
            better = getattr(getattr(module, name), "higher_is_better", None)
            short = name.removeprefix("Binary").removeprefix("Multiclass").removeprefix("Multilabel").lower()
            said |= {} if better is None else {short: better}
    checked = [n for kind in KINDS for n in extra_names(kind) if n.replace("_", "") in said]
    assert len(set(checked)) >= 20
    for name in checked:
        assert extra_higher_is_better(name) == said[name.replace("_", "")], name


def test_an_epoch_may_be_chosen_by_any_of_them() -> None:
    labels, targets, logits = case("multiclass")
    targets[:5] = np.nan
    known = ~np.isnan(targets[:, 0])
    p, y = torch.from_numpy(logits[known]).double().softmax(1), torch.from_numpy(targets[known]).argmax(1)
    direct = tm.multiclass_specificity_at_sensitivity(p, y, num_classes=3, min_sensitivity=0.8)[0].mean()
    text = "specificity_at_sensitivity(min_sensitivity=0.8)"
    assert monitor_value(labels, targets, logits, text) == pytest.approx(float(direct), abs=1e-7)
    assert monitorable(labels, targets, text) is None
    alone = labels.one_hot(np.zeros(20))
    assert monitorable(labels, alone, text) == "no negative sample"
    assert monitorable(labels, alone, "matthews_corrcoef") == "no class has both positive and negative samples"


def test_a_monitor_of_the_same_name_stays_our_own() -> None:
    labels, targets, logits = case("multiclass")
    hits = (logits.argmax(1) == targets.argmax(1)).mean()
    assert "accuracy" in METRICS["multiclass"]
    assert monitor_value(labels, targets, logits, "accuracy") == pytest.approx(hits)


def test_errors_of_quantities_in_different_units_choose_no_epoch() -> None:
    labels, targets, logits = case("regression")
    assert extra_value("mean_squared_error", labels, targets, logits).reasons == {0: "the quantities have different units"}
    assert monitorable(labels, targets, "mean_squared_error") == "the quantities have different units"
    same = LabelSpace("regression", labels.names, ("mm",) * WIDTH)
    squares = np.mean((targets.astype(np.float64) - logits) ** 2)
    assert monitor_value(same, targets, logits, "mean_squared_error") == pytest.approx(squares)


def test_a_monitor_nobody_knows_offers_the_nearest_of_both() -> None:
    labels, targets, logits = case("multiclass")
    for wrong, near in (("auroc1", "auroc"), ("matthews", "matthews_corrcoef")):
        with pytest.raises(UnknownNameError) as caught:
            monitor_value(labels, targets, logits, wrong)
        assert near in caught.value.nearest
    with pytest.raises(UnknownNameError, match="unknown metric 'kappa' for multiclass labels"):
        monitor_value(labels, targets, logits, "kappa")
