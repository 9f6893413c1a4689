"""Cases 18 and 19, and their kind: what folders of folders mean."""

from __future__ import annotations

import re
import unicodedata
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medzoo.cli import main
from medzoo.data.dataset import Dataset
from medzoo.data.errors import MedzooError
from medzoo.data.registry import load_dataset
from tests.data.datasets.own_tables import write_images


def folders(root: Path, *names: str, each: int = 6) -> Path:
    """Write images of three patients into each folder; returns the root."""
    write_images(root, [f"{name}/p{place}{n // 2}_{n}.png" for place, name in enumerate(names) for n in range(each)])
    return root


def load(root: Path, **options: object) -> Dataset:
    return load_dataset("folder", root=root, **options)


@pytest.mark.parametrize("above", ["", "train/"])
@pytest.mark.parametrize("grades", [("mild", "moderate", "no_dr"), ("0", "1", "severe"), ("grade 1", "grade 10", "grade 2")])
def test_words_tell_no_order_of_grades(above: str, grades: tuple[str, ...], tmp_path: Path) -> None:
    """Case 18 first."""
    root = folders(tmp_path / "fundus", *(above + grade for grade in grades))
    with pytest.raises(MedzooError, match=r"are words: give their order, from low to high, as data\.names=\[\.\.\.\]"):
        load(root, ordinal=True)
    named = load(root, ordinal=True, names=list(grades[::-1]))
    assert named.labels is not None
    assert named.labels.names == grades[::-1]


@pytest.mark.parametrize("ordinal", [True, False])
def test_numbers_sort_as_numbers(ordinal: bool, tmp_path: Path) -> None:
    labels = load(folders(tmp_path, "0", "1", "2", "10", "-1", "1.5"), ordinal=ordinal).labels
    assert labels is not None
    assert labels.names == ("-1", "0", "1", "1.5", "2", "10")


@pytest.mark.parametrize(
    "tops",
    [("train", "test"), ("Train", "Test"), ("training", "testing"), ("train", "valid"), ("TRAIN", "validation"), ("train", "val"),
     ("train_set", "test set"), ("Training Images", "Test Images"), ("train",), ("test",)],
)  # fmt: skip
@pytest.mark.parametrize("third", ["unlabelled", "old", "trainx"])
def test_splits_beside_another_folder(tops: tuple[str, ...], third: str, tmp_path: Path) -> None:
    """Case 19 first."""
    root = folders(tmp_path, *(f"{top}/{name}" for top in tops for name in ("benign", "malignant")), f"{third}/x")
    with pytest.raises(MedzooError, match=rf"beside (them stands|it stands) '{third}', which is none") as caught:
        load(root)
    assert "data.names=[" in str(caught.value)
    assert load(root, names=[*tops, third]).labels.names == (*tops, third)  # type: ignore[union-attr]


def test_the_command_line_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = folders(tmp_path, "train/benign", "train/malignant", "test/benign", "test/malignant", "unlabelled/x")
    for verb in ("verify", "train"):
        assert main([verb, "data=folder", f"data.root={root}"]) == 2
        assert "'test' and 'train' are splits, and beside them stands 'unlabelled'" in capsys.readouterr().err


