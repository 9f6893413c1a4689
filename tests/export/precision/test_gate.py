"""The gate of a reduced model: figures by hand and by scikit-learn, and every way to be refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, mean_absolute_error, roc_auc_score

from medzoo.data.errors import ExportError
from medzoo.data.labels import LabelSpace
from medzoo.evaluation.bootstrap import NO_INTERVAL, Interval
from medzoo.export.precision.figures import Gate, Loss, format_gate
from medzoo.export.precision.gate import check_embeddings, check_gate
from medzoo.export.settings import GateLimits

LOOSE = GateLimits(loss=1, kappa_loss=2, error_growth=10, agreement=0, probability_change=1, mean_change=10, overlap=0)
KINDS = ("multiclass", "ordinal", "multilabel", "regression")
ONE = LabelSpace("multilabel", ("a",))


def case(kind: str, width: int = 3, samples: int = 300, noise: float = 0.5, seed: int = 0) -> tuple:
    """Return labels, targets, groups (3 images a patient), logits of a fair model and of a noisier one."""
    rng = np.random.default_rng(seed)
    labels = LabelSpace(kind, tuple(f"c{k}" for k in range(width)))  # type: ignore[arg-type]
    if kind == "regression":
        targets = rng.normal(size=(samples, width)) * [1, 10, 100][:width]
    elif kind == "multilabel":
        targets = (rng.random((samples, width)) < 0.3).astype(float)
    else:
        targets = labels.one_hot(rng.integers(width, size=samples))
    spread = targets.std(axis=0)
    reference = targets + rng.normal(size=targets.shape) * spread
    reduced = reference + rng.normal(size=targets.shape) * spread * noise
    groups = [f"p{i // 3}" for i in range(samples)]
    return labels, targets.astype(np.float32), groups, reference.astype(np.float32), reduced.astype(np.float32)


def row(gate: Gate, metric: str, name: str | None = None) -> Loss:
    return next(loss for loss in gate.losses if (loss.metric, loss.name) == (metric, name))


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)[:, None]


def planted(fall: int) -> tuple:
    """Return targets, groups, logits of AUROC 1, and the same with `fall` of 100 positives below every negative."""
    truth, high = np.repeat([0.0, 1.0], 100), np.concatenate([np.arange(100), 200 + np.arange(100)])
    low = high.copy()
    low[100 : 100 + fall] = -300
    return column(*truth), [f"p{i}" for i in range(200)], column(*high), column(*low)


def test_a_small_case_by_hand() -> None:
    # Positives 1, 3 against negatives 0, 2: 3 of 4 pairs are in order. Then 3 drops to 1.5: 2 of 4.
    targets, groups = column(0, 1, 0, 1), ["a", "b", "c", "d"]
    gate = check_gate(ONE, targets, groups, column(0, 1, 2, 3) - 10, column(0, 1, 2, 1.5) - 10, interval=NO_INTERVAL)
    macro = row(gate, "auroc")
    assert (macro.reference, macro.reduced, macro.loss, macro.low, macro.high, macro.limit) == (
        0.75,
        0.5,
        0.25,
        None,
        None,
        0.005,
    )
    assert gate.likeness[0].value == 1  # every logit stays below 0
    assert gate.not_judged == {"a": "2 positive, 2 negative"}
    assert row(gate, "auroc", "a").limit is None
    assert gate.reason == "macro AUROC falls by 0.2500 (0.7500 to 0.5000), limit 0.005"


@pytest.mark.parametrize("kind", ["multiclass", "ordinal", "multilabel"])
def test_auroc_and_kappa_equal_sklearns(kind: str) -> None:
    labels, targets, groups, reference, reduced = case(kind)
    gate = check_gate(labels, targets, groups, reference, reduced, limits=LOOSE, interval=Interval(20))
    for values, side in ((reference, "reference"), (reduced, "reduced")):
        scores = values.astype(float)
        if labels.exclusive:
            odds = np.exp(scores)
            scores = odds / odds.sum(axis=1, keepdims=True)
        oracle = [roc_auc_score(targets[:, k], scores[:, k]) for k in range(3)]
        assert [getattr(row(gate, "auroc", name), side) for name in labels.names] == pytest.approx(oracle, abs=1e-12)
        assert getattr(row(gate, "auroc"), side) == pytest.approx(np.mean(oracle), abs=1e-12)
        if kind == "ordinal":
            kappa = cohen_kappa_score(values.argmax(axis=1), targets.argmax(axis=1), weights="quadratic")
            assert getattr(row(gate, "kappa"), side) == pytest.approx(kappa, abs=1e-12)
    assert all(loss.loss == pytest.approx(loss.reference - loss.reduced) for loss in gate.losses)
    same = (reference > 0) == (reduced > 0) if kind == "multilabel" else reference.argmax(1) == reduced.argmax(1)
    assert gate.likeness[0].value == pytest.approx(same.mean())
    assert ("kappa" in {loss.metric for loss in gate.losses}) == (kind == "ordinal")


def test_the_error_grows_in_standard_deviations() -> None:
    labels, targets, groups, reference, reduced = case("regression")
    targets[:50, 1] = np.nan
    gate = check_gate(labels, targets, groups, reference, reduced, limits=LOOSE, interval=Interval(50))
    for k, name in enumerate(labels.names):
        known, loss = ~np.isnan(targets[:, k]), row(gate, "mae", name)
        before, after = (mean_absolute_error(targets[known, k], values[known, k]) for values in (reference, reduced))
        assert (loss.reference, loss.reduced) == pytest.approx((before, after), rel=1e-6)
        assert loss.loss == pytest.approx((after - before) / targets[known, k].astype(float).std(), rel=1e-5)
        assert loss.loss > 0
        assert loss.low is not None
        assert loss.low < loss.loss < loss.high
    assert [alike.metric for alike in gate.likeness] == ["mean_change"]
    strict = check_gate(labels, targets, groups, reference, reduced, interval=NO_INTERVAL)
    worst = max(gate.losses, key=lambda loss: loss.loss)
    assert f"MAE of output {worst.name!r} grows by {worst.loss:.4f} standard deviations" in str(strict.reason)
    assert "limit 0.01, and 2 more beyond it; mean change of a value" in str(strict.reason)


def test_a_planted_fall_of_three_points_is_refused_with_the_figure() -> None:
    gate = check_gate(ONE, *planted(3), interval=Interval(50))
    assert not gate.passed
    assert "macro AUROC falls by 0.0300 (1.0000 to 0.9700), limit 0.005" in str(gate.reason)
    assert "AUROC of class 'a' falls by 0.0300" in str(gate.reason)
    assert "\n" not in str(gate.reason)
    assert any("FAILED" in line and "macro auroc" in line for line in format_gate(gate))


def test_a_fall_of_just_the_limit_passes() -> None:
    # 1 − 0.98 is 0.020000000000000018 in float64 and yet no more than 0.02.
    limits = GateLimits(loss=0.02, agreement=0, overlap=0)
    targets, groups, high, two = planted(2)
    assert row(check_gate(ONE, targets, groups, high, two, interval=NO_INTERVAL), "auroc").loss > 0.02
    assert check_gate(ONE, targets, groups, high, two, limits=limits, interval=NO_INTERVAL).passed
    assert not check_gate(ONE, targets, groups, high, planted(3)[3], limits=limits, interval=NO_INTERVAL).passed


def test_the_verdict_uses_the_point_estimate() -> None:
    limits = GateLimits(loss=0.03, agreement=0, overlap=0)
    gate = check_gate(ONE, *planted(3), limits=limits)
    assert gate.passed
    assert row(gate, "auroc").high > 0.03  # type: ignore[operator]


def test_one_class_cannot_hide_in_the_macro_mean() -> None:
    labels = LabelSpace("multilabel", tuple("abcdefghij"))
    truth, groups, high, low = planted(4)
    targets, reference = np.repeat(truth, 10, axis=1), np.repeat(high, 10, axis=1)
    reduced = reference.copy()
    reduced[:, 3:4] = low
    gate = check_gate(labels, targets, groups, reference, reduced, interval=NO_INTERVAL)
    assert row(gate, "auroc").passed
    assert gate.reason == "AUROC of class 'd' falls by 0.0400 (1.0000 to 0.9600), limit 0.005"
    # The same class with fewer positives than the support is shown, named, and judged in the macro mean alone.
    lenient = check_gate(labels, targets, groups, reference, reduced, interval=NO_INTERVAL, limits=GateLimits(support=101))
    assert lenient.passed
    assert row(lenient, "auroc", "d").loss == pytest.approx(0.04)
    assert lenient.not_judged == dict.fromkeys("abcdefghij", "100 positive, 100 negative")
    assert "d (100 positive, 100 negative)" in "\n".join(format_gate(lenient))


@pytest.mark.parametrize(("positives", "judged"), [(29, False), (30, True)])
@pytest.mark.parametrize("flipped", [False, True])
def test_support_is_thirty_of_either_kind(positives: int, judged: bool, flipped: bool) -> None:
    truth = column(*np.arange(100) < positives) if not flipped else column(*np.arange(100) >= positives)
    gate = check_gate(ONE, truth, list(map(str, range(100))), truth, truth, interval=NO_INTERVAL)
    assert (row(gate, "auroc", "a").limit is not None) is judged
    assert ("a" in gate.not_judged) is not judged


def test_quadratic_kappa_has_its_own_limit() -> None:
    labels, targets, groups, reference, _ = case("ordinal", samples=90)
    reduced = reference.copy()
    moved = np.flatnonzero(targets[:, 0] * (reference.argmax(axis=1) == 0))[:6]
    reduced[moved] = reference[moved][:, ::-1]  # grade 0, rightly chosen, becomes another
    limits = replace(LOOSE, kappa_loss=0.02)
    gate = check_gate(labels, targets, groups, reference, reduced, limits=limits, interval=NO_INTERVAL)
    loss = row(gate, "kappa")
    assert gate.reason == f"quadratic kappa falls by {loss.loss:.4f} ({loss.reference:.4f} to {loss.reduced:.4f}), limit 0.02"


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_model_loses_nothing(kind: str) -> None:
    labels, targets, groups, reference, _ = case(kind)
    gate = check_gate(labels, targets, groups, reference, reference, interval=Interval(50))
    assert gate.passed
    assert gate.reason is None
    for loss in gate.losses:
        assert str((loss.loss, loss.low, loss.high)) == "(0.0, 0.0, 0.0)"  # as text: −0.0 would pass a comparison
    assert all(alike.value == (0 if alike.metric.endswith("_change") else 1) for alike in gate.likeness)


def test_the_interval_is_paired_over_groups_and_deterministic() -> None:
    labels, targets, groups, reference, reduced = case("multilabel", width=1, noise=0.3)
    first = check_gate(labels, targets, groups, reference, reduced, interval=Interval(200, 0.9, 4))
    assert first.to_dict() == check_gate(labels, targets, groups, reference, reduced, interval=Interval(200, 0.9, 4)).to_dict()
    other = check_gate(labels, targets, groups, reference, reduced, interval=Interval(200, 0.9, 5))
    assert row(other, "auroc").low != row(first, "auroc").low
    # An oracle with draws of its own: whole patients redrawn, both models on the same draw.
    rng, falls = np.random.default_rng(1), []
    for _ in range(1000):
        rows = (3 * rng.integers(100, size=100)[:, None] + np.arange(3)).ravel()
        falls.append(roc_auc_score(targets[rows], reference[rows]) - roc_auc_score(targets[rows], reduced[rows]))
    low, high = np.quantile(falls, [0.05, 0.95])
    ours = row(check_gate(labels, targets, groups, reference, reduced, interval=Interval(level=0.9)), "auroc")
    assert (ours.low, ours.high) == pytest.approx((low, high), abs=0.15 * (high - low))


@pytest.mark.parametrize("kind", KINDS)
def test_missing_targets_are_masked(kind: str) -> None:
    labels, targets, groups, reference, reduced = case(kind)
    targets[::4] = np.nan
    spoilt = reduced.copy()
    spoilt[::4] = -reduced[::4] * 50  # whatever is said of samples without a label, no metric sees it
    kept = ~np.isnan(targets[:, 0])
    whole = check_gate(labels, targets, groups, reference, spoilt, limits=LOOSE, interval=NO_INTERVAL)
    part = check_gate(labels, targets[kept], [g for g, k in zip(groups, kept, strict=True) if k], reference[kept], reduced[kept],
                      limits=LOOSE, interval=NO_INTERVAL)  # fmt: skip
    for a, b in zip(whole.losses, part.losses, strict=True):
        assert (a.name, a.reference, a.reduced) == (b.name, pytest.approx(b.reference), pytest.approx(b.reduced))
    assert whole.not_judged == part.not_judged


def test_a_class_without_positives_is_named_and_left_out_of_the_mean() -> None:
    labels, targets, groups, reference, reduced = case("multilabel")
    targets[:, 1] = 0
    gate = check_gate(labels, targets, groups, reference, reduced, limits=LOOSE, interval=Interval(20))
    assert gate.passed
    assert gate.not_judged == {"c1": "0 positive, 300 negative"}
    assert [loss.name for loss in gate.losses] == [None, "c0", "c2"]
    assert row(gate, "auroc").reduced == pytest.approx(np.mean([row(gate, "auroc", n).reduced for n in ("c0", "c2")]))


@pytest.mark.parametrize("kind", ["multiclass", "ordinal", "multilabel"])
@pytest.mark.parametrize("missing", [False, True])
def test_an_undefined_metric_is_no_pass(kind: str, missing: bool) -> None:
    labels, targets, groups, reference, _ = case(kind)
    targets[:] = np.nan if missing else [1, 0, 0]
    gate = check_gate(labels, targets, groups, reference, reference)
    assert not gate.passed
    assert "undefined on the validation split" in str(gate.reason)
    assert "give the validation split more labelled images" in str(gate.reason)
    assert ("every label is missing" in str(gate.reason)) is missing


def test_an_output_without_spread_is_no_pass() -> None:
    labels, targets, groups, reference, _ = case("regression")
    targets[:, 2] = 0.1
    gate = check_gate(labels, targets, groups, reference, reference)
    assert "MAE of 'c2' in standard deviations of the targets is undefined" in str(gate.reason)
    targets[:, 2], targets[:, 0] = reference[:, 2], np.nan
    assert "MAE of 'c0'" in str(check_gate(labels, targets, groups, reference, reference).reason)


@pytest.mark.parametrize("kind", KINDS)
def test_no_sample_at_all_is_no_pass(kind: str) -> None:
    labels, targets, _, reference, _ = case(kind)
    assert "undefined" in str(check_gate(labels, targets[:0], [], reference[:0], reference[:0]).reason)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_that_are_not_finite_are_refused(kind: str, bad: float) -> None:
    labels, targets, groups, reference, reduced = case(kind)
    reduced[[3, 7], 1] = bad
    gate = check_gate(labels, targets, groups, reference, reduced, limits=LOOSE)
    assert "NaN or infinite for 2 of 300 samples" in str(gate.reason)
    json.dumps(gate.to_dict(), allow_nan=False)
    with pytest.raises(ExportError, match="2 of 300 outputs of the float32 model are not finite"):
        check_gate(labels, targets, groups, reduced, reference)


def test_agreement_by_hand_and_ties() -> None:
    labels = LabelSpace("multiclass", ("a", "b", "c"))
    targets, groups = labels.one_hot([0, 1, 2, 0]), list("wxyz")
    reference = np.array([[2, 1, 0], [0, 2, 1], [1, 1, 0], [1, 1 - 5e-6, 0]], dtype=np.float32)

    def agreement(*tops: int) -> float:
        reduced = np.eye(3, dtype=np.float32)[list(tops)]
        return check_gate(labels, targets, groups, reference, reduced, limits=LOOSE, interval=NO_INTERVAL).likeness[0].value

    assert agreement(0, 1, 0, 0) == 1
    assert agreement(0, 1, 1, 0) == 1  # the float32 model holds a and b for a tie
    assert agreement(0, 1, 2, 0) == 0.75  # but not c
    assert agreement(0, 1, 0, 1) == 0.75  # five millionths apart is no tie
    assert agreement(2, 2, 0, 1) == 0.25
    refused = check_gate(labels, targets, groups, reference, np.eye(3, dtype=np.float32)[[0, 1, 2, 0]], interval=NO_INTERVAL,
                         limits=replace(LOOSE, agreement=0.98))  # fmt: skip
    assert refused.reason == "agreement with the float32 model is 0.7500, limit 0.98"


def test_agreement_of_findings_counts_entries() -> None:
    labels = LabelSpace("multilabel", ("a", "b"))
    targets = np.array([[0, 1], [1, 0]], dtype=np.float32)
    reference = np.array([[1, -1], [5e-7, 2]], dtype=np.float32)
    reduced = np.array([[2, 1], [-3, 1]], dtype=np.float32)  # b of the first changes sides; a of the second was a tie
    gate = check_gate(labels, targets, ["x", "y"], reference, reduced, limits=LOOSE, interval=NO_INTERVAL)
    assert gate.likeness[0].value == 0.75


def test_soft_targets_without_a_largest_class_are_counted() -> None:
    labels, targets, groups, reference, reduced = case("multiclass")
    targets[:5] = [0.5, 0.5, 0]
    gate = check_gate(labels, targets, groups, reference, reduced, limits=LOOSE, interval=NO_INTERVAL)
    assert gate.left_out == 5
    assert "5 soft targets left out" in format_gate(gate)[-1]


def test_concepts_are_judged_as_findings() -> None:
    labels, targets, groups, reference, reduced = case("multilabel", noise=2.0)
    concepts = LabelSpace("multilabel", ("round", "dark", "rough"))
    gate = check_gate(concepts, targets, groups, reference, reduced, interval=Interval(20, seed=3), subject="concept")
    plain = check_gate(labels, targets, groups, reference, reduced, interval=Interval(20, seed=3))
    assert [replace(a, name=None) for a in gate.losses] == [replace(b, name=None) for b in plain.losses]
    assert [loss.name for loss in gate.losses] == [None, "round", "dark", "rough"]
    assert "AUROC of concept" in str(gate.reason)
    nothing = check_gate(concepts, np.full_like(targets, np.nan), groups, reference, reference, subject="concept")
    assert str(nothing.reason).startswith("concepts: AUROC is undefined on the validation split (every label is missing)")


def test_embeddings_by_hand() -> None:
    reference = np.array([[1, 0], [0, 2], [3, 4]], dtype=np.float32)
    reduced = np.array([[2, 0], [1, 1], [3, 4]], dtype=np.float32)
    gate = check_embeddings(reference, reduced)
    assert [alike.value for alike in gate.likeness] == pytest.approx([(2 + 0.5**0.5) / 3, 0.5**0.5])
    assert gate.reason == "mean cosine with the float32 model is 0.9024, limit 0.99"
    assert check_embeddings(reference, reduced, limits=GateLimits(cosine=0.9)).passed
    assert check_embeddings(reference, 7 * reference).passed
    lost = check_embeddings(reference, reference * [[1], [1], [0]], limits=GateLimits(cosine=0.5))
    assert [alike.value for alike in lost.likeness] == pytest.approx([2 / 3, 0])
    assert "1 of 3 samples" in str(check_embeddings(reference, reduced * [[1], [np.nan], [1]]).reason)
    assert "undefined" in str(check_embeddings(reference[:0], reduced[:0]).reason)
    assert json.loads(json.dumps(gate.to_dict(), allow_nan=False))["passed"] is False
    with pytest.raises(ExportError, match="1 embeddings of the float32 model have length 0"):
        check_embeddings(reference * [[1], [1], [0]], reduced)


@pytest.mark.parametrize("kind", KINDS)
def test_the_figures_are_json_and_lines(kind: str) -> None:
    labels, targets, groups, reference, reduced = case(kind)
    for names in (groups, ["p"] * 300):  # one patient alone: no interval, still a verdict
        gate = check_gate(labels, targets, names, reference, reduced, interval=Interval(20))
        read = json.loads(json.dumps(gate.to_dict(), allow_nan=False))
        assert read["passed"] is gate.passed
        assert read["reason"] == gate.reason
        assert read["groups"] == len(set(names))
        keys = {"metric", "name", "reference", "reduced", "loss", "low", "high", "limit"}
        assert all(set(loss) == keys for loss in read["losses"])
        assert all((loss["low"] is None) == (read["groups"] == 1) for loss in read["losses"])
        lines = format_gate(gate)
        assert not any("None" in line or "nan" in line for line in lines)
        assert len(lines) == 1 + len(gate.losses) + len(gate.likeness)


def test_a_figure_is_shown_with_the_digits_that_tell_it_from_its_limit() -> None:
    gate = Gate("class", 10, losses=(Loss("auroc", None, 0.9, 0.894999, 0.005001, None, None, 0.005),))
    assert "falls by 0.005001 " in str(gate.reason)


@pytest.mark.parametrize("wrong", ["targets", "groups", "reduced"])
def test_shapes_that_do_not_agree(wrong: str) -> None:
    labels, targets, groups, reference, reduced = case("multiclass")
    given = {"targets": targets, "groups": groups, "reduced": reduced}
    given[wrong] = given[wrong][:-1]
    with pytest.raises(ExportError, match="the gate needs"):
        check_gate(labels, given["targets"], given["groups"], reference, given["reduced"])


def test_the_change_of_values_by_hand() -> None:
    targets, groups = column(0, 1, 0, 1), list("abcd")
    # sigmoid(ln 3) = 3/4 and sigmoid(ln 9) = 9/10: one entry of four moves by 0.15.
    reference, reduced = np.log(column(3, 3, 3, 3)), np.log(column(3, 3, 3, 9))
    gate = check_gate(ONE, targets, groups, reference, reduced, limits=LOOSE, interval=NO_INTERVAL)
    assert (gate.likeness[1].metric, gate.likeness[1].value) == ("probability_change", pytest.approx(0.15 / 4))
    # softmax of (ln 3, 0) is (3/4, 1/4), of (0, 0) it is (1/2, 1/2).
    two = LabelSpace("multiclass", ("a", "b"))
    reference = np.log(np.array([[3, 1], [1, 3]], dtype=np.float32))
    gate = check_gate(two, two.one_hot([0, 1]), ["x", "y"], reference, reference * [[0], [1]], limits=LOOSE, interval=NO_INTERVAL)
    assert gate.likeness[1].value == pytest.approx(0.125)
    # Targets of spread 1 and 10; both outputs move by 0.2 and 1 on average: 0.2 and 0.1 spreads, and the worst counts.
    both = LabelSpace("regression", ("a", "b"))
    targets = np.array([[0, 0], [2, 20]], dtype=np.float32)
    gate = check_gate(
        both, targets, ["x", "y"], targets, targets + np.array([[0.4, -2], [0, 0]]), limits=LOOSE, interval=NO_INTERVAL
    )
    assert gate.likeness[0].value == pytest.approx(0.2)


@pytest.mark.parametrize("kind", ["multiclass", "ordinal", "multilabel"])
def test_twenty_times_the_logits_are_refused(kind: str) -> None:
    labels, targets, groups, reference, _ = case(kind)
    gate = check_gate(labels, targets, groups, reference, 20 * reference, interval=NO_INTERVAL, limits=GateLimits(loss=1))
    assert str(gate.reason).startswith("mean change of probability from the float32 model")
    assert str(gate.reason).endswith("limit 0.03")
    assert any("probability_change" in line and "FAILED" in line for line in format_gate(gate))


@pytest.mark.parametrize("way", ["collapsed", "shifted"])
def test_a_regression_that_says_something_else_is_refused_though_its_error_shrinks(way: str) -> None:
    labels, targets, groups, _, _ = case("regression", width=1)
    rng = np.random.default_rng(0)
    reference = targets.mean() + 2 * rng.normal(size=targets.shape).astype(np.float32)  # worse than the mean of the targets
    reduced = np.full_like(reference, targets.mean())
    if way == "shifted":
        reference, reduced = targets + 1, targets + 0.5
    gate = check_gate(labels, targets, groups, reference, reduced, interval=NO_INTERVAL)
    assert all(loss.loss < 0 for loss in gate.losses)
    assert str(gate.reason).startswith("mean change of a value from the float32 model")
    assert str(gate.reason).endswith("limit 0.1")
