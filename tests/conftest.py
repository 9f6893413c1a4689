"""One small trained run that many tests read and none may change."""

from __future__ import annotations

import os

# Workers of pytest-xdist share the cores: one thread each, whatever the process that started them chose for itself before. Two
# threads each on two cores wait for each other at every operator: a training then took five times as long.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # fail at once instead of retrying

import gc
import sys
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from medzoo.cli import main

# A busy machine is no fault of the code: how long an example takes to draw or to run is asserted nowhere.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

TINY = ["data=phantom", "data.size=32", "data.patients=40", "model.backbone=test_resnet", "trainer.trackers=[]"]
TESTS = Path(__file__).parent
LONGEST = (
    "export/precision/test_precision_families.py", "zoo/demo/test_demo.py", "export/commands/test_families.py",
    "zoo/tasks/test_contrast.py", "docs/test_pages.py", "export/graph/test_planes.py", "zoo/train/test_resume.py",
    "docs/test_readme.py", "zoo/settings/test_experiments.py", "export/files/test_model_files.py", "zoo/test_cli.py",
    "data/datasets/test_table.py", "zoo/report/test_document.py", "export/commands/test_kinds.py",
    "zoo/tasks/test_third_party.py", "zoo/commands/test_compare.py",
)  # fmt: skip
"""Files of minutes, which begin first: one begun last leaves all workers but its own idle (`--no-loadscope-reorder`)."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {TESTS / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish() -> None:
    """Leave what the imports made out of every later garbage collection, which took a tenth of an export or a training."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # or libraries that look at the end what is left would print pages of it


def pytest_runtest_setup() -> None:
    """Let torch's exporter make its table of operators, the same each time, once and not for half a second of each export.

    Where the exporter is loaded already; exports in processes of their own, such as README's, make it as ever.
    """
    registration = sys.modules.get("torch.onnx._internal.exporter._registration")
    table = getattr(registration, "ONNXRegistry", None)
    if table is not None and not hasattr(table.from_torchlib, "cache_info"):
        table.from_torchlib = staticmethod(lru_cache(table.from_torchlib))


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("trained") / "run"
    options = ["trainer.epochs=3", "trainer.batch_size=16", "evaluation.replicates=100"]
    options += ["trainer.augmenter=albumentations"]  # whose draws leave weights that 8 bits ruin: tests/export/precision
    assert main(["train", *TINY, *options, f"run={run}"]) == 0
    return run


FUSION = [
    "data=phantom", "data.size=16", "data.patients=24", "data.modalities=[image,second,volume]", "data.absent=0.3",
    "data.inputs=[flag,value,category]", "model=fusion", "model.backbone=test_resnet", "model.fusion.width=16",
    "+model.fusion.encoders.volume.arguments.width=0.125", "trainer.trackers=[]", "trainer.batch_size=16", "device=cpu",
    "evaluation.replicates=50",
]  # fmt: skip


@pytest.fixture(scope="session")
def fusion_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("fusion") / "run"
    assert main(["train", *FUSION, "trainer.epochs=2", f"run={run}"]) == 0
    return run


@pytest.fixture(scope="session")
def fusion_exported(fusion_run: Path) -> Path:
    assert main(["export", f"run={fusion_run}", "images=8"]) == 0
    return fusion_run / "model.onnx"


@pytest.fixture(scope="session")
def exported(trained_run: Path) -> Path:
    assert main(["export", f"run={trained_run}", "images=24"]) == 0
    return trained_run / "model.onnx"