def test_splits_in_other_spellings_and_inside_the_classes(tmp_path: Path) -> None:
    above = load(folders(tmp_path / "a", "Train Set/a", "Train Set/b", "valid/a", "valid/b", "Test_Images/a"))
    assert above.table["split"].value_counts().to_dict() == {"train": 12, "val": 12, "test": 6}
    inside = load(folders(tmp_path / "b", "a/train", "b/train", "a/test", "b/test", "a/val"))
    assert inside.table["split"].value_counts().to_dict() == {"train": 12, "test": 12, "val": 6}
    assert inside.labels is not None
    assert inside.labels.names == ("a", "b")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a/train", "b/train", "a/test", "b"), "'a/test' is a split inside a class, and 'b/.*' lies in none"),
        (("fold1/a", "fold1/b", "fold2/a", "fold2/b"), r"fold1, fold2 are folds, not classes"),
        (("Fold_1/a", "Fold_2/b"), "are folds, not classes"),
        (
            ("data/train/a", "data/train/b", "data/test/a"),
            r"all 18 images lie below one folder, 'data', .*set data\.root=",
        ),
        (("data/a", "data/b"), r"with 'a', 'b' in it: set data\.root=.*/data"),
        (
            ("A/benign", "A/malignant", "B/benign", "B/malignant"),
            "'A', 'B' would be the classes, and the same folders .*'benign', ",
        ),
        (("A/x/0", "A/y/1", "B/x/0", "B/y/1"), r"\('x', 'y'\); .*data\.names=\[x, y\] .*; if not, .*data\.names=\[A, B\]"),
        (("train/A/x", "train/A/y", "train/B/x", "train/B/y", "test/A/x"), "'A', 'B' would be the classes"),
        (("A/train/x", "A/train/y", "A/test/x", "B/train/x", "B/train/y", "B/test/y"), "'A', 'B' would be the classes"),
        (("x/A/train", "x/A/test", "y/A/train", "y/B/test"), "'x/A/test' names a split, .*class/split/image"),
        (("x/images", "x/masks", "y/images", "y/masks"), "x/masks: masks beside images would be taken for images of their class"),
        (("train/x/images", "train/y/lung masks"), "train/y/lung masks: masks beside images"),
        (("images", "masks"), "masks: masks beside images would be taken for images of a class"),
        (("train/Benign", "train/x", "test/benign", "test/x"), "'Benign' of train and 'benign' of test look alike"),
        (("train/grade 1", "train/x", "test/grade_01", "test/x"), "look alike; rename one, or list both in data.names"),
    ],
)
def test_other_layouts_are_one_line(names: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(MedzooError, match=message) as caught:
        load(folders(tmp_path, *names))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "options", "classes"),
    [
        (("benign/40X", "benign/100X", "malignant/40X", "malignant/100X"), {"names": ["benign", "malignant"]}, 2),
        (("x/1", "x/2", "y/1", "y/2", "y/3"), {}, 2),  # patients, numbered in each class
        (("x/images", "y/images"), {}, 2),
        (("train/x/p1", "train/y/p2", "test/x/p3", "test/y/p4"), {}, 2),
        (("x/train", "y/train"), {}, 2),
        (("images", "masks"), {"names": ["images", "masks"]}, 2),
    ],
)  # fmt: skip
def test_folders_below_the_classes_may_be_anything_else(
    names: tuple[str, ...], options: dict[str, object], classes: int, tmp_path: Path
) -> None:
    labels = load(folders(tmp_path, *names), **options).labels
    assert labels is not None
    assert labels.width == classes


def test_the_site_may_be_a_folder_below_the_class(tmp_path: Path) -> None:
    root = folders(tmp_path, "benign/A", "benign/B", "malignant/A", "malignant/B")
    found = load(root, names=["benign", "malignant"], domain_pattern="^[^/]+/([^/]+)/").table
    assert found["domain"].value_counts().to_dict() == {"A": 12, "B": 12}


def test_a_class_written_in_two_ways_is_one_class_and_said(tmp_path: Path) -> None:
    word = "bösartig"
    forms = unicodedata.normalize("NFC", word), unicodedata.normalize("NFD", word)
    dataset = load(folders(tmp_path / "a", f"train/{forms[0]}", "train/x", f"test/{forms[1]}", "test/x"))
    assert dataset.labels is not None
    assert dataset.labels.names == (forms[0], "x")
    assert any("other writings of it" in note for note in dataset.info.notes)
    numbers = load(folders(tmp_path / "b", "1", "1.0", "2"))
    assert numbers.labels is not None
    assert numbers.labels.names == ("1", "2")


def test_folders_whose_splits_share_patients_may_be_split_anew(tmp_path: Path) -> None:
    root = folders(tmp_path, "train/a", "train/b")
    write_images(root, [f"test/{name}/p{place}0_9.png" for place, name in enumerate("ab")])
    with pytest.raises(MedzooError, match=r"2 patient groups stand in several splits .*anew with data\.split=group, or"):
        load(root, group_pattern=r"^(p\d+)_")
    anew = load(root, group_pattern=r"^(p\d+)_", split="group")
    assert anew.table.groupby("group")["split"].nunique().max() == 1
    assert any("split anew by group" in note for note in anew.info.notes)


def test_the_patient_may_be_a_folder(tmp_path: Path) -> None:
    dataset = load(folders(tmp_path, "a/s1", "a/s2", "b/s3", "b/s4"), group_pattern=r"/(s\d)/")
    assert sorted(dataset.table["group"].unique()) == ["s1", "s2", "s3", "s4"]


