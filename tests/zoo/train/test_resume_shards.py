"""A training on shards that is killed in mid-epoch goes on to the same bits, whatever the number of loading processes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from medzoo.cli import main
from tests.zoo.train.test_resume import KILL_AT_STEP, KILL_WHILE_SAVING, fingerprint

OPTIONS = [
    "model.backbone=test_resnet", "model.preprocess.size=24", "trainer.epochs=2", "trainer.batch_size=8", "trainer.accumulate=2",
    "trainer.save_every=1", "trainer.trackers=[]", "evaluation.replicates=10",
]  # fmt: skip


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards") / "out"
    data = ["data=phantom", "data.size=24", "data.patients=20"]
    assert main(["prepare", *data, "format=webdataset", "shard_size=20", f"output={folder}"]) == 0
    return folder


@pytest.fixture(scope="module")
def uninterrupted(shards: Path) -> dict[str, bytes]:
    run = shards.parent / "run"
    assert main(["train", "data=shards", f"data.root={shards}", *OPTIONS, f"run={run}", "trainer.workers=0"]) == 0
    return fingerprint(run)


@pytest.mark.parametrize(
    "program",
    [
        KILL_AT_STEP.format(step=2),  # in the middle of the first epoch, after a state was saved there
        pytest.param(KILL_AT_STEP.format(step=5), marks=pytest.mark.slow),
        pytest.param(KILL_WHILE_SAVING.format(call=12), marks=pytest.mark.slow),
    ],
)
def test_resume_in_mid_epoch_is_exact(uninterrupted: dict[str, bytes], shards: Path, tmp_path: Path, program: str) -> None:
    run = tmp_path / "run"
    given = ["data=shards", f"data.root={shards}", *OPTIONS, f"run={run}", "trainer.workers=2"]
    done = subprocess.run([sys.executable, "-c", program, "train", *given], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-800:]
    assert main(["train", f"resume={run}"]) == 0
    assert fingerprint(run) == uninterrupted
