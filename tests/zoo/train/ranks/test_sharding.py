"""A network that processes share out learns what a whole one does, goes on as one, and really is shared out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import timm
from torch import nn

from medzoo.cli import main
from medzoo.data.errors import ConfigError
from medzoo.evaluation.predictions import Predictions
from medzoo.settings.schema import TrainerConfig
from medzoo.train.sharding import OPTIMIZERS, check_sharding, repeated_blocks
from tests.zoo.train.ranks.forked import ROOT, run_together
from tests.zoo.train.ranks.plans import OPTIONS, RESNET, VIT, assert_trained_alike
from tests.zoo.train.runs import assert_same

FAMILIES = {
    "averaged": [*VIT, "data.labels=multilabel", "data.missing=0.3", "trainer.ema=0.9"],
    "image and text": ["model=clip"],
    "adversary": [*VIT, "loss.group={column: sex, how: adversarial, rise: 4, hidden: 8}", "data.missing=0.3"],
    "concepts": [*VIT[1:], "model=cbm", "data.missing=0.3"],
    "several targets": [*VIT, "data.targets=[multiclass,regression]", "data.missing=0.4"],
    "hidden patches": [
        *VIT[1:], "model=ssl", "model.family=vit", "model.ssl.objective=mae", "model.ssl.decoder=[32,1]",
        "+model.arguments.patch_size=8",
    ],
    "activations again": [*VIT, "trainer.checkpoint_activations=true"],
    "head and last block": [*VIT, "trainer.finetune=partial", "trainer.layer_decay=0.7"],
}  # fmt: skip
IN_DOUBLE = {
    "accumulated": [*RESNET, "trainer.accumulate=2"],
    "views": [*RESNET, "model=ssl", "model.ssl.hidden=32"],
    "slices": ["model=slices", *RESNET[:1], "data.dims=3"],
}
SHARED = "trainer.fsdp=true"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("double", [False, True])
def test_shares_of_a_network_learn_what_the_whole_does(double: bool, tmp_path: Path) -> None:
    assert_trained_alike(IN_DOUBLE if double else FAMILIES, OPTIONS, tmp_path, double=double, together=[SHARED])


TOLD = """
import os, sys
from medzoo.train import loop, sharding
step = loop.Trainer._step
def told(self, *given):
    loss = step(self, *given)
    if self.progress.step == 2:
        parts = [p for p in self.learners]
        memory = [v for state in self.optimizer.state.values() for v in state.values()]
        held, kept = (sum(sharding.own(t).numel() for t in tensors) for tensors in (parts, memory))
        whole = sum(p.numel() for p in self.learners)
        os.write(1, f"held {held / whole} {kept / whole}\\n".encode())  # at once: two processes share the pipe
    return loss
