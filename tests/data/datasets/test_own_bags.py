"""Rows of a table that are members of one sample, and files of feature rows: what becomes of them, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.numpy import save_file

from medzoo.data.dataset import data_card, require_rows
from medzoo.data.datasets.table.load import load as load_table
from medzoo.data.errors import MedzooError
from medzoo.data.images.rows import case_rows, read_rows, row_names
from medzoo.data.samples.preprocess import Preprocess
from medzoo.data.samples.sample_dataset import SampleDataset, collate

SIZES = (3, 1, 4, 2, 3, 5)
"""Members of each bag."""
GRAY = Preprocess((8, 8), channels=1, mean=(0.5,), std=(0.5,))


def tiles(folder: Path) -> list[dict[str, Any]]:
    """Write tiles whose grey level is their number; returns the rows of a table, members of a bag not side by side."""
    rows = []
    for bag, size in enumerate(SIZES):
        for member in range(size):
            number = len(rows)
            Image.new("L", (8, 8), number).save(folder / f"{number}.png")
            rows.append(
                {"image": f"{number}.png", "slide": f"s{bag}", "p": bag // 2, "y": bag % 2, "split": "train", "n": member}
            )
    return sorted(rows, key=lambda row: (row["n"], row["slide"]))


def load(folder: Path, rows: list[dict[str, Any]], **options: Any) -> Any:
    pd.DataFrame(rows).to_csv(folder / "t.csv", index=False)
    given = {"bag": "slide", "target": "y", "group": "p", "split": "split", "channels": 1, **options}
    return load_table(file=folder / "t.csv", **given)


def test_rows_of_a_bag_become_one_sample(tmp_path: Path) -> None:
    dataset = load(tmp_path, tiles(tmp_path))
    assert dataset.table["sample_id"].tolist() == [f"s{bag}" for bag in range(6)]
    assert dataset.table["target"].tolist() == [0, 1, 0, 1, 0, 1]
    assert dataset.table["group"].tolist() == ["0", "0", "1", "1", "2", "2"]
    assert "18 rows are 6 bags (data.bag=slide) of 1 to 5 members" in dataset.info.notes
    samples = SampleDataset(dataset, "train", GRAY)
    levels = [samples[index]["image"][:, 0, 0, 0].tolist() for index in range(6)]
    ends = np.cumsum((0, *SIZES))
    assert levels == [list(range(start, end)) for start, end in pairwise(ends)]
    batch = collate([samples[index] for index in range(6)])
    assert batch["image"].shape == (6, 5, 1, 8, 8)
    assert batch["view_mask"].sum(dim=1).tolist() == list(SIZES)
    assert batch["image"][~batch["view_mask"]].sum() == 0


def test_an_image_in_several_bags_makes_them_one_group(tmp_path: Path) -> None:
    rows = tiles(tmp_path)
    shared = [*rows, {**rows[0], "slide": "s1", "y": 1}]  # of the same patient
    dataset = load(tmp_path, shared)
    members = dataset.table.set_index("sample_id")["path"]
    assert rows[0]["image"] in members["s0"]
    assert rows[0]["image"] in members["s1"]
    assert dataset.table["group"].tolist() == ["0", "0", "1", "1", "2", "2"]
    assert load(tmp_path, shared, group=None).table["group"].tolist() == ["s0", "s0", "s2", "s3", "s4", "s5"]
    two = load(tmp_path, [*rows, {**rows[0], "slide": "s5", "p": 2, "y": 1}])
    assert two.table["group"].tolist() == ["0", "0", "1", "1", "0", "0"]
    assert any("1 images stand in several rows, some in rows of several groups" in note for note in two.info.notes)


def test_bags_without_a_patient_are_groups_of_their_own(tmp_path: Path) -> None:
    rows = [{**row, "p": "" if row["slide"] == "s5" else row["p"]} for row in tiles(tmp_path)]
    dataset = load(tmp_path, rows, ungrouped="alone")
    assert dataset.table["group"].tolist() == ["0", "0", "1", "1", "2", "alone: s5"]
    assert "1 samples have no 'p': each is a group of its own (data.ungrouped)" in dataset.info.notes


def test_training_draws_members_by_epoch_and_evaluation_takes_all(tmp_path: Path) -> None:
    dataset = load(tmp_path, tiles(tmp_path), max_members=2)
    assert dataset.reader.max_members == 2
    capped = SampleDataset(dataset, "train", GRAY, members=2, seed=3)
    again = SampleDataset(dataset, "train", GRAY, members=2, seed=3)
    drawn = [capped[epoch, 5]["image"][:, 0, 0, 0].tolist() for epoch in range(20)]
    assert {len(members) for members in drawn} == {2}
    assert all(members == sorted(set(members)) for members in drawn)  # none twice
    assert {member for members in drawn for member in members} == set(range(13, 18))  # each comes in time
    assert drawn == [again[epoch, 5]["image"][:, 0, 0, 0].tolist() for epoch in range(20)]
    assert len(SampleDataset(dataset, "train", GRAY)[0, 5]["image"]) == 5


def test_frames_of_a_file_are_members(tmp_path: Path) -> None:
    for name, count in (("a", 3), ("b", 2)):
        first, *rest = (Image.new("L", (8, 8), 40 * number) for number in range(1, count + 1))
        first.save(tmp_path / f"{name}.tif", save_all=True, append_images=rest)
    rows = [{"image": f"{name}.tif", "p": name, "y": place, "split": "train"} for place, name in enumerate("ab")]
    dataset = load(tmp_path, rows, frames="members", bag="image")
    assert dataset.table["sample_id"].tolist() == ["a.tif", "b.tif"]
    samples = SampleDataset(dataset, "train", GRAY)
    assert [samples[index]["image"][:, 0, 0, 0].tolist() for index in (0, 1)] == [[40, 80, 120], [40, 80]]


def test_files_of_feature_rows(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    given = [draw.normal(size=(n, 4)).astype(np.float32) for n in (2, 3, 1)]
    np.save(tmp_path / "0.npy", given[0].astype(np.float64))
    save_file({"features": given[1], "coordinates": given[1]}, tmp_path / "1.safetensors")
    pd.DataFrame(given[2], columns=list("abcd")).to_parquet(tmp_path / "2.parquet")
    names = ["0.npy", "1.safetensors", "2.parquet"]
    rows = [{"file": name, "slide": "x" if place < 2 else "y", "p": place // 2, "y": place // 2, "split": "train"}
            for place, name in enumerate(names)]  # fmt: skip
    whole = load(tmp_path, rows, features="file", bag=None)
    shape = Preprocess((1, 4), channels=1, dtype="float32", mean=(0,), std=(1,))
    samples = SampleDataset(whole, "train", shape)
    for place, expected in enumerate(given):
        np.testing.assert_array_equal(samples[place]["image"][:, 0, 0], expected)
    joined = SampleDataset(load(tmp_path, rows, features="file"), "train", shape)
    np.testing.assert_array_equal(joined[0]["image"][:, 0, 0], np.concatenate(given[:2]))
    assert len(joined) == 2
    assert whole.info.split_unit == "p"
    assert load(tmp_path, rows, features="file", bag=None, group=None).info.split_unit == "bag"  # as the name of nobody


def features(folder: Path, *frames: pd.DataFrame) -> list[dict[str, Any]]:
    """Write a file of features each, and return the rows of a table of them."""
    for place, frame in enumerate(frames):
        frame.to_parquet(folder / f"{place}.parquet")
    return [{"file": f"{n}.parquet", "p": n, "y": n % 2, "split": "train"} for n in range(len(frames))]


def test_an_index_of_pandas_is_no_feature(tmp_path: Path) -> None:
    frame = pd.DataFrame(np.arange(12, dtype=np.float32).reshape(4, 3), columns=list("abc"))
    for place, kept in enumerate((frame, frame.iloc[[0, 2, 3]], frame.set_index(pd.Index(range(5, 9), name="tile")))):
        kept.to_parquet(tmp_path / f"{place}.parquet")
        np.testing.assert_array_equal(read_rows(tmp_path / f"{place}.parquet"), kept.to_numpy())
        assert row_names(tmp_path / f"{place}.parquet") == ("a", "b", "c")


def test_features_are_known_by_their_names(tmp_path: Path) -> None:
    frame = pd.DataFrame(np.arange(6, dtype=np.float32).reshape(2, 3), columns=list("abc"))
    dataset = load(tmp_path, features(tmp_path, frame, frame[list("cab")]), features="file", bag=None)
    for name in ("0.parquet", "1.parquet"):
        np.testing.assert_array_equal(dataset.reader.read(name)[0], frame.to_numpy())
        np.testing.assert_array_equal(case_rows(tmp_path / name, 3, 0, dataset.reader.row_names), frame.to_numpy())
    card = data_card(dataset)
    assert card["row_names"] == ["a", "b", "c"]
    require_rows(card, dataset)
    turned = load(tmp_path, features(tmp_path, frame[list("acb")], frame), features="file", bag=None)
    with pytest.raises(MedzooError, match=r"feature 1 of the model is 'b', that of .* 'c'; give the first file"):
        require_rows(card, turned)
    require_rows({key: value for key, value in card.items() if key != "row_names"}, turned)
    for change, said in (({"c": "d"}, r"lacks 'c' and has 'd', where the features are a, b, c; give"), ({"c": "b2"}, "has 'b2'")):
        other = load(tmp_path, features(tmp_path, frame, frame.rename(columns=change)), features="file", bag=None)
        with pytest.raises(MedzooError, match=said):
            other.reader.read("1.parquet")


def test_the_first_file_with_names_says_the_order(tmp_path: Path) -> None:
    frame = pd.DataFrame(np.arange(6, dtype=np.float32).reshape(2, 3), columns=list("abc"))
    rows = features(tmp_path, frame, frame, frame[list("cab")])
    np.save(tmp_path / "0.npy", frame.to_numpy())
    dataset = load(tmp_path, [{**rows[0], "file": "0.npy"}, *rows[1:]], features="file", bag=None)
    for name in ("0.npy", "1.parquet", "2.parquet"):
        np.testing.assert_array_equal(dataset.reader.read(name)[0], frame.to_numpy())


def broken(rows: list[dict[str, Any]], place: int, **cells: Any) -> list[dict[str, Any]]:
    return [{**row, **cells} if number == place else row for number, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        (lambda rows: rows, {"bag": "slid"}, "no column 'slid'; the nearest is 'slide'"),
        (lambda rows: broken(rows, 7, slide=""), {}, "every row needs the name of its bag"),
        (lambda rows: broken(rows, 7, p=9), {}, r"has members of two patients \(data.group\)"),
        (lambda rows: broken(rows, 7, split="test"), {}, "has members in two splits"),
        (lambda rows: broken(rows, 7, y=1 - rows[7]["y"]), {}, "has two truths"),
        (lambda rows: rows, {"subgroups": ["n"]}, "has two values of 'n'"),
        (lambda rows: rows, {"id": "n"}, "data.id is not for bags"),
        (lambda rows: [*rows, rows[0]], {}, r"image '0\.png' stands on lines 2 and 20; a member stands once in its bag \('s0'\)"),
        (
            lambda rows: [*rows, {**rows[0], "slide": "s1", "y": 1}],
            {"readers": "any", "kind": "multilabel", "target": ["y"]},
            "'slide' is 's1', which another row of the image says otherwise",
        ),
        (lambda rows: rows, {"max_members": 0}, "max_members=0 is no whole number"),
        (lambda rows: rows, {"bag": None, "max_members": 3}, "give data.bag or data.features"),
        (lambda rows: rows, {"image": ["image", "slide"]}, "give one of the two"),
    ],
)
def test_what_is_no_bag_is_one_line(
    change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]], options: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(MedzooError, match=said) as error:
        load(tmp_path, change(tiles(tmp_path)), **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((0, 4), np.float32), "holds no member"),
        (np.zeros((3, 5), np.float32), "its members have 5 features, those of the first file 4"),
        (np.zeros(4, np.float32), "not numbers"),
        (np.full((2, 4), np.nan, np.float32), "2 of 2 members are not finite numbers; compute them anew, or leave them out"),
        (np.array([["a", "b"]], dtype=object), "cannot be read as rows of features"),  # pickled: never opened
    ],
)
def test_a_file_that_holds_no_rows_is_one_line(array: Any, said: str, tmp_path: Path) -> None:
    np.save(tmp_path / "0.npy", np.zeros((2, 4), np.float32))
    np.save(tmp_path / "1.npy", array, allow_pickle=True)
    rows = [{"file": f"{place}.npy", "p": place, "y": place, "split": "train"} for place in (0, 1)]
    dataset = load(tmp_path, rows, features="file", bag=None)
    samples = SampleDataset(dataset, "train", Preprocess((1, 4), channels=1, dtype="float32", mean=(0,), std=(1,)))
    assert len(samples[0]["image"]) == 2
    with pytest.raises(MedzooError, match=said) as error:
        samples[1]
    assert "1.npy" in str(error.value)
