"""One small trained run that many tests read and none may change."""

from __future__ import annotations

import os

# Workers of pytest-xdist share the cores: one thread each.
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # fail at once instead of retrying

from pathlib import Path

import pytest

from medzoo.cli import main

TINY = ["data=phantom", "data.size=32", "data.patients=40", "model.backbone=test_resnet", "trainer.trackers=[]"]


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("trained") / "run"
    options = ["trainer.epochs=3", "trainer.batch_size=16", "evaluation.replicates=100"]
    options += ["trainer.augmenter=albumentations"]  # whose draws leave weights that 8 bits ruin: tests/export/precision
    assert main(["train", *TINY, *options, f"run={run}"]) == 0
    return run


@pytest.fixture(scope="session")
def exported(trained_run: Path) -> Path:
    assert main(["export", f"run={trained_run}", "images=24"]) == 0
    return trained_run / "model.onnx"
