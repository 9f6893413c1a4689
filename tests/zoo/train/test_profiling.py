"""The profile of a training: a trace that opens, shares that add up, and no effect on what is learnt."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from torch.autograd import DeviceType

from medzoo.cli import main
from medzoo.store.checkpoint import find_checkpoint
from medzoo.train.profiling import STEP, WAITING, Shares, shares_of

TINY = [
    "data=phantom", "data.size=16", "data.patients=20", "model=vit", "model.backbone=test_vit", "model.preprocess.size=32",
    "trainer.trackers=[]", "trainer.epochs=2", "trainer.batch_size=8", "evaluate=false", "device=cpu",
]  # fmt: skip


@dataclass
class Span:
    start: float
    end: float


@dataclass
class Event:
    name: str
    time_range: Span
    device_type: DeviceType = DeviceType.CPU
    is_user_annotation: bool = False


def event(name: str, start: float, end: float, device: DeviceType = DeviceType.CPU) -> Event:
    return Event(name, Span(start, end), device)


STEPS = [event(WAITING, 0, 20), event(STEP, 20, 60), event(WAITING, 60, 70), event(STEP, 70, 100)]


def test_a_cpu_prepares_or_computes_or_neither() -> None:
    """Operations overlap (one calls another) and some are of preparing the batch; 100 units are followed, validation is not."""
    host = [event("aten::conv2d", 20, 40), event("aten::mkldnn", 25, 40), event("aten::add", 35, 45)]
    host += [event("aten::stack", 10, 20), event("aten::mm", 80, 100), event("aten::validation", 100, 200)]
    found = shares_of([*STEPS, *host])
    assert (found.computing, found.data, found.launches) == (pytest.approx(0.45), pytest.approx(0.30), pytest.approx(0.25))


def test_a_gpu_that_computes_meanwhile_waits_for_nothing() -> None:
    device = [event("kernel", 30, 70, DeviceType.CUDA), event("kernel", 40, 50, DeviceType.CUDA)]
    device.append(Event(STEP, Span(20, 100), DeviceType.CUDA, is_user_annotation=True))
    found = shares_of([*STEPS, *device, event("aten::conv2d", 20, 21)])
    assert (found.computing, found.data, found.launches) == (pytest.approx(0.40), pytest.approx(0.20), pytest.approx(0.40))


@pytest.mark.parametrize(
    ("shares", "word"), [((0.6, 0.3, 0.1), "computing"), ((0.2, 0.5, 0.3), "for data"), ((0.3, 0.2, 0.5), "for launches")]
)
def test_the_verdict_is_the_largest_share(shares: tuple[float, float, float], word: str) -> None:
    assert word in Shares(*shares).verdict.partition(":")[0]


def test_a_profiled_training_is_the_same_training(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name, profiled in (("off", "false"), ("on", "true")):
        assert main(["train", *TINY, f"trainer.profile={profiled}", f"run={tmp_path / name}"]) == 0
        said = capfd.readouterr()
        assert ("profile of " in said.out) == (name == "on")
        assert "profiler" not in said.err
        assert (tmp_path / name / "profile.json").is_file() == (name == "on")
    weights = [(find_checkpoint(tmp_path / name, "last") / "model.safetensors").read_bytes() for name in ("off", "on")]
    assert weights[0] == weights[1]
    names = [one.get("name") for one in json.loads((tmp_path / "on" / "profile.json").read_text())["traceEvents"]]
    assert names.count(STEP) >= 1
    assert names.count(WAITING) >= names.count(STEP)


def test_too_short_a_training_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = ["trainer.profile=true", "trainer.epochs=1", "trainer.batch_size=64"]
    assert main(["train", *TINY, *short, f"run={tmp_path / 'run'}"]) == 0
    assert "note: trainer.profile traces an epoch's steps after the first 3" in capsys.readouterr().out
