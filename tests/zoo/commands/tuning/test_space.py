"""What a search may be asked for, and what is said of what it may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from medzoo.commands.tuning.asked import Asked, Method
from medzoo.commands.tuning.best import experiment
from medzoo.commands.tuning.propose import foresee
from medzoo.commands.tuning.space import read_setting, read_short
from medzoo.data.errors import ConfigError
from medzoo.settings.compose import compose_config

FILE = """
space:
  trainer.learning_rate: {log: [1e-5, 1e-2]}
  trainer.batch_size: {choice: [16, 32]}
common: data=phantom data.size=16
trials: 4
"""


def asked(folder: Path, text: str = FILE, *words: str) -> Asked:
    (folder / "search.yaml").write_text(text, encoding="utf-8")
    return Asked.read(folder / "search.yaml", words)


@pytest.mark.parametrize(
    ("given", "distribution"),
    [
        ({"log": ["1e-5", 1e-2]}, FloatDistribution(1e-5, 1e-2, log=True)),  # YAML takes 1e-5 for text
        ({"float": [0, 0.5]}, FloatDistribution(0.0, 0.5)),
        ({"float": [0, 0.5, 0.1]}, FloatDistribution(0.0, 0.5, step=0.1)),
        ({"int": [1, 8]}, IntDistribution(1, 8)),
        ({"int": [2, 8, 3]}, IntDistribution(2, 8, step=3)),
        ({"log_int": [8, 256]}, IntDistribution(8, 256, log=True)),
        ({"choice": ["adamw", 3, 1.5, None, True]}, CategoricalDistribution(["adamw", "3", "1.5", "null", "true"])),
        ({"choice": [[0.5, 0.75], {"a": 1}, "x y"]}, CategoricalDistribution(["[0.5,0.75]", "{a:1}", "x y"])),
        ({"choice": ["(a", "b"]}, CategoricalDistribution(["'(a'", "b"])),
    ],
)
def test_a_range_is_optunas_distribution(given: dict[str, Any], distribution: Any) -> None:
    assert read_setting("x", given, "space.x", ()).distribution == distribution


def test_a_choice_may_stand_for_several_settings() -> None:
    given = {"choice": {"small": "model=cnn model.backbone=resnet18", "vit": ["model=zach_vit"]}}
    setting = read_setting("recipe", given, "space.recipe", ())
    assert [setting.words(value) for value in setting.ends()] == [("model=cnn", "model.backbone=resnet18"), ("model=zach_vit",)]


def test_ranges_stand_on_the_command_line_too(tmp_path: Path) -> None:
    assert read_short("a.b=log(1e-5,1e-2)") == ("a.b", {"log": ["1e-5", "1e-2"]})
    assert read_short("a=choice(x,[1,2],null)") == ("a", {"choice": ["x", [1, 2], None]})
    assert read_short("a=resnet18") is None
    of_words = Asked.read(
        None, ["trainer.learning_rate=log(1e-5,1e-2)", "data=phantom", "trainer.batch_size=choice(16,32)", "data.size=16"], 4
    )
    assert of_words.told() == asked(tmp_path).told()
    both = asked(tmp_path, FILE, "trainer.epochs=2", "trainer.batch_size=choice(8,16)")
    assert both.common == ("data=phantom", "data.size=16", "trainer.epochs=2")
    assert both.space[1].ends() == ["8", "16"]


def test_defaults_are_tpe_and_median(tmp_path: Path) -> None:
    found = asked(tmp_path)
    assert (found.sampler, found.pruner) == (Method("tpe", {"startup": 10}), Method("median", {"startup": 5, "warmup": 0}))
    assert (found.trials, found.seed, found.inner, found.folds, found.test) == (4, 0, None, None, False)
    other = asked(tmp_path, FILE + "sampler: random\npruner: {hyperband: {factor: 4}}\nfolds: 5\ninner: 3\ntest: true\nseed: 7\n")
    assert other.pruner == Method("hyperband", {"min": 1, "factor": 4})
    assert (other.sampler.name, other.seed, other.inner, other.folds, other.test) == ("random", 7, 3, 5, True)


def test_a_grid_has_each_point_once_and_says_how_many(tmp_path: Path) -> None:
    text = "space: {trainer.epochs: {int: [1, 3]}, trainer.ema: {float: [0.5, 0.9, 0.2]}, loss: {choice: [default, focal]}}\n"
    text += "sampler: grid\n"
    found = foresee(asked(tmp_path, text))
    points = {(p["trainer.epochs"], round(p["trainer.ema"], 6), p["loss"]) for p in found}
    assert points == {(e, d, c) for e in (1, 2, 3) for d in (0.5, 0.7, 0.9) for c in ("default", "focal")}
    assert len(found) == 18
    with pytest.raises(ConfigError, match="the grid has 18 points"):
        asked(tmp_path, text + "trials: 19\n")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("{log: [1e-5, 1e-2]}", "{lg: [1, 2]}"), "unknown kind of a range 'lg'"),
        (("{log: [1e-5, 1e-2]}", "0.1"), "space.trainer.learning_rate is no range: give {log"),
        (("[1e-5, 1e-2]", "[1e-2, 1e-5]"), "is not from a lower to a higher number"),
        (("[1e-5, 1e-2]", "[0, 1]"), "has no logarithm; begin above 0"),
        (("[1e-5, 1e-2]", "[a, 1]"), "'a' is no number"),
        (("[1e-5, 1e-2]", "[1]"), r"log is [low, high], not [1]"),
        (("{log: [1e-5, 1e-2]}", "{float: [0, 1, 0.3]}"), "steps of 0.3 from 0 do not reach 1; the last is 0.9"),
        (("{log: [1e-5, 1e-2]}", "{int: [1.5, 3]}"), "1.5 is no whole number"),
        (("[16, 32]", "[16]"), "needs a list of two different values"),
        (("[16, 32]", "[16, 16]"), "needs a list of two different values"),
        (("[16, 32]", "ab"), "needs a list of two different values"),
        (("trainer.batch_size", "data.fold"), "data.fold is not to be tuned"),
        (("trainer.batch_size", "seed"), "seed is not to be tuned"),
        (("trainer.batch_size", "evaluation.bins"), "evaluation.bins is not to be tuned"),
        (
            ("{choice: [16, 32]}", "{choice: {a: evaluate=true, b: data=x}}"),
            "batch_size.a gives evaluate=true, which is",
        ),
        (("data.size=16", "evaluate=true"), "gives evaluate=true, which a search gives itself"),
        (("data.size=16", "run=x"), "gives run=x, which a search gives itself"),
        (("data.size=16", "trainer.batch_size=8"), "is given, and space.trainer.batch_size searches it; leave one out"),
        (("data.size=16", "~trainer.ema"), "'~trainer.ema' is no setting"),
        (("trials: 4", "trials: 0"), "trials=0 is no whole number from 1 on"),
        (("trials: 4", ""), "say how many"),
        (("trials: 4", "trial: 4"), "unknown key of a search 'trial'"),
        (("trials: 4", "trials: 4\nsampler: tpee"), "unknown sampler 'tpee'"),
        (("trials: 4", "trials: 4\nsampler: {tpe: {start: 1}}"), "unknown option of tpe 'start'"),
        (("trials: 4", "trials: 4\npruner: {median: {startup: 0}}"), "pruner.median.startup=0 is no whole number from 1 on"),
        (("trials: 4", "sampler: grid"), "a grid needs {choice: [...]}, or a range with a step"),
        (("trials: 4", "trials: 4\nfolds: 1"), "folds=1 is no whole number from 2 on"),
        (("trials: 4", "trials: 4\ntest: perhaps"), "test='perhaps' is not true or false"),
        (("space:", "space: 3\nx:"), "unknown key of a search 'x'"),
        (("space:", "space: [\n"), "is not YAML"),
    ],
)
def test_mistakes_are_one_line(change: tuple[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        asked(tmp_path, FILE.replace(*change))
    assert message in str(raised.value)
    assert "search.yaml" in str(raised.value)


def test_nothing_to_search_is_one_line() -> None:
    with pytest.raises(ConfigError, match="nothing is searched"):
        Asked.read(None, ["data=phantom"], 3)
    with pytest.raises(ConfigError, match=r"cannot read a=log\(\{"):
        Asked.read(None, ["a=log({)"], 3)


def test_the_best_settings_are_an_experiment(tmp_path: Path) -> None:
    words = [
        "data=phantom",
        "model=cnn",
        "model=vit",
        "data.size=32",
        "+model.arguments.drop_rate=0.1",
        "trainer.learning_rate=1e-05",
    ]
    words += ["trainer.milestones=[0.3,0.6]", "trainer.clip=null", "model.backbone='a b'"]
    text, beside = experiment([*words, "seed=3", "device=cpu"])
    assert beside == ["seed=3", "device=cpu"]  # which an experiment cannot give
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "best.yaml").write_text("# @package _global_\n" + text, encoding="utf-8")
    assert compose_config("train", ["experiment=best"], tmp_path) == compose_config("train", words)
    assert yaml.safe_load(text)["defaults"] == [{"override /data": "phantom"}, {"override /model": "vit"}, "_self_"]
