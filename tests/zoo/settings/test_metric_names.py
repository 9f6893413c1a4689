"""A metric in a setting is a name or a name with arguments, and one text in files."""

from __future__ import annotations

from typing import Any

import pytest

from medzoo.data.errors import ConfigError
from medzoo.settings.evaluation import EvaluationConfig, check_evaluation
from medzoo.settings.metric_names import metric_text, metric_texts, monitored_text, read_metric


@pytest.mark.parametrize(
    ("asked", "text", "arguments"),
    [
        ("cohen_kappa", "cohen_kappa", {}),
        ({"cohen_kappa": None}, "cohen_kappa", {}),
        ({"cohen_kappa": {"weights": "quadratic"}}, "cohen_kappa(weights=quadratic)", {"weights": "quadratic"}),
        ({"logauc": {"fpr_range": [0.01, 0.5]}}, "logauc(fpr_range=[0.01, 0.5])", {"fpr_range": [0.01, 0.5]}),
        ({"r2_score": {"b": True, "a": None}}, "r2_score(a=None, b=True)", {"a": None, "b": True}),
        ({"x": {"word": "None", "two": "a b"}}, "x(two='a b', word='None')", {"two": "a b", "word": "None"}),
        ("fbeta_score(beta=2)", "fbeta_score(beta=2)", {"beta": 2}),
    ],
)
def test_both_forms_are_one_text_which_is_read_back(asked: Any, text: str, arguments: dict[str, Any]) -> None:
    assert metric_text(asked, "evaluation.extra") == text
    assert read_metric(text) == (text.split("(")[0], arguments)
    assert metric_text(text, "evaluation.extra") == text


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ("auroc", "auroc"),
        ("tone.kappa", "tone.kappa"),
        ("tone.fbeta_score(beta=2)", "tone.fbeta_score(beta=2)"),
        ({"tone.fbeta_score": {"beta": 2}}, "tone.fbeta_score(beta=2)"),
    ],
)
def test_what_is_monitored_may_be_of_one_of_several_targets(asked: Any, text: str) -> None:
    assert monitored_text(asked, "trainer.monitor") == text
    assert monitored_text(text, "trainer.monitor") == text
    with pytest.raises(ConfigError, match="no metric"):
        monitored_text(f"tone.{asked}.x" if isinstance(asked, str) else {"a.b.c": {}}, "trainer.monitor")


@pytest.mark.parametrize(
    "asked",
    [3, None, ["auroc"], {"a": 1}, {"a": {}, "b": {}}, "two words", "a(1)", "a.b", "", "open('x')", "a(b=open('x'))", "(" * 5000],
)
def test_anything_else_is_one_line_that_shows_the_form(asked: Any) -> None:
    with pytest.raises(ConfigError, match=r"no metric; it is a name, or \{name: \{argument: value\}\}"):
        metric_text(asked, "evaluation.extra")


def test_a_value_no_text_can_hold_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"evaluation\.extra: \{.*no value of a metric's argument"):
        metric_text({"a": {"b": {"c": 1}}}, "evaluation.extra")


def test_one_metric_twice_is_refused_in_whatever_form() -> None:
    with pytest.raises(ConfigError, match=r"names a\(b=1\) twice"):
        metric_texts([{"a": {"b": 1}}, "a(b=1)"], "evaluation.extra")
    with pytest.raises(ConfigError, match="twice"):
        check_evaluation(EvaluationConfig(extra=["a", "a"]))


@pytest.mark.parametrize(
    "asked",
    [
        {"fbeta_score": {1: 2}},
        {"fbeta_score": {True: 1}},
        {"fbeta_score": {"beta": float("inf")}},
        "f1_score(**x)",
        "accuracy(k=2,k=3)",
    ],
)
def test_arguments_that_are_none_are_one_line(asked: object) -> None:
    with pytest.raises(ConfigError):
        metric_text(asked, "evaluation.extra")
