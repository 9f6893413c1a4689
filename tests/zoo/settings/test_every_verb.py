"""Every verb with settings meets the same contract: they compose, are typed, are shown, and each kind of mistake is one line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from medzoo.cli import VERBS, main
from medzoo.export.settings import BenchConfig, ExportConfig
from medzoo.settings.compose import typed
from medzoo.settings.schema import TrainConfig
from medzoo.settings.verbs import (
    CardConfig,
    EvaluateConfig,
    ExplainConfig,
    InterveneConfig,
    PrepareConfig,
    PushConfig,
    ReportConfig,
    RobustnessConfig,
    VerifyConfig,
    ZeroshotConfig,
)  # fmt: skip

CONF = Path(__file__).parents[3] / "conf"
SCHEMAS: dict[str, type[Any]] = {
    "bench": BenchConfig,
    "card": CardConfig,
    "evaluate": EvaluateConfig,
    "explain": ExplainConfig,
    "export": ExportConfig,
    "intervene": InterveneConfig,
    "prepare": PrepareConfig,
    "push": PushConfig,
    "train": TrainConfig,
    "report": ReportConfig,
    "robustness": RobustnessConfig,
    "verify": VerifyConfig,
    "zeroshot": ZeroshotConfig,
}
RUN_OF = {
    "bench": "run", "card": "run", "push": "run",
    "evaluate": "run", "explain": "run", "export": "run", "intervene": "run", "robustness": "run",
    "train": "resume", "zeroshot": "trained",
}  # fmt: skip
"""The setting that names a run which must be there; `run` is where zeroshot and train write."""
every_verb = pytest.mark.parametrize("verb", SCHEMAS)


def mistake(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must fail as a user's mistake does; return its one line."""
    assert main(list(arguments)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("medzoo: ")
    return lines[0]


def test_every_file_beside_the_groups_is_a_verb() -> None:
    assert {path.stem for path in CONF.glob("*.yaml")} == set(SCHEMAS) <= set(VERBS)


@every_verb
def test_show_prints_the_settings_of_the_schema(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", verb]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert set(shown) - {"experiment"} == {field.name for field in fields(SCHEMAS[verb])}
    assert typed(SCHEMAS[verb], OmegaConf.create(shown)).debug is False


@every_verb
def test_an_unknown_setting_names_the_nearest(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    key = max((field.name for field in fields(SCHEMAS[verb])), key=len)
    wrong = key[:2] + key[3:]  # a letter left out
    error = mistake(capsys, verb, f"{wrong}=1")
    assert error.startswith(f"medzoo: unknown setting '{wrong}'; did you mean '{key}'")


@every_verb
@pytest.mark.parametrize("kind", ["bool", "int"])
def test_a_value_of_another_type_names_the_setting(verb: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    key = next((field.name for field in fields(SCHEMAS[verb]) if field.type == kind), "debug")
    assert mistake(capsys, verb, f"{key}=many").startswith(f"medzoo: {key}: Value 'many' ")


@pytest.mark.parametrize(("verb", "key"), RUN_OF.items())
def test_a_run_that_is_not_there_is_named(verb: str, key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = mistake(capsys, verb, f"{key}={tmp_path / 'none'}")
    assert str(tmp_path / "none") in error
    assert "run directory" in error


@pytest.mark.parametrize("verb", [verb for verb, key in RUN_OF.items() if key == "run"])
def test_a_verb_without_its_run_asks_for_it(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "run=<run directory>" in mistake(capsys, verb)


def test_show_names_the_verbs_it_knows(capsys: pytest.CaptureFixture[str]) -> None:
    error = mistake(capsys, "show", "evaluat")
    assert "'evaluate'" in error
    assert all(verb in mistake(capsys, "show") for verb in SCHEMAS)


def test_no_setting_names_a_class_to_build() -> None:
    files = sorted(CONF.rglob("*.yaml"))
    assert len(files) > len(SCHEMAS)
    assert [path for path in files if "_target_" in path.read_text(encoding="utf-8")] == []


@every_verb
def test_help_tells_every_setting_and_what_it_means(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [verb, "data=table", "--help"] if verb in ("train", "verify", "prepare", "zeroshot") else [verb, "--help"]
    assert main(asked) == 0
    told = capsys.readouterr().out
    assert main(["show", *asked[:-1]]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    entries = re.findall(r"^  ([\w.]+)=(\S*|\[.*?\]|\{.*?\})(?: |\n {36})*(.*)", told, re.MULTILINE)
    lines = {key: meaning for key, _, meaning in entries}
    flat = dict(_flat(shown)) | {field.name: None for field in fields(SCHEMAS[verb])}
    groups = {"data", "model", "loss", "trainer", "evaluation", "experiment", "gate", "calibration"}
    missing = [key for key in flat if key not in lines and key.split(".")[-1] not in groups and not key.endswith(".name")]
    assert not missing, missing
    assert [key for key, meaning in lines.items() if not meaning] == []
    assert "None" not in told


@pytest.mark.parametrize("verb", sorted(set(VERBS) - set(SCHEMAS)))
def test_help_of_a_verb_without_settings_says_how_it_is_called(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    for flag in ("-h", "--help"):
        try:
            status: object = main([verb, flag])
        except SystemExit as left:  # of argparse
            status = left.code
        assert not status
        assert capsys.readouterr().out.startswith(f"usage: medzoo {verb}")


def _flat(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
