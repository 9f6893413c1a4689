"""Image–text training on every dataset of the zoo, through the same command and loop."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medzoo.cli import main
from medzoo.data.registry import list_datasets
from tests.data.datasets import chestxray14_files, derm1m_files, olives_files, scin_files


def _chestxray14(root: Path) -> list[str]:
    films = chestxray14_files.many_films(16)
    chestxray14_files.write_release(root, films, [film[0] for film in films if film[0][:8] > "00000012"])
    chestxray14_files.write_images(root, [film[0] for film in films])
    return [f"data.root={root}"]


def _derm1m(root: Path) -> list[str]:
    derm1m_files.write_derm1m(root, derm1m_files.many_rows(4, 10), derm1m_files.many_rows(2, 4, prefix="v"))
    return [f"data.root={root}", "data.min_count=1"]


def _olives(root: Path) -> list[str]:
    olives_files.write_tree(root)
    return [f"data.root={root}", "data.target=disease"]


def _scin(root: Path) -> list[str]:
    scin_files.write_bucket(root, scin_files.many(40))
    return [f"data.root={root}", "data.top=3", "data.caption=diagnosis", "data.views=case"]


def _medmnist(root: Path) -> list[str]:
    arrays = {}
    for split, count in (("train", 20), ("val", 10), ("test", 10)):
        arrays[f"{split}_images"] = np.random.default_rng(0).integers(0, 256, (count, 28, 28, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count) % 5)[:, None].astype(np.uint8)
    np.savez(root / "retinamnist.npz", **arrays)
    return [f"data.root={root}", "data.verify=false"]


def _folder(root: Path) -> list[str]:
    for number in range(30):
        path = root / ("nevus", "melanoma")[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (20, 20), (8 * number, 90, 40)).save(path)
    return [f"data.root={root}"]


def _table(root: Path) -> list[str]:
    lines = ["image,report"]
    for number in range(24):
        Image.new("L", (20, 20), 10 * number).save(root / f"{number}.png")
        lines.append(f"{number}.png,{'' if number % 6 == 5 else f'a film of brightness {number % 4}'}")
    (root / "t.csv").write_text("\n".join(lines) + "\n")
    return [f"data.file={root / 't.csv'}", "data.caption=report"]


TREES: dict[str, Callable[[Path], list[str]]] = {
    "chestxray14": _chestxray14,
    "derm1m": _derm1m,
    "folder": _folder,
    "medmnist": _medmnist,
    "olives": _olives,
    "phantom": lambda root: ["data.patients=16", "data.size=24"],
    "scin": _scin,
    "table": _table,
}


def test_no_dataset_is_left_out() -> None:
    assert set(TREES) == set(list_datasets())


@pytest.mark.parametrize("name", sorted(TREES))
def test_image_text_training(name: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    options = [
        f"data={name}",
        *TREES[name](root),
        "model=clip",
        "trainer.epochs=1",
        "trainer.batch_size=8",
        "trainer.trackers=[]",
    ]
    assert main(["train", *options, "evaluation.replicates=5", f"run={tmp_path / 'run'}"]) == 0
    report = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert report["retrieval"]["test"]["image_to_text"]["queries"] > 0
    assert ("splits" in report and "test" in report["splits"]) == (name != "table")  # the table has no labels
