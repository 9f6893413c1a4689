"""Every mode that a dataset offers trains and is scored through the command line (those not in the dataset's own tests)."""

from __future__ import annotations

from pathlib import Path

import pytest

from medzoo.cli import main
from tests.data.datasets import chestxray14_files, derm1m_files, scin_files

TINY = [
    "model.backbone=test_resnet", "model.preprocess.size=32", "trainer.epochs=1", "trainer.trackers=[]", "trainer.batch_size=8",
    "evaluation.replicates=5",
]  # fmt: skip


@pytest.fixture(scope="module")
def scin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scin")
    scin_files.write_bucket(root, scin_files.many(40))
    return root


@pytest.fixture(scope="module")
def derm1m(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("derm1m")
    derm1m_files.write_derm1m(root, derm1m_files.many_rows(6, 16), derm1m_files.many_rows(3, 8, prefix="v"))
    return root


@pytest.mark.parametrize("labels", ["soft", "top1", "multilabel"])
@pytest.mark.parametrize("rest", ["other", "mask"])
def test_scin_by_case(labels: str, rest: str, scin: Path, tmp_path: Path) -> None:
    options = [f"data.root={scin}", f"data.labels={labels}", f"data.rest={rest}", "data.top=3", "data.views=case"]
    assert main(["train", "data=scin", *options, "data.ungradable=keep", *TINY, f"run={tmp_path / 'run'}"]) == 0


@pytest.mark.parametrize("labels", ["level2", "level3"])
def test_derm1m_by_level(labels: str, derm1m: Path, tmp_path: Path) -> None:
    options = [f"data.root={derm1m}", f"data.labels={labels}", "data.min_count=1", "data.caption=full"]
    assert main(["train", "data=derm1m", *options, *TINY, f"run={tmp_path / 'run'}"]) == 0


def test_chestxray8(tmp_path: Path) -> None:
    films = chestxray14_files.many_films(16)
    chestxray14_files.write_release(tmp_path, films, [film[0] for film in films if film[0][:8] > "00000012"])
    chestxray14_files.write_images(tmp_path, [film[0] for film in films])
    assert main(["train", "data=chestxray14", f"data.root={tmp_path}", "data.labels=8", *TINY, f"run={tmp_path / 'run'}"]) == 0
