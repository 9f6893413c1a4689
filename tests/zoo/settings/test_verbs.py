"""Settings stand twice, in conf/ with a comment each and in a dataclass with its type: both must say the same."""

from __future__ import annotations

from dataclasses import MISSING, fields
from importlib import resources
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from medzoo.export.settings import BenchConfig, ExportConfig
from medzoo.settings.evaluation import EvaluationConfig
from medzoo.settings.schema import LossConfig, TrainConfig, TrainerConfig
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
)

CONF = resources.files("medzoo.conf")
VERBS: dict[str, type] = {
    "train": TrainConfig, "evaluate": EvaluateConfig, "zeroshot": ZeroshotConfig, "intervene": InterveneConfig,
    "explain": ExplainConfig, "prepare": PrepareConfig, "verify": VerifyConfig, "export": ExportConfig, "bench": BenchConfig,
    "report": ReportConfig, "robustness": RobustnessConfig, "push": PushConfig, "card": CardConfig,
}  # fmt: skip
GROUPS: dict[str, type] = {"trainer/default": TrainerConfig, "evaluation/default": EvaluationConfig, "loss/default": LossConfig}


def read(name: str) -> tuple[dict[str, Any], set[str]]:
    """Return a file's own settings, and the groups whose settings it takes (an experiment only overrides)."""
    content = yaml.safe_load((CONF / f"{name}.yaml").read_text(encoding="utf-8"))
    listed = [entry for entry in content.pop("defaults", []) if isinstance(entry, dict)]
    return content, {group.rpartition("@")[2] for entry in listed for group in entry} - {"experiment"}


def test_every_verb_with_settings_is_looked_at() -> None:
    assert set(VERBS) == {path.name.removesuffix(".yaml") for path in CONF.iterdir() if path.name.endswith(".yaml")}


@pytest.mark.parametrize("name", [*VERBS, *GROUPS])
def test_yaml_and_dataclass_agree(name: str) -> None:
    schema = (VERBS | GROUPS)[name]
    own, groups = read(name)
    order = [field.name for field in fields(schema)]
    assert set(own) | groups == set(order)
    assert list(own) == sorted(own, key=order.index)
    defaults = OmegaConf.to_container(OmegaConf.structured(schema))
    assert isinstance(defaults, dict)
    assert own == {key: defaults[key] for key in own}
    assert all(field.default is not MISSING or field.default_factory is not MISSING for field in fields(schema))
