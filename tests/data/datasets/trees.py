"""The smallest files of every dataset, in its authors' own form, with the traps of the worked examples in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from medzoo.data.datasets.medmnist.sets import SETS
from tests.data.datasets import chestxray14_files, derm1m_files, medmnist_files, olives_files, scin_files, shard_files

Options = dict[str, Any]


def _chestxray14(root: Path) -> Options:
    films = chestxray14_files.many_films(16)
    chestxray14_files.write_release(root, films, [film[0] for film in films if film[0][:8] > "00000012"])
    chestxray14_files.write_images(root, [film[0] for film in films], modes=("L", "RGBA"))
    return {"root": root}


def _derm1m(root: Path) -> Options:
    deep = [
        derm1m_files.row(f"public/deep_{kind}.jpg", kind, "public", "edu", (kind, f"proliferations, malignant, melanoma, {kind}"))
        for kind in ("acral melanoma", "nodular melanoma")
    ]
    pretrain = [*derm1m_files.PRETRAIN, *derm1m_files.many_rows(4, 10, prefix="p"), *deep]
    derm1m_files.write_derm1m(root, pretrain, [*derm1m_files.VALIDATION, *derm1m_files.many_rows(2, 4, prefix="v")])
    return {"root": root, "min_count": 1}


def _folder(root: Path) -> Options:
    for number in range(30):
        path = root / ("nevus", "melanoma")[number % 2] / f"{number // 4:02d}_{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (20, 18), (8 * number, 90, 40)).save(path)
    return {"root": root}


def _medmnist(root: Path) -> Options:
    for flag in SETS:
        medmnist_files.save(root, flag, medmnist_files.arrays(flag, counts={"train": 20, "val": 10, "test": 10}))
    return {"root": root, "verify": False}


def _olives(root: Path) -> Options:
    olives_files.write_tree(root)
    olives_files.write_clinical(root)
    olives_files.write_shards(root, unlabelled=1)
    return {"root": root}


def _scin(root: Path) -> Options:
    scin_files.write_bucket(root, [*scin_files.many(40), *scin_files.eleven()])
    return {"root": root, "top": 3}


def _shards(root: Path) -> Options:
    shard_files.write_splits(root)
    return {"root": root}


def _table(root: Path) -> Options:
    lines = ["image,second,patient,diagnosis,grade,mass,nodule,findings,size,sex,report,exam,day"]
    for number in range(24):
        Image.new("L", (20, 18), 10 * number).save(root / f"{number}.png")
        diagnosis = ("benign", "malignant", "")[number % 3]
        findings = ("Mass", "Mass|Nodule", "none", "")[number % 4]
        report = "" if number % 6 == 5 else f"a film of brightness {number % 4}"
        second = f"{number - 1}.png" if number % 2 else ""
        day = f"2020-01-{1 + 9 * (number % 2):02d}"
        cells = [second, f"{number // 2:03d}", diagnosis, number % 3 if number % 7 else "", number % 2, "" if number % 5 else 1,
                 findings, number / 4 if number % 3 else "", "fm"[number // 2 % 2], report, f"e{number // 2}", day]  # fmt: skip
        lines.append(f"{number}.png," + ",".join(map(str, cells)))
    (root / "t.csv").write_text("\n".join(lines) + "\n")
    return {"file": root / "t.csv"}


TREES: dict[str, Callable[[Path], Options]] = {
    "chestxray14": _chestxray14,
    "derm1m": _derm1m,
    "folder": _folder,
    "medmnist": _medmnist,
    "olives": _olives,
    "phantom": lambda root: {"patients": 16, "size": 24},
    "scin": _scin,
    "shards": _shards,
    "table": _table,
}
"""Registry name → what writes its files into an empty folder and returns the options they are loaded with."""
