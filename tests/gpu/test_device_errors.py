"""A GPU that is not there, or too small, is one line with the remedy."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from tests.gpu.families import PHANTOM, Trained

TINY = [*PHANTOM, "model.backbone=test_resnet", "trainer.epochs=1", "evaluation.replicates=5"]
PROGRAM = "import sys; from medzoo.cli import main; sys.exit(main(sys.argv[1:]))"
SMALL = "import torch; torch.cuda.set_per_process_memory_fraction({share}); "


def refused(*words: str, program: str = PROGRAM, environment: Mapping[str, str] | None = None) -> str:
    """Run the command line in a process of its own; returns the one line of its error."""
    given = {**os.environ, **(environment or {})}
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=False, env=given)
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("medzoo: ")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return lines[0]


def test_a_hidden_card_is_said(tmp_path: Path, card: str) -> None:
    said = refused("train", *TINY, f"device={card}", f"run={tmp_path / 'run'}", environment={"CUDA_VISIBLE_DEVICES": ""})
    assert said == "medzoo: device=cuda, but torch sees no GPU; use device=cpu or install a CUDA driver"
    assert not (tmp_path / "run").exists()


def test_a_card_that_onnxruntime_does_not_have_is_said(trained: Trained, cuda_provider: str, tmp_path: Path) -> None:
    run = trained("cnn")
    words = ["predict", str(run / "model.onnx"), str(run / "samples"), "--provider", cuda_provider]
    assert "provider=cuda" in refused(*words, "--device", "99")
    assert "provider=cuda" in refused(*words, environment={"CUDA_VISIBLE_DEVICES": ""})


def test_a_training_that_does_not_fit_names_its_batch_size(tmp_path: Path, card: str) -> None:
    share = 24 * 2**20 / torch.cuda.get_device_properties(0).total_memory
    words = [*TINY, "data.size=128", "trainer.batch_size=64", "model.preprocess.size=512", f"device={card}"]
    said = refused("train", *words, f"run={tmp_path / 'run'}", program=SMALL.format(share=share) + PROGRAM)
    assert said.startswith("medzoo: the GPU has too little memory for trainer.batch_size=64: ")
    assert "trainer.accumulate" in said


def test_an_evaluation_that_does_not_fit_names_its_batch_size(trained: Trained, tmp_path: Path, card: str) -> None:
    share = 2 * 2**20 / torch.cuda.get_device_properties(0).total_memory
    words = ["evaluate", f"run={trained('vit')}", "evaluation.batch_size=512", f"device={card}"]
    said = refused(*words, program=SMALL.format(share=share) + PROGRAM)
    assert said.startswith("medzoo: the GPU has too little memory for evaluation.batch_size=512: ")