loop.Trainer._step = told
from tests.zoo.train.ranks.forked import main
sys.exit(main(sys.argv[1:]))
"""


def test_each_process_holds_a_share_and_the_run_is_any_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = [*OPTIONS[:-1], *VIT, SHARED, "evaluation.replicates=10", f"run={run}"]
    done = subprocess.run(
        [sys.executable, "-c", TOLD, "2", *words], cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("held ")]
    assert len(told) == 2
    for held, kept in told:
        assert 0.4 < float(held) < 0.6
        assert 0.4 < float(kept) < 0.6
    assert (run / "metrics.json").is_file()
    # What was written is whole: one process reads it and says the same.
    both = Predictions.read(run / "predictions.parquet")
    assert main(["evaluate", f"run={run}", "evaluation.replicates=10", "device=cpu"]) == 0
    np.testing.assert_allclose(both.logits, Predictions.read(run / "predictions.parquet").logits, atol=1e-5)


@pytest.mark.slow
def test_any_number_of_processes_goes_on_with_shares_or_without(tmp_path: Path) -> None:
    options = [*OPTIONS, *VIT, "trainer.ema=0.9", "trainer.epochs=3", "trainer.save_every=1"]
    assert main([*options, f"run={tmp_path / 'whole'}"]) == 0
    a, b = tmp_path / "shares", tmp_path / "copies"
    first = run_together((2, [*options, SHARED, f"run={a}"]), (2, [*options, f"run={b}"]), stop=4)
    assert first.returncode == 0, first.stderr[-3000:]
    again = ["train", f"resume={a}", "trainer.fsdp=false"], ["train", f"resume={b}", SHARED]
    then = run_together((3, again[0]), (3, again[1]))
    assert then.returncode == 0, then.stderr[-3000:]
    for run in (a, b):
        assert_same(tmp_path / "whole", run)


@pytest.mark.slow
def test_one_process_goes_on_where_three_shared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [*OPTIONS, *VIT, "trainer.epochs=3", "trainer.save_every=1"]
    run = tmp_path / "run"
    assert main([*options, f"run={tmp_path / 'whole'}"]) == 0
    assert run_together((3, [*options, SHARED, f"run={run}"]), stop=4).returncode == 0
    assert main(["train", f"resume={run}"]) == 0
    assert "trainer.fsdp shares a network out among processes, and there is one" in capsys.readouterr().out
    assert_same(tmp_path / "whole", run)


@pytest.mark.slow
def test_an_optimizer_steps_its_shares_as_the_whole(tmp_path: Path) -> None:
    # Of image and text the temperature is in no share. Lion takes signs, which are chance where attention has gradients of 1e-20.
    words = {name: ["model=clip"] if name == "adamw" else RESNET for name in OPTIMIZERS if name != "sgd"}
    words = {name: [*given, f"trainer.optimizer={name}"] for name, given in words.items()}
    options = [*OPTIONS, "trainer.learning_rate=1e-5"]
    assert_trained_alike(words, options, tmp_path, processes=2, double=True, together=[SHARED])


@pytest.mark.slow
def test_a_teacher_stays_whole(tmp_path: Path) -> None:
    teacher = tmp_path / "teacher"
    assert main([*OPTIONS, *VIT, f"run={teacher}"]) == 0
    taught = {"taught": [*VIT, f"trainer.teacher={teacher}", "trainer.distill={features: 0.5}"]}
    assert_trained_alike(taught, OPTIONS, tmp_path, processes=2, together=[SHARED])


REFUSED = {
    "an optimizer that does not look at a parameter as a whole": ({"optimizer": "lamb"}, {}),
    "trainer.compile do not go together": ({"compile": True}, {}),
    "not with fp16": ({"precision": "fp16"}, {}),
    "only a head does": ({}, {"cached": True}),
    "cannot be: it is kept elsewhere": ({}, {"kept_whole": "it is kept elsewhere"}),
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_does_not_go_with_it_is_said(said: str) -> None:
    settings, other = REFUSED[said]
    task: Any = SimpleNamespace(kept_whole=other.get("kept_whole"))
    with pytest.raises(ConfigError, match=said):
        check_sharding(TrainerConfig(**settings, fsdp=True), task, bool(other.get("cached")))
    check_sharding(TrainerConfig(fsdp=True), SimpleNamespace(kept_whole=None), False)  # type: ignore[arg-type]


@pytest.mark.parametrize("words", [["model=fusion", "data.modalities=[image,second]"], ["model=ssl", "model.ssl.objective=dino"]])
def test_families_that_are_kept_whole_say_why(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*OPTIONS, *RESNET, *words, SHARED, f"run={tmp_path / 'run'}"]) == 2
    assert "medzoo: trainer.fsdp cannot be: " in capsys.readouterr().err


def test_blocks_that_repeat_are_found() -> None:
    network = timm.create_model("vit_tiny_patch16_224", depth=3)
    assert [id(block) for block in repeated_blocks(network)] == [id(block) for block in network.blocks]
    residual = timm.create_model("resnet26")
    assert len(repeated_blocks(residual)) == 8
    assert repeated_blocks(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))) == []
