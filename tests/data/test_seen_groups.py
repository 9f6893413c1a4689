"""What a network has learnt from is not what it is tested on, through other folds, tables that moved and runs of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from medzoo.data import seen_groups as module
from medzoo.data.card import data_card
from medzoo.data.dataset import Dataset
from medzoo.data.errors import DatasetError
from medzoo.data.registry import load_dataset
from medzoo.data.seen_groups import refuse_seen_groups, seen_groups
from tests.data import chestxray14_files


def phantom(**options: Any) -> Dataset:
    return load_dataset("phantom", patients=40, size=16, **options)


def table(file: Path, splits: str, **options: Any) -> Dataset:
    """Return a table of one patient a letter: `t` in train, `v` in val, `e` in test."""
    names = {"t": "train", "v": "val", "e": "test"}
    lines = [f"{n}.png,p{n},{n % 2},{names[letter]}" for n, letter in enumerate(splits)]
    file.parent.mkdir(exist_ok=True)
    file.write_text("image,patient,y,split\n" + "\n".join(lines) + "\n")
    return load_dataset("table", file=str(file), target="y", group="patient", split="split", missing="ignore", **options)


def test_other_folds_share_patients_and_are_refused_by_what_differs() -> None:
    now, before = phantom(folds=4, fold=1), phantom(folds=4, fold=0)
    shared = seen_groups(now, before)
    trained = set(before.rows("train")["group"])
    assert shared == {"val": sorted(set(now.rows("val")["group"]) & trained)}
    assert len(shared["val"]) > 3
    with pytest.raises(DatasetError, match=rf"learnt from {len(shared['val'])} patient groups of the val .*data\.fold=0; take"):
        refuse_seen_groups(now, [data_card(before)])
    refuse_seen_groups(now, [data_card(phantom(folds=4, fold=1, shots=2))])  # fewer of the same


def test_what_is_allowed_by_name_stands_in_the_reports_notes() -> None:
    now = refuse_seen_groups(phantom(folds=4, fold=1, allow_shared_groups=True), [data_card(phantom())])
    shared = len(seen_groups(now, phantom())["val"])
    assert now.info.notes[-1].startswith(f"the network has learnt from {shared} patient groups of the val split (such as 'pati")
    assert now.info.notes[:-1] == phantom().info.notes


def test_the_same_options_are_not_loaded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    card = data_card(phantom(folds=4, fold=1))
    now = phantom(folds=4, fold=1)
    monkeypatch.setattr(module, "load_dataset", lambda **_: pytest.fail("loaded"))
    assert refuse_seen_groups(now, [card]) is now
    assert refuse_seen_groups(now, [{}]) is now  # weights from elsewhere


def test_a_run_of_a_run_is_held_against_both() -> None:
    first = data_card(phantom())
    second = data_card(load_dataset("phantom", patients=40, size=16, seed=1), learnt_from=[first])
    assert second["learnt_from"] == [first]
    with pytest.raises(DatasetError, match=r"no data\.fold"):
        refuse_seen_groups(phantom(folds=4, fold=1), [second])


def test_patients_of_other_populations_may_bear_the_same_names(tmp_path: Path) -> None:
    refuse_seen_groups(phantom(folds=4, fold=1), [data_card(load_dataset("phantom", patients=40, size=16, seed=1))])
    refuse_seen_groups(table(tmp_path / "ours.csv", "tve" * 4), [data_card(table(tmp_path / "theirs.csv", "evt" * 4))])


def test_who_chose_an_epoch_may_choose_again_but_not_be_tested(tmp_path: Path) -> None:
    before = data_card(table(tmp_path / "old" / "t.csv", "ttvvee"))
    refuse_seen_groups(table(tmp_path / "new" / "t.csv", "ttvvee"), [before])
    with pytest.raises(DatasetError, match=r"2 patient groups of the test split \(such as 'p2'\)"):
        refuse_seen_groups(table(tmp_path / "new" / "t.csv", "tteevv"), [before])


def test_a_table_that_moved_is_the_same_table(tmp_path: Path) -> None:
    before = data_card(table(tmp_path / "old" / "t.csv", "ttvvee"))
    (tmp_path / "old" / "t.csv").rename(tmp_path / "t.csv")
    moved = load_dataset("table", file=str(tmp_path / "t.csv"), target="y", group="patient", split="split", missing="ignore")
    assert refuse_seen_groups(moved, [before]) is moved
    with pytest.raises(DatasetError, match=r"the test split"):  # one table for each fold, all of one name
        refuse_seen_groups(table(tmp_path / "new" / "t.csv", "eevvtt"), [data_card(moved)])


def test_data_that_cannot_be_read_any_more_is_one_line(tmp_path: Path) -> None:
    card = data_card(table(tmp_path / "t.csv", "ttvvee"))
    card["options"] = {**card["options"], "target": "gone"}
    with pytest.raises(DatasetError, match=r"^table/t: cannot tell which patient groups the network was trained on \(.*gone"):
        refuse_seen_groups(table(tmp_path / "t.csv", "ttvvee"), [card])


def test_variants_of_labels_have_the_same_patients(tmp_path: Path) -> None:
    films = chestxray14_files.many_films(40)
    chestxray14_files.write_release(tmp_path, films, [film[0] for film in films if film[0][:8] > "00000030"])

    def chest(**options: Any) -> Dataset:
        return load_dataset("chestxray14", root=str(tmp_path), missing="ignore", **options)

    refuse_seen_groups(chest(labels=8), [data_card(chest())])
    with pytest.raises(DatasetError, match="patient groups of the val split"):
        refuse_seen_groups(chest(labels=8, split_seed=1), [data_card(chest())])