def test_a_gap_between_grades_is_asked_about(tmp_path: Path) -> None:
    root = folders(tmp_path, "00", "01", "03")
    said = r"grade 2 is no folder of .*: give data\.names=\['00','01','02','03'\] if it exists, data\.names=\['00','01','03'\] if"
    with pytest.raises(MedzooError, match=said):
        load(root, ordinal=True)
    for names in (["00", "01", "02", "03"], ["00", "01", "03"]):
        assert load(root, ordinal=True, names=names).labels.names == tuple(names)  # type: ignore[union-attr]
    assert load(root).labels.names == load(root, ordinal=True, split_rule=1).labels.names  # type: ignore[union-attr]


def test_a_linked_folder_belongs_to_every_class_that_links_to_it(tmp_path: Path) -> None:
    root = folders(tmp_path / "fo", "a", "b")
    write_images(tmp_path, [f"pool/{n}.png" for n in range(6)])
    for name in ("a", "b"):
        (root / name / "extra").symlink_to("../../pool")
    dataset = load(root)
    assert dataset.table["target"].value_counts().to_dict() == {0: 12, 1: 12}
    pooled = dataset.table[dataset.table["path"].str.contains("extra")]
    assert pooled.groupby(pooled["path"].str[-5:])[["group", "split"]].nunique().max().max() == 1
    said = (
        r"6 image files stand under several paths by links to folders \(such as a/extra/0\.png and b/extra/0\.png\): .*one group"
    )
    assert any(re.match(said + "; 6 of them are of several classes", note) for note in dataset.info.notes)
    (root / "b" / "extra").unlink()
    (root / "a" / "more").symlink_to("../../pool")
    assert any(re.match(said.replace("b/extra", "a/more") + "$", note) for note in load(root).info.notes)


def test_two_class_folders_that_are_one_are_one_line(tmp_path: Path) -> None:
    root = folders(tmp_path / "fo", "a", "b")
    (root / "c").symlink_to("a")
    with pytest.raises(MedzooError, match=r"class folders 'a' and 'c' are one folder, by a link: .*; remove the link"):
        load(root)


def test_a_folder_that_links_put_into_two_splits_is_refused(tmp_path: Path) -> None:
    root = folders(tmp_path / "fo", "train/a", "train/b", "test/a")
    (root / "test" / "b").symlink_to("../train/b")
    with pytest.raises(MedzooError, match="6 image groups stand in several splits"):
        load(root)


@pytest.mark.parametrize("above", ["", "train/"])
@pytest.mark.parametrize("word", ["nan", "unknown", "unlabelled", "Not_Labeled", "N.A."])
def test_a_folder_called_by_a_word_for_no_label_is_asked_about(above: str, word: str, tmp_path: Path) -> None:
    root = folders(tmp_path, *(above + name for name in ("a", "b", word)))
    with pytest.raises(
        MedzooError, match=rf"class folder '{word}' \(6 images\): images without a label\?.*data\.names=\["
    ) as caught:
        load(root)
    assert "\n" not in str(caught.value)
    labels = load(root, names=["a", "b", word]).labels
    assert labels is not None
    assert labels.names == ("a", "b", word)


def test_bits_beyond_the_eighth_are_kept_where_asked(tmp_path: Path) -> None:
    for place, name in enumerate(("a", "b")):
        (tmp_path / name).mkdir()
        for number in range(4):
            Image.fromarray(np.full((4, 4), 256 * number + place + 1, np.uint16)).save(tmp_path / name / f"{number}.png")
    plain, deep = load(tmp_path, channels=1, window=[0, 4095]), load(tmp_path, channels=1, window=[0, 4095], deep=True)
    assert (plain.info.value_type, deep.info.value_type) == ("uint8", "float32")
    for number, place in product(range(4), range(2)):
        read = deep.reader.read(f"{'ab'[place]}/{number}.png")
        np.testing.assert_allclose(read, np.full((1, 4, 4), (256 * number + place + 1) / 4095, np.float32), atol=1e-7)
    assert len({int(plain.reader.read(f"{name}/0.png").max()) for name in "ab"}) == 1  # which 8 bits cannot tell
