"""No split shares a group: in any dataset, for any seed, fold, fraction or number of shots."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from medzoo.data.dataset import Dataset
from medzoo.data.errors import DatasetError
from medzoo.data.registry import list_datasets, load_dataset
from medzoo.data.splits.groups import shared_groups
from tests.data.datasets import chestxray14_files, derm1m_files, olives_files, scin_files, shard_files


def _medmnist(root: Path) -> dict[str, Any]:
    arrays = {}
    for split, count in (("train", 40), ("val", 10), ("test", 10)):
        arrays[f"{split}_images"] = np.zeros((count, 28, 28, 3), np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count) % 5)[:, None].astype(np.uint8)
    np.savez(root / "retinamnist.npz", **arrays)
    return {"root": root, "verify": False}


def _chestxray14(root: Path) -> dict[str, Any]:
    films = chestxray14_files.many_films(40)
    chestxray14_files.write_release(root, films, [film[0] for film in films if film[0][:8] > "00000030"])
    return {"root": root, "missing": "ignore"}


def _scin(root: Path) -> dict[str, Any]:
    scin_files.write_tables(root / "dataset", [*scin_files.eleven(), *scin_files.many(60)])
    return {"root": root, "missing": "ignore", "top": 4, "views": "image"}


def _derm1m(root: Path) -> dict[str, Any]:
    rows = derm1m_files.many_rows(20, 40), derm1m_files.many_rows(4, 8, prefix="v")
    derm1m_files.write_derm1m(root, *rows, images=False)
    return {"root": root, "missing": "ignore", "labels": "level1", "min_count": 1}


def _olives(root: Path) -> dict[str, Any]:
    olives_files.write_tree(root, images=False)
    return {"root": root, "missing": "ignore"}


def _shards(root: Path) -> dict[str, Any]:
    samples = [{"__key__": f"s{n}", "png": b"-", "json": {"patient": f"p{n // 3}", "y": n % 2}} for n in range(90)]
    shard_files.write(root / "films.tar", samples)
    return {"root": root, "target": "y", "group": "patient"}


def _table(root: Path) -> dict[str, Any]:
    lines = [f"{n}.png,p{n // 3},{n % 2}" for n in range(90)]
    (root / "t.csv").write_text("image,patient,y\n" + "\n".join(lines) + "\n")
    return {"file": root / "t.csv", "target": "y", "group": "patient", "missing": "ignore"}


def _folder(root: Path) -> dict[str, Any]:
    for number in range(40):
        path = root / "ab"[number % 2] / f"{number // 4:02d}_{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("L", (8, 8)).save(path)
    return {"root": root, "group_pattern": r"^(\d+)_"}


TREES = {
    "chestxray14": _chestxray14,
    "derm1m": _derm1m,
    "folder": _folder,
    "medmnist": _medmnist,
    "olives": _olives,
    "phantom": lambda root: {"patients": 60, "size": 16, "images_per_patient": 2},
    "scin": _scin,
    "shards": _shards,
    "table": _table,
}
HAVE_SEED = ("folder", "olives", "scin", "table", "phantom")


@cache
def tree(name: str, root: Path) -> dict[str, Any]:
    folder = root / name
    folder.mkdir()
    return TREES[name](folder)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trees")


def test_every_dataset_is_in_this_test() -> None:
    assert set(TREES) == set(list_datasets())


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("name", sorted(TREES))
@given(data=st.data())
def test_no_split_shares_a_group(name: str, root: Path, data: st.DataObject) -> None:
    seed = data.draw(st.integers(0, 1000))
    options: dict[str, Any] = {"draw_seed": data.draw(st.integers(0, 50)), "split_seed": data.draw(st.integers(0, 50))}
    if name in HAVE_SEED:
        options["seed"] = seed
    if data.draw(st.booleans()):
        options["folds"] = data.draw(st.integers(2, 4))
        options["fold"] = data.draw(st.integers(0, options["folds"] - 1))
    if data.draw(st.booleans()):
        options["outer_folds"] = data.draw(st.integers(2, 4))
        options["outer_fold"] = data.draw(st.integers(0, options["outer_folds"] - 1))
    choice = data.draw(st.sampled_from(["all", "shots", "fraction"]))
    if choice == "shots":
        options["shots"] = data.draw(st.integers(1, 5))
    elif choice == "fraction":
        options["fraction"] = data.draw(st.floats(0.1, 1))
    try:
        dataset = load_dataset(name, **tree(name, root), **options)
    except DatasetError as error:
        if "cannot carve" not in str(error) and "cannot make" not in str(error):  # too few groups to divide
            raise
        return
    check(dataset)
    again = load_dataset(**dataset.options)
    assert again.table["sample_id"].tolist() == dataset.table["sample_id"].tolist()
    assert again.table["split"].tolist() == dataset.table["split"].tolist()


def check(dataset: Dataset) -> None:
    assert shared_groups(dataset.table) == {}
    assert {"train", "val"} <= set(dataset.table["split"])
    for split in ("train", "val", "test"):
        groups = set(dataset.rows(split)["group"])
        for other in {"train", "val", "test"} - {split}:
            assert not groups & set(dataset.rows(other)["group"])


def test_an_official_split_that_cuts_a_group_is_refused_unless_allowed_by_name(tmp_path: Path) -> None:
    films = chestxray14_files.many_films(6)
    names = [film[0] for film in films]
    chestxray14_files.write_release(tmp_path, films, [names[0], *names[8:]])  # one film of patient 1, and the last two patients
    with pytest.raises(DatasetError, match=r"1 patient groups stand in several splits.*data.allow_shared_groups=true"):
        load_dataset("chestxray14", root=tmp_path, missing="ignore")
    dataset = load_dataset("chestxray14", root=tmp_path, missing="ignore", allow_shared_groups=True)
    assert list(shared_groups(dataset.table)) == ["00000001"]
