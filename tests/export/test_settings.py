"""The gate's limits: one list, a range each that means anything, and a narrower one that the settings may ask for."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from medzoo.data.errors import ConfigError
from medzoo.export.settings import GateConfig, GateLimits


def test_the_default_limits() -> None:
    assert GateLimits() == GateLimits(0.005, 0.02, 0.01, 0.98, 0.99, 30, 0.03, 0.1, 0.9)
    assert asdict(GateConfig()).items() > asdict(GateLimits()).items()


@pytest.mark.parametrize(
    "wrong",
    [{"loss": -0.1}, {"loss": float("nan")}, {"loss": float("inf")}, {"agreement": 1.1}, {"agreement": 98}, {"cosine": -1},
     {"support": 0}],
)  # fmt: skip
@pytest.mark.parametrize("kind", [GateLimits, GateConfig])
def test_limits_that_make_no_sense(kind: type[GateLimits], wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"the gate's limit {next(iter(wrong))} is"):
        kind(**wrong)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [("loss", 0.21, "0 to 0.2"), ("kappa_loss", 2, "0 to 0.2"), ("error_growth", 1.1, "0 to 1"), ("agreement", 0.4, "0.5 to 1"),
     ("cosine", 0, "0.5 to 1"), ("support", 1001, "1 to 1000"), ("probability_change", 1, "0 to 0.2"),
     ("mean_change", 2, "0 to 1"), ("overlap", 0.4, "0.5 to 1")],
)  # fmt: skip
def test_settings_that_would_judge_nothing(name: str, value: float, said: str) -> None:
    assert getattr(GateLimits(**{name: value}), name) == value  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=f"the gate's limit {name} is {value}; it must be from {said}"):
        GateConfig(**{name: value})  # type: ignore[arg-type]
