"""Groups of rows answer together: by hand, as pandas does, over the right unit; what has no answer is refused by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from medzoo.data.errors import ConfigError, EvaluationError, UnknownNameError
from medzoo.data.labels import LabelSpace, probabilities
from medzoo.evaluation.grouped.groups import group_predictions
from medzoo.evaluation.grouped.votes import voted
from medzoo.evaluation.monitor import monitor_value
from medzoo.evaluation.predictions import Predictions

CLASSES = LabelSpace("multiclass", ("a", "b", "c"))


def as_logits(shares: Any, labels: LabelSpace) -> Any:
    if labels.kind == "regression":
        return shares.astype(np.float32)
    return (np.log(shares) - (np.log(1 - shares) if labels.kind == "multilabel" else 0)).astype(np.float32)


def said(labels: LabelSpace, logits: Any, targets: Any, group: Any, **kept: Any) -> Predictions:
    """Return rows that say these logits, however large."""
    given = np.asarray(logits, np.float32)
    blank = rows(labels, np.full(given.shape, 0.5), targets, group, **kept)
    return replace(blank, logits=given, probabilities=probabilities(given, labels))


def rows(labels: LabelSpace, shares: Any, targets: Any, group: Any, **kept: Any) -> Predictions:
    shares, count = np.asarray(shares, np.float64), len(group)
    held = {name: pd.Series(values, dtype=object) for name, values in kept.items() if name not in ("unit", "subgroups")}
    return Predictions(
        labels, np.array([f"s{i}" for i in range(count)], object), np.array(["test"] * count, object), np.array(group, object),
        np.asarray(targets, np.float32), as_logits(shares, labels), shares.astype(np.float32),
        kept.get("subgroups", pd.DataFrame(index=range(count))), kept=pd.DataFrame(held) if held else None,
        split_unit=kept.get("unit", "patient"),
    )  # fmt: skip


def frames() -> Predictions:
    """Ten frames of three videos that say [0,0,1], [1,1,0] and [2,2,2,0], of truth 0, 1 and 2."""
    said, video = [0, 0, 1, 1, 1, 0, 2, 2, 2, 0], ["x"] * 3 + ["y"] * 3 + ["z"] * 4
    truth = np.eye(3)[[0] * 3 + [1] * 3 + [2] * 4]
    return rows(CLASSES, np.eye(3)[said] * 0.7 + 0.1, truth, ["p", "p", "p", "p", "p", "p", "q", "q", "q", "q"], video=video)


def test_frames_by_hand() -> None:
    given = frames()
    assert (given.probabilities.argmax(1) == given.targets.argmax(1)).sum() == 7
    for vote in ("majority", "mean"):
        groups = group_predictions(given, ["video"], vote)
        assert groups.sample_id.tolist() == ["x", "y", "z"]
        assert groups.logits.argmax(axis=1).tolist() == groups.targets.argmax(axis=1).tolist() == [0, 1, 2]
        assert groups.group.tolist() == ["p", "p", "q"]  # intervals are over patients, above the video
        assert groups.split_unit == "patient"
        assert groups.details["by"] == {"columns": ["video"], "vote": vote, "rows": 10, "groups": 3}
    shares = group_predictions(given, ["video"], "majority").probabilities
    np.testing.assert_allclose(shares[0], [(2 + 1.7 / 3) / 4, (1 + 1.0 / 3) / 4, 0.3 / 3 / 4], rtol=1e-6)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "regression"])
def test_a_thousand_random_cases_are_as_pandas_has_them(kind: str) -> None:
    draw = np.random.default_rng(7)
    case = np.sort(draw.integers(0, 1000, 4000))
    labels = LabelSpace(kind, ("a", "b", "c"), **({"units": ("m", "m", "m")} if kind == "regression" else {}))
    shares = draw.uniform(size=(4000, 3)).astype(np.float32).astype(np.float64)
    if kind == "multiclass":
        shares = draw.dirichlet([1, 1, 1], 4000).astype(np.float32).astype(np.float64)
    known = {c: draw.integers(0, 2, 3) if kind != "multiclass" else np.eye(3)[draw.integers(3)] for c in range(1000)}
    given = rows(labels, shares, np.stack([known[c] for c in case]), case.astype(str), case=case)
    by_case = pd.DataFrame(shares).groupby(case)
    mean = group_predictions(given, ["case"], "mean")
    np.testing.assert_allclose(mean.probabilities, by_case.mean(), rtol=1e-6)
    assert mean.sample_id.tolist() == [str(c) for c in by_case.groups]
    np.testing.assert_array_equal(mean.targets, np.stack([known[c] for c in by_case.groups]))
    if kind == "multiclass":
        groups = group_predictions(given, ["case"], "majority")

        def winner(part: pd.DataFrame) -> int:
            votes = part.idxmax(axis=1).value_counts()
            return int(part.mean()[votes.index[votes == votes.max()]].idxmax())

        expected = by_case.apply(winner).to_numpy()
        ties = by_case.apply(lambda part: part.idxmax(axis=1).value_counts().nlargest(2, keep="all").nunique() == 1).sum()
        assert ties > 100  # which mean probability settled
        np.testing.assert_array_equal(groups.logits.argmax(axis=1), expected)
    if kind == "multilabel":
        groups = group_predictions(given, ["case"], "majority")
        half = (by_case.agg(lambda column: (column > 0.5).mean())).to_numpy()
        expected = np.where(half == 0.5, by_case.mean() > 0.5, half > 0.5)
        np.testing.assert_array_equal(groups.logits > 0, expected)
        np.testing.assert_allclose(group_predictions(given, ["case"], "any").probabilities, by_case.max(), rtol=1e-6)


def test_any_positive_row_settles_findings_and_two_classes() -> None:
    findings = LabelSpace("multilabel", ("f", "g"))
    truth = [[1, 0], [0, np.nan], [0, 0], [np.nan, 0]]
    given = rows(findings, [[0.2, 0.1], [0.6, 0.3], [0.1, 0.2], [0.3, 0.9]], truth, list("ppqq"), eye=["l", "l", "r", "r"])
    groups = group_predictions(given, ["eye"], "any")
    np.testing.assert_allclose(groups.probabilities, [[0.6, 0.3], [0.3, 0.9]], rtol=1e-6)
    np.testing.assert_array_equal(groups.targets, [[1, np.nan], [np.nan, 0]])  # no positive row, and not all are known
    two = LabelSpace("multiclass", ("no", "yes"))
    given = rows(two, [[0.9, 0.1], [0.3, 0.7]], [[1, 0], [0, 1]], list("pp"))
    groups = group_predictions(given, ["group"], "any")
    np.testing.assert_allclose(groups.probabilities, [[0.3, 0.7]], rtol=1e-6)
    np.testing.assert_array_equal(groups.targets, [[0, 1]])


def test_a_group_of_several_patients_joins_them_and_says_so() -> None:
    given = rows(CLASSES, np.full((4, 3), 1 / 3), np.eye(3)[[0, 0, 1, 1]], list("pqqr"), scanner=["a", "a", "b", "b"])
    groups = group_predictions(given, ["scanner"], "mean")
    assert len(set(groups.group)) == 1  # q is in both: nothing independent is left
    assert groups.split_unit == "patient joined by scanner"
    assert "2 of 2 groups by scanner hold more than one patient" in groups.notes[0]
    unknown = rows(
        CLASSES, np.full((4, 3), 1 / 3), np.eye(3)[[0, 0, 1, 1]], list("wxyz"), unit="image", video=["a", "a", "b", "b"]
    )
    groups = group_predictions(unknown, ["video"], "mean")
    assert groups.split_unit == "video"
    assert len(set(groups.group)) == 2
    assert "knows no patient" in groups.notes[0]


def test_subgroups_stay_where_a_group_has_one_value() -> None:
    given = frames()
    held = pd.DataFrame({"sex": ["f"] * 6 + ["m"] * 4, "frame_no": list("0123456789")})
    groups = group_predictions(rows(CLASSES, given.probabilities, given.targets, given.group, video=given.kept["video"],
                                    subgroups=held), ["video"], "mean")  # type: ignore[index]  # fmt: skip
    assert groups.subgroups["sex"].tolist() == ["f", "f", "m"]
    assert list(groups.subgroups.columns) == ["sex"]
    assert "frame_no" in groups.notes[-1]


def test_what_has_no_answer_is_refused_by_name() -> None:
    given = frames()
    with pytest.raises(UnknownNameError, match=r"unknown column 'vido'.*'video'"):
        group_predictions(given, ["vido"], "mean")
    with pytest.raises(EvaluationError, match=r"by=group: the rows of 'p' differ in their truth: b of s0 is 0 and of s3 1 \("):
        group_predictions(given, ["group"], "mean")
    holes = rows(CLASSES, given.probabilities, given.targets, given.group, video=[None, *given.kept["video"][1:]])  # type: ignore[index]
    with pytest.raises(EvaluationError, match=r"1 rows have no video \(s0\)"):
        group_predictions(holes, ["video"], "mean")
    with pytest.raises(ConfigError, match="3 multiclass classes have no positive one"):
        group_predictions(given, ["video"], "any")
    values = rows(LabelSpace("regression", ("cst",), units=("um",)), [[1.0], [2.0]], [[1.0], [1.0]], list("pp"))
    with pytest.raises(ConfigError, match="quantities; use mean"):
        group_predictions(values, ["group"], "majority")
    assert group_predictions(values, ["group"], "mean").logits.tolist() == [[1.5]]


@pytest.mark.parametrize(
    ("kind", "vote"),
    [(kind, vote) for kind in ("multiclass", "multilabel") for vote in ("mean", "majority", "any")]
    + [("ordinal", "mean"), ("ordinal", "majority")],
)
def test_probabilities_that_round_to_one_do_not_tie(kind: Any, vote: str) -> None:
    """Groups of one row, and of equal rows as averaged copies are, rank as rows do."""
    rng = np.random.default_rng(0)
    truth = (rng.random((400, 1)) < 0.4).astype(np.float32)
    odds = 18 + 4 * (truth - 0.5) + 3 * rng.normal(size=(400, 1))
    findings = kind == "multilabel"
    labels = LabelSpace(kind, ("f",) if findings else ("no", "yes"))
    truth, odds = (truth, odds) if findings else (np.hstack([1 - truth, truth]), np.hstack([np.zeros_like(odds) - 3, odds - 3]))
    for copies in (1, 5):
        names = np.tile(np.arange(400).astype(str), copies)
        given = said(labels, np.tile(odds, (copies, 1)), np.tile(truth, (copies, 1)), names)
        groups = group_predictions(given, ["group"], vote)
        wanted = monitor_value(labels, given.targets[:400], given.logits[:400], "auroc")
        assert monitor_value(labels, groups.targets, groups.logits, "auroc") == pytest.approx(wanted, abs=1e-12)
        if vote != "majority":
            np.testing.assert_allclose(groups.logits, given.logits[:400], rtol=1e-6)
            np.testing.assert_allclose(groups.probabilities, given.probabilities[:400], rtol=1e-5)


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_logits_of_a_mean_are_those_of_the_mean_probability(kind: Any) -> None:
    """Probabilities far from 0 and 1, of which float64 has the mean itself; rows that are shifted say the same."""
    rng = np.random.default_rng(1)
    labels, logits, codes = LabelSpace(kind, ("a", "b", "c")), rng.normal(size=(60, 3)) * 3, rng.integers(0, 7, 60)
    mean = pd.DataFrame(probabilities(logits, labels)).groupby(codes).mean().to_numpy()
    shift = 0 if kind == "multilabel" else rng.normal(size=(60, 1)) * 5
    found = voted(logits + shift, codes, labels, "mean")
    np.testing.assert_allclose(probabilities(found, labels), mean, rtol=1e-12)


def test_the_majority_of_one_row_is_that_row_and_a_tie_goes_by_the_mean() -> None:
    findings = LabelSpace("multilabel", ("f",))
    for case, odds, called in (
        ("not called at one half", [0.0], False), ("called above it", [1e-3], True), ("not below", [-1e-3], False),
        ("a tie of the surer one for it", [2.0, -1.0], True), ("a tie of the surer one against it", [1.0, -2.0], False),
        ("a tie through and through", [2.0, -2.0], False), ("one half votes against", [0.0, 1.0], True),
        ("two against one", [30.0, -0.1, -0.1], False), ("two for one against", [-30.0, 0.1, 0.1], True),
        ("saturated, the surer one for it", [16.0, -15.0], True), ("and against it", [15.0, -16.0], False),
    ):  # fmt: skip
        groups = group_predictions(
            said(findings, [[one] for one in odds], [[1]] * len(odds), ["p"] * len(odds)), ["group"], "majority"
        )
        assert bool(groups.logits[0, 0] > 0) is called, case
    two = LabelSpace("multiclass", ("no", "yes"))
    for odds, chosen in (([16.0, -15.0], 1), ([15.0, -16.0], 0), ([3.0], 1), ([-3.0], 0)):
        given = said(two, [[0.0, one] for one in odds], [[0, 1]] * len(odds), ["p"] * len(odds))
        assert group_predictions(given, ["group"], "majority").logits.argmax(axis=1).tolist() == [chosen]


def test_groups_whose_joined_names_would_be_alike_stay_apart() -> None:
    given = rows(
        CLASSES, np.full((4, 3), 1 / 3), np.eye(3)[[0, 1, 2, 0]], list("pppp"), u=["x", "x / y", "w", "x"],
        v=["y / z", "z", "v", "y / z"],
    )  # fmt: skip
    groups = group_predictions(given, ["u", "v"], "mean")
    assert groups.sample_id.tolist() == ['"x" / "y / z"', '"x / y" / "z"', '"w" / "v"']
    assert groups.targets.argmax(axis=1).tolist() == [0, 1, 2]
    plain = given.take(np.array([True, False, True, True]))
    assert group_predictions(plain, ["u", "v"], "mean").sample_id.tolist() == ["x / y / z", "w / v"]
