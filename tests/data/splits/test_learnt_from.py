"""What a network has learnt from is not what it is tested on: other folds, rewritten and renamed tables, runs of runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medzoo.data.dataset import Dataset
from medzoo.data.datasets.olives.parquet import ParquetReader
from medzoo.data.errors import CheckpointError, DatasetError
from medzoo.data.registry import load_dataset
from medzoo.data.splits.learnt_from import FILE, NOTHING, LearntFrom, read_record, record, refuse_learnt_from
from tests.data.datasets import chestxray14_files

BOTH = ("val", "test")


def phantom(**options: Any) -> Dataset:
    return load_dataset("phantom", patients=40, size=16, **options)


def table(file: Path, splits: str, **options: Any) -> Dataset:
    """Return a table of one patient a letter: `t` in train, `v` in val, `e` in test."""
    names = {"t": "train", "v": "val", "e": "test"}
    lines = [f"{n}.png,p{n},{n % 2},{names[letter]}" for n, letter in enumerate(splits)]
    file.parent.mkdir(exist_ok=True)
    file.write_text("image,patient,y,split\n" + "\n".join(lines) + "\n")
    given = {"target": "y", "group": "patient", "split": "split", "missing": "ignore", **options}
    return load_dataset("table", file=str(file), **given)


def groups(dataset: Dataset, split: str) -> set[str]:
    return set(dataset.rows(split)["group"])


def test_other_folds_share_patients_and_say_how_many() -> None:
    now, before = phantom(folds=4, fold=1), phantom(folds=4, fold=0)
    shared = groups(now, "val") & groups(before, "train")
    assert len(shared) > 3
    expected = rf"learnt from {len(shared)} patient groups of the val split \(such as '{min(shared)}'\)"
    with pytest.raises(DatasetError, match=expected):
        refuse_learnt_from(now, record(before), BOTH)
    assert refuse_learnt_from(now, record(before), ["test", "train"]) is now  # who is not looked at does no harm
    fewer = phantom(folds=4, fold=1, shots=2)
    assert refuse_learnt_from(fewer, record(now), BOTH) is fewer


def test_what_is_allowed_by_name_stands_in_the_reports_notes() -> None:
    now = refuse_learnt_from(phantom(folds=4, fold=1, allow_shared_groups=True), record(phantom()), BOTH)
    shared = groups(now, "val") & groups(phantom(), "train")
    assert now.info.notes[-1].startswith(f"the network has learnt from {len(shared)} patient groups of the val split")
    assert now.info.notes[:-1] == phantom().info.notes


def test_a_run_of_a_run_has_learnt_from_both() -> None:
    other = load_dataset("phantom", patients=40, size=16, seed=1)
    both = record(phantom()) | record(other)
    for now in (phantom(folds=4, fold=1), load_dataset("phantom", patients=40, size=16, seed=1, folds=4, fold=1)):
        with pytest.raises(DatasetError, match="of the val split"):
            refuse_learnt_from(now, both, BOTH)


def test_patients_of_other_populations_may_bear_the_same_names(tmp_path: Path) -> None:
    refuse_learnt_from(phantom(folds=4, fold=1), record(load_dataset("phantom", patients=40, size=16, seed=1)), BOTH)
    ours, theirs = table(tmp_path / "a" / "ours.csv", "tve" * 4), table(tmp_path / "b" / "theirs.csv", "evt" * 4)
    refuse_learnt_from(ours, record(theirs), BOTH)


def test_who_chose_an_epoch_may_choose_again_but_not_be_tested(tmp_path: Path) -> None:
    before = record(table(tmp_path / "t.csv", "ttvvee"))
    refuse_learnt_from(table(tmp_path / "t.csv", "ttvvee"), before, BOTH)
    with pytest.raises(DatasetError, match=r"2 patient groups of the test split \(such as 'p2'\)"):
        refuse_learnt_from(table(tmp_path / "t.csv", "tteevv"), before, BOTH)


def test_a_table_that_was_written_over_or_renamed_is_known(tmp_path: Path) -> None:
    before = record(table(tmp_path / "t.csv", "ttvvee"))
    with pytest.raises(DatasetError, match="4 patient groups of the test split"):  # the same path, other splits
        refuse_learnt_from(table(tmp_path / "t.csv", "eeeett"), before, ["test"])
    with pytest.raises(DatasetError, match="2 patient groups of the test split"):  # another table of the same image files
        refuse_learnt_from(table(tmp_path / "other.csv", "eettvv"), before, ["test"])


def test_a_table_of_the_same_name_in_another_folder_is_another_table(tmp_path: Path) -> None:
    before = record(table(tmp_path / "one" / "labels.csv", "ttvvee"))
    other = refuse_learnt_from(table(tmp_path / "two" / "labels.csv", "eettvv"), before, ["test"])
    expected = "2 patient groups of the test split (such as 'p0') bear names that the network has learnt from in other data"
    assert other.info.notes[-1].startswith(expected)


def test_a_table_that_was_moved_as_it_is_is_known(tmp_path: Path) -> None:
    before = record(table(tmp_path / "one" / "labels.csv", "ttvvee"))
    (tmp_path / "one").rename(tmp_path / "two")
    given = {"target": "y", "group": "patient", "missing": "ignore", "test_fraction": 0.6}
    now = load_dataset("table", file=str(tmp_path / "two" / "labels.csv"), **given)
    with pytest.raises(DatasetError, match="patient groups of the test split"):
        refuse_learnt_from(now, before, ["test"])


def test_a_patient_of_two_tables_of_one_folder_is_one_patient(tmp_path: Path) -> None:
    """A run on fundus photographs that starts from one on OCT is not tested on whom that one learnt from."""
    (tmp_path / "oct.csv").write_text("image,patient,y,split\n" + "".join(f"oct/{n}.png,p{n},{n % 2},train\n" for n in range(6)))
    lines = [f"fundus/{n}.png,{float(n) if n else 'p0'},{n % 2},{('test', 'train')[n % 2]}" for n in range(4)]
    (tmp_path / "fundus.csv").write_text("image,patient,y,split\n" + "\n".join(lines) + "\n")
    given = {"target": "y", "group": "patient", "split": "split", "missing": "ignore"}
    before = record(load_dataset("table", file=str(tmp_path / "oct.csv"), **given))
    with pytest.raises(DatasetError, match=r"1 patient groups of the test split \(such as 'p0'\)"):
        refuse_learnt_from(load_dataset("table", file=str(tmp_path / "fundus.csv"), **given), before, ["test"])
    # Numbers of rows are no patients.
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("row,image,y\n" + "".join(f"{n},{name}/{n}.png,{n % 2}\n" for n in range(9)))
    one, two = (
        load_dataset("table", file=str(tmp_path / f"{name}.csv"), target="y", id="row", missing="ignore") for name in "ab"
    )
    assert refuse_learnt_from(two, record(one), BOTH) is two


def test_records_of_an_earlier_medzoo_still_protect(tmp_path: Path) -> None:
    now = table(tmp_path / "t.csv", "eettvv")
    info = replace(now.info, populations=())
    before = record(replace(table(tmp_path / "old" / "t.csv", "ttvvee"), info=info))
    with pytest.raises(DatasetError, match=r"2 patient groups of the test split \(such as 'p0'\)"):
        refuse_learnt_from(now, before, ["test"])


def test_no_place_on_a_machine_is_in_a_card(tmp_path: Path) -> None:
    dataset = table(tmp_path / "t.csv", "ttvvee")
    assert len(dataset.info.populations) == 2
    assert "populations" not in dataset.info.to_dict()
    assert str(tmp_path) not in "".join(dataset.info.populations)


def test_splits_of_one_dataset_that_share_an_image_say_so(tmp_path: Path) -> None:
    dataset = table(tmp_path / "t.csv", "ttvvee")
    shared = dataset.with_table(dataset.table.assign(path=["0.png", "1.png", "2.png", "3.png", "0.png", "5.png"]))
    with pytest.raises(
        DatasetError, match=r"1 patient groups of the test split \(such as 'p4'\) have a sample, group or image in a"
    ):
        refuse_learnt_from(shared, NOTHING, BOTH, own=True)
    assert refuse_learnt_from(dataset, NOTHING, BOTH, own=True) is dataset


def test_images_are_known_where_the_first_run_knew_no_patient(tmp_path: Path) -> None:
    before = record(table(tmp_path / "t.csv", "ttvvee", group=None))
    with pytest.raises(DatasetError, match=r"2 patient groups of the test split \(such as 'p0'\)"):
        refuse_learnt_from(table(tmp_path / "t.csv", "eettvv"), before, ["test"])


@pytest.mark.parametrize("together", [{"modalities": {"film": "film", "slide": "slide"}}, {"channel_columns": ["film", "slide"]}])
def test_an_image_is_known_wherever_it_stands_in_a_sample_of_several(tmp_path: Path, together: dict[str, Any]) -> None:
    """An encoder learnt from slides alone, and the model that is made of it looks at films and slides of other rows."""
    splits = ["train", "train", "val", "test"]
    for name, order in (("alone", splits), ("both", splits[::-1])):
        rows = [f"s{n}.png,f{n}.png,{n % 2},{split}" for n, split in enumerate(order)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["slide,film,y,split", *rows]) + "\n")
    asked: dict[str, Any] = {"target": "y", "split": "split", "missing": "ignore", "names": [0, 1]}
    alone = load_dataset("table", file=tmp_path / "alone.csv", image="slide", **asked)
    both = load_dataset("table", file=tmp_path / "both.csv", **together, **asked)
    for first, then in ((alone, both), (both, alone)):
        with pytest.raises(DatasetError, match="the network has learnt from 1 image groups of the test split"):
            refuse_learnt_from(then, record(first), ["test"])
    assert refuse_learnt_from(both, record(both), BOTH, own=True) is both


def test_variants_of_labels_have_the_same_patients(tmp_path: Path) -> None:
    films = chestxray14_files.many_films(40)
    chestxray14_files.write_release(tmp_path, films, [film[0] for film in films if film[0][:8] > "00000030"])

    def chest(**options: Any) -> Dataset:
        return load_dataset("chestxray14", root=str(tmp_path), missing="ignore", **options)

    refuse_learnt_from(chest(labels=8), record(chest()), BOTH)
    with pytest.raises(DatasetError, match="patient groups of the val split"):
        refuse_learnt_from(chest(labels=8, split_seed=1), record(chest()), BOTH)


def test_samples_that_share_a_file_are_not_the_same(tmp_path: Path) -> None:
    dataset = phantom()
    shards = dataset.table.assign(shard="one.parquet", row_group=0, row=np.arange(len(dataset.table)))
    packed = replace(dataset, table=shards, reader=ParquetReader(tmp_path))
    assert refuse_learnt_from(packed, record(packed), BOTH) is packed


def test_a_record_is_read_back_and_names_nobody(tmp_path: Path) -> None:
    own = record(phantom())
    data = own.to_bytes()
    assert b"patient" not in data
    again = LearntFrom.from_bytes(data)
    np.testing.assert_array_equal(again.train, own.train)
    np.testing.assert_array_equal(again.val, own.val)
    assert again.complete
    with pytest.raises(CheckpointError, match="is damaged"):
        LearntFrom.from_bytes(data[:-3])
    run = tmp_path / "run"
    (run / "assets").mkdir(parents=True)
    (run / "assets" / FILE).write_bytes(data)
    for place in (run, run / "checkpoints" / "epoch-0001"):
        place.mkdir(parents=True, exist_ok=True)
        np.testing.assert_array_equal(read_record(place).train, own.train)


def test_a_run_without_a_record_is_told_of(tmp_path: Path) -> None:
    missing = read_record(tmp_path)
    assert not missing.complete
    chain = LearntFrom.from_bytes((missing | record(phantom())).to_bytes())
    assert not chain.complete
    noted = refuse_learnt_from(phantom(), chain, BOTH)
    assert "nothing was compared" in noted.info.notes[-1]
    assert refuse_learnt_from(noted, NOTHING, BOTH) is noted
