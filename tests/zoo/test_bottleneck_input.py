"""What a concept bottleneck cannot be trained on: one line that names the thing and the remedy, and no run directory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medzoo.cli import main
from tests.data.datasets import chestxray14_files, derm1m_files, olives_files

TRAINING = [
    "model=cbm", "model.backbone=test_resnet", "model.preprocess.size=32", "trainer.epochs=1", "trainer.batch_size=8",
    "trainer.trackers=[]", "evaluation.replicates=5",
]  # fmt: skip


def _table(root: Path, header: str = "round", cells: Callable[[int, str], str] = lambda number, part: str(number % 2)) -> None:
    lines = [f"image,diagnosis,part,{header}"]
    for number in range(20):
        Image.new("L", (20, 20), 10 * number).save(root / f"{number}.png")
        part = ("train", "train", "val", "test")[number // 2 % 4]
        lines.append(f"{number}.png,{('naevus', 'melanoma')[number % 2]},{part},{cells(number, part)}")
    (root / "t.csv").write_text("\n".join(lines) + "\n")


def _of_table(root: Path, *options: str) -> list[str]:
    return ["data=table", f"data.file={root / 't.csv'}", "data.target=diagnosis", "data.split=part", *options]


def _medmnist(root: Path) -> list[str]:
    arrays = {}
    for split, count in (("train", 20), ("val", 10), ("test", 10)):
        arrays[f"{split}_images"] = np.zeros((count, 28, 28, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count) % 5)[:, None].astype(np.uint8)
    np.savez(root / "retinamnist.npz", **arrays)
    return ["data=medmnist", "data.set=retinamnist", f"data.root={root}", "data.verify=false"]


def _chestxray14(root: Path) -> list[str]:
    films = chestxray14_files.many_films(16)
    chestxray14_files.write_release(root, films, [film[0] for film in films if film[0][:8] > "00000012"])
    chestxray14_files.write_images(root, [film[0] for film in films])
    return ["data=chestxray14", f"data.root={root}"]


def _olives(root: Path) -> list[str]:
    olives_files.write_tree(root)
    return ["data=olives", f"data.root={root}"]  # the biomarkers are its target


def _derm1m(root: Path) -> list[str]:
    derm1m_files.write_derm1m(root, derm1m_files.many_rows(4, 10), derm1m_files.many_rows(2, 4, prefix="v"))
    return ["data=derm1m", f"data.root={root}", "data.min_count=1"]  # no row names a concept


def _no_column(root: Path) -> list[str]:
    _table(root)
    return _of_table(root)


def _misspelt(root: Path) -> list[str]:
    _table(root)
    return _of_table(root, "data.concepts=[rounds]")


def _twice(root: Path) -> list[str]:
    _table(root)
    return _of_table(root, "data.concepts=[round,round]")


def _words(root: Path) -> list[str]:
    _table(root, cells=lambda number, part: "perhaps" if number == 6 else "yes")
    return _of_table(root, "data.concepts=[round]")


def _empty(root: Path) -> list[str]:
    _table(root, cells=lambda number, part: "")
    return _of_table(root, "data.concepts=[round]")


def _empty_in_train(root: Path) -> list[str]:
    _table(root, "round,pale", lambda number, part: f"{number % 2},{'' if part == 'train' else number % 2}")
    return _of_table(root, "data.concepts=[round,pale]")


CASES: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "medmnist": (_medmnist, "has no concepts; choose a dataset or an option with concepts"),
    "chestxray14": (_chestxray14, "has no concepts; choose a dataset or an option with concepts"),
    "olives of biomarkers": (_olives, "has no concepts; choose a dataset or an option with concepts"),
    "derm1m without any": (_derm1m, "has no concepts; choose a dataset or an option with concepts"),
    "table without columns": (
        _no_column,
        "has no concepts; choose a dataset or an option with concepts (data.concepts of",
    ),
    "unknown column": (_misspelt, "t.csv: the table has no column 'rounds'; the nearest is 'round'"),
    "column twice": (_twice, "concept name 'round' is given twice"),
    "another word": (_words, "t.csv line 8: 'round' is 'perhaps', neither 0, 1 nor empty"),
    "all missing": (_empty, "the train split has no sample with a concept"),
    "one column missing in train": (_empty_in_train, "no sample of the train split says anything of concept 'pale'"),
}


@pytest.mark.parametrize("case", list(CASES))
def test_what_has_no_concepts_is_one_line(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, message = CASES[case]
    root = tmp_path / "data"
    root.mkdir()
    options = make(root)
    capsys.readouterr()
    assert main(["train", *options, *TRAINING, f"run={tmp_path / 'run'}"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("medzoo: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()  # nothing that stands in the way of the next try
