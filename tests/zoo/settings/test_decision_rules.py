from __future__ import annotations

from typing import Any

import pytest

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.labels import LabelSpace
from medzoo.settings.compose import compose_config, typed
from medzoo.settings.decision_rules import GRID, Rule, curve_thresholds, operating_rules, prevalences
from medzoo.settings.evaluation import EvaluationConfig, check_evaluation
from medzoo.settings.verbs import EvaluateConfig

BINARY = LabelSpace("multiclass", ("no", "yes"))
THREE = LabelSpace("ordinal", ("none", "mild", "severe"))
FINDINGS = LabelSpace("multilabel", ("fluid", "mass"))


def test_the_command_line_gives_typed_rules() -> None:
    words = "[youden,{sensitivity: 0.9},{specificity: 1},{cost: {false_negative: 10, false_positive: 1, prevalence: 0.05}}]"
    config = compose_config("evaluate", [f"evaluation.operating_points={words}", "evaluation.prevalence={yes: 0.1}"])
    found = typed(EvaluateConfig, config).evaluation
    check_evaluation(found)
    rules = operating_rules(found.operating_points)
    assert rules == (
        Rule("youden"), Rule("sensitivity", 0.9), Rule("specificity", 1.0),
        Rule("cost", None, false_negative=10, false_positive=1, prevalence=0.05),
    )  # fmt: skip
    assert [rule.text for rule in rules] == [
        "youden", "sensitivity=0.9", "specificity=1", "cost(false_negative=10, false_positive=1, prevalence=0.05)"
    ]  # fmt: skip
    assert prevalences(found.prevalence, BINARY) == {"yes": 0.1, "no": 0.9}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("youdn", "did you mean 'youden'"),
        ({"sensitivty": 0.9}, "did you mean 'sensitivity'"),
        ("sensitivity", "takes a number, such as {sensitivity: 0.9}; got None"),
        ({"sensitivity": "0.9"}, "takes a number"),
        ({"sensitivity": True}, "takes a number"),
        ({"sensitivity": float("nan")}, "takes a number"),
        ({"sensitivity": 90}, "sensitivity 90 is not above 0 and at most 1"),
        ({"specificity": 0}, "not above 0"),
        ({"youden": 0.5}, "youden takes nothing"),
        ("cost", "cost takes what errors cost"),
        ({"cost": 10}, "cost takes what errors cost"),
        ({"cost": {"false_negative": 10}}, "does not say what a false_positive costs"),
        ({"cost": {"false_negative": 10, "false_positve": 1}}, "did you mean 'false_positive'"),
        ({"cost": {"false_negative": -1, "false_positive": 1}}, "must be above 0"),
        ({"cost": {"false_negative": 1, "false_positive": 1, "prevalence": 1}}, "not between 0 and 1"),
        ({"sensitivity": 0.9, "specificity": 0.9}, "is no rule"),
        (0.5, "is no rule"),
        (None, "is no rule"),
    ],
)
def test_what_is_no_rule_is_one_line(asked: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=r"evaluation\.operating_points") as caught:
        check_evaluation(EvaluationConfig(operating_points=[asked]))
    assert said in str(caught.value)


def test_a_rule_stands_once_and_needs_val() -> None:
    with pytest.raises(ConfigError, match=r"names sensitivity=0\.9 twice"):
        check_evaluation(EvaluationConfig(operating_points=[{"sensitivity": 0.9}, {"sensitivity": 0.90}]))
    with pytest.raises(ConfigError, match=r"add val to evaluation\.splits"):
        check_evaluation(EvaluationConfig(operating_points=["youden"], splits=["test"]))


@pytest.mark.parametrize(
    ("asked", "labels", "said"),
    [
        (0, FINDINGS, "not between 0 and 1"),
        (1.0, FINDINGS, "not between 0 and 1"),
        ("10%", FINDINGS, "takes a number"),
        ({"fluid": 2}, FINDINGS, "fluid: 2 is not between"),
        ({"flud": 0.1}, FINDINGS, "did you mean 'fluid'"),
        (0.1, BINARY, "name the class: evaluation.prevalence={yes: 0.1}"),
        ({"none": 0.6, "mild": 0.6}, THREE, "sum to 1.2"),
        ({"none": 0.2, "mild": 0.2, "severe": 0.2}, THREE, "sum to 0.6"),
    ],
)
def test_what_is_no_prevalence_is_one_line(asked: Any, labels: LabelSpace, said: str) -> None:
    with pytest.raises(ConfigError, match=r"evaluation\.prevalence") as caught:
        prevalences(asked, labels)
    assert said in str(caught.value)


def test_a_prevalence_is_of_every_finding_or_of_a_named_class() -> None:
    assert prevalences(None, FINDINGS) == {}
    assert prevalences(0.1, FINDINGS) == {"fluid": 0.1, "mass": 0.1}
    assert prevalences({"mass": 0.2}, FINDINGS) == {"mass": 0.2}
    assert prevalences({"severe": 0.2}, THREE) == {"severe": 0.2}  # what is left is two classes'
    with pytest.raises(UnknownNameError):
        prevalences({"mass": 0.2}, BINARY)


def test_the_thresholds_of_a_curve() -> None:
    assert curve_thresholds(False) == curve_thresholds(None) == ()
    assert curve_thresholds(True) == GRID
    assert GRID[0] == 0.01
    assert GRID[-1] == 0.99
    assert curve_thresholds([0.05, 0.1]) == (0.05, 0.1)
    for wrong in ([], [0.2, 0.1], [0.1, 0.1], [0, 0.5], [0.5, 1], ["a"], "all", 0.5, {"a": 0.1}):
        with pytest.raises(ConfigError, match=r"evaluation\.decision_curve"):
            check_evaluation(EvaluationConfig(decision_curve=wrong))
